package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
)

// Spec is what is merged into the kustomization.yaml of the path. Fields mean what they mean there.
type Spec struct {
	TargetNamespace         string
	NamePrefix              string
	NameSuffix              string
	Patches                 []types.Patch
	Images                  []types.Image
	Components              []string
	IgnoreMissingComponents bool
	// BuildMetadata replaces the list of the file when it is not nil.
	BuildMetadata []string

	// PatchesStrategicMerge and PatchesJSON6902 are inputs of older API versions.
	PatchesStrategicMerge []string
	PatchesJSON6902       []types.Patch
}

// Text is one rendered object on its way through the post-build steps.
type Text struct {
	// ID is the object's type and name as kustomize writes them, such as "ConfigMap.v1.[noGrp]/name".
	ID string
	// Object is the parsed form of YAML, not to be changed.
	Object *unstructured.Unstructured
	// YAML is the object in kustomize's canonical form: sorted keys, no comments.
	YAML []byte
}

// Step changes the text of one object after the build. It returns nil to leave the object as it is.
type Step func(ctx context.Context, text Text) ([]byte, error)

// Remote fetches what a kustomization refers to by URL.
type Remote interface {
	// Fetch returns a directory that holds what the URL names, and the path in it of the file or directory meant.
	// The directory must stay as it is until the build is over.
	Fetch(ctx context.Context, url string) (dir, path string, err error)
}

// Options say what to build, and how.
type Options struct {
	// Root is the directory of the unpacked artifact. Nothing is ever written there.
	Root string
	// Mount is the path under which Root appears in messages. Default [DefaultMount].
	Mount string
	// Path is the directory below Root that is built. ".." does not lead above Root.
	Path string
	Spec Spec

	// Remote fetches remote bases. Without it they are refused.
	Remote Remote
	// Decrypt sees the files of secret generators and patches, and each rendered object; then Substitute does. Both may
	// be nil.
	Decrypt    Decryptor
	Substitute Step
	// Secret tells whether a text that Substitute gave holds something that must not be shown. nil says no.
	Secret func(text []byte) bool
	// Ignored tells, by absolute path below the mount, which files and directories the generation of a
	// kustomization.yaml leaves out. nil ignores nothing.
	Ignored func(path string, dir bool) bool

	Limits Limits

	// Memo, if any, makes a later build of a large directory cost what changed.
	Memo Memo
}

// Result is what a build gave.
type Result struct {
	// Objects are the built objects in the order of the kustomization.
	Objects []*unstructured.Unstructured
	// Digest is the sha256 of the whole rendered YAML, as upstream computes it for status.history.
	Digest string
	// YAML is the rendered text of all objects, separated by "---" lines.
	YAML []byte
	// Inputs tell whether another artifact must give the same result.
	Inputs *Inputs
	// Decrypted says that something encrypted took part. Then neither YAML nor Objects may be written anywhere but to
	// the cluster.
	Decrypted bool
	// Sensitive are the objects, other than Secrets, that hold something decrypted, or what [Options].Secret says.
	Sensitive map[Key]bool
	// Files names the file of each object, relative to the mount, by [Key], as far as it is known without a second
	// build (see [Origins]).
	Files map[Key]string
}

// ErrPathNotFound is wrapped by the error for a path that the artifact does not have.
var ErrPathNotFound = errors.New("kustomization path not found")

// Build builds one directory of an artifact. It returns when ctx is done, even if kustomize is still busy: what is
// left then ends by itself, within the limits, and has no effect.
func Build(ctx context.Context, opts Options) (*Result, error) {
	result, err := start(ctx, opts, false)
	var unlocated *unlocatedError
	if !errors.As(err, &unlocated) {
		return result, err
	}
	if _, located := Origins(ctx, opts); located != nil && strings.HasPrefix(located.Error(), err.Error()) {
		return nil, located
	}
	return nil, err
}

func start(ctx context.Context, opts Options, withOrigins bool) (*Result, error) {
	b, err := newBuilder(ctx, opts)
	if err != nil {
		return nil, err
	}
	b.withOrigins = withOrigins
	type outcome struct {
		result *Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		defer b.close()
		result, err := guarded(b.build)
		done <- outcome{result, b.redacted(err)}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("kustomize build did not end in time: %w", context.Cause(ctx))
	}
}

// guarded turns a panic into an error.
func guarded[T any](f func() (T, error)) (result T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("recovered from kustomize build panic: %v", r)
		}
	}()
	return f()
}

// builder is one build in progress.
type builder struct {
	opts Options
	root *os.Root
	fsys *fileSystem
	dir  string // absolute path of the built directory

	remotes     []*os.Root
	withOrigins bool // origin annotations are on, to learn files
	custom      bool // a kustomization names an OpenAPI schema
	shared      bool // kustomize runs beside other builds
	files       map[Key]string
	twice       string // the files of the first object that is there twice
	factory     *resource.Factory

	// sources are what a kustomization.yaml names that does nothing else, generated or the path's own, in the target
	// namespace. memo is what earlier builds know of them, surroundings what references among them could mean.
	sources      []source
	namespace    string
	memo         *memo
	surroundings [sha256.Size]byte

	secretSources map[string]secretSource // by absolute path
	decrypted     bool                    // something was
	patched       bool                    // with something decrypted
	sensitive     map[Key]bool
}

func newBuilder(ctx context.Context, opts Options) (*builder, error) {
	if opts.Mount == "" {
		opts.Mount = DefaultMount
	}
	opts.Limits = opts.Limits.withDefaults()
	root, err := os.OpenRoot(opts.Root)
	if err != nil {
		return nil, fmt.Errorf("failed to open the artifact: %w", err)
	}
	b := &builder{opts: opts, root: root, factory: provider.NewDefaultDepProvider().GetResourceFactory()}
	b.reset(ctx)
	return b, nil
}

// reset lets the build begin anew.
func (b *builder) reset(ctx context.Context) {
	b.fsys = newFileSystem(ctx, b.opts.Limits, b.opts.Mount, b.root)
	b.fsys.inspect = b.inspect
	b.dir = path.Join(b.opts.Mount, path.Join("/", b.opts.Path))
	b.files, b.sources, b.memo, b.twice = map[Key]string{}, nil, nil, ""
	b.secretSources, b.sensitive = map[string]secretSource{}, map[Key]bool{}
}

func (b *builder) close() {
	b.root.Close()
	for _, r := range b.remotes {
		r.Close()
	}
}

// steps are what one build does, in order.
func (b *builder) steps() (*Result, error) {
	if err := b.findPath(); err != nil {
		return nil, err
	}
	if err := b.prepare(); err != nil {
		return nil, err
	}
	pieces, err := b.run()
	if err != nil {
		return nil, err
	}
	result, err := b.render(pieces)
	if err != nil {
		return nil, err
	}
	result.Inputs = b.fsys.record.inputs(b.opts.Mount, b.opts.Limits, len(b.remotes) > 0)
	result.Files = b.files
	result.Decrypted, result.Sensitive = b.decrypted, b.sensitive
	return result, nil
}

func (b *builder) findPath() error {
	dir, file, err := b.fsys.CleanedAbs(b.dir)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = &fs.PathError{Op: "stat", Path: b.dir, Err: pathErr.Err}
		}
		return fmt.Errorf("%w: %w", ErrPathNotFound, err)
	}
	if file != "" {
		return fmt.Errorf("%w: stat %s: not a directory", ErrPathNotFound, b.dir)
	}
	b.dir = dir.String()
	return nil
}

// CheckPath returns the error of a build whose path the artifact at root does not have, before any work is done.
func CheckPath(root, name string) error {
	b, err := newBuilder(context.Background(), Options{Root: root, Path: name})
	if err != nil {
		return err
	}
	defer b.close()
	return b.findPath()
}
