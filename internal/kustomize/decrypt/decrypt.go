package decrypt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/logging"
	"github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// MaxFile bounds an encrypted file that a kustomization names.
const MaxFile = 5 << 20

func init() {
	logging.SetLevel(logrus.PanicLevel) // the library logs comments in plain
}

// Decryptor decrypts for one build. It is not safe for concurrent use.
type Decryptor struct {
	keys     *Keys
	workload Workload
	client   *http.Client
	env      func(string) string
	vaults   map[string]vaultLogin // by address, for the life of the build
	plain    secrets
}

// Workload is who decrypts where a Secret has no login for a key service.
type Workload interface {
	// AWS returns credentials for a region.
	AWS(ctx context.Context, region string) (AWSCredentials, error)
	// Azure returns an access token for a scope.
	Azure(ctx context.Context, scope string) (token string, err error)
	// GCP returns an access token for the scope of the whole platform.
	GCP(ctx context.Context) (token string, err error)
	// Vault returns how to log in at an address, nil when that is not configured at all.
	Vault(ctx context.Context, address string) (*VaultLogin, error)
}

// Options of a Decryptor.
type Options struct {
	// Keys may be nil: then only the workload identity is left.
	Keys *Keys
	// Workload is needed.
	Workload Workload
	// Transport and Getenv replace the network and the environment, in tests.
	Transport http.RoundTripper
	Getenv    func(string) string
}

// New returns a decryptor for one build.
func New(o Options) *Decryptor {
	d := &Decryptor{keys: o.Keys, workload: o.Workload, env: o.Getenv, vaults: map[string]vaultLogin{}, client: client(o.Transport)}
	if d.keys == nil {
		d.keys = &Keys{}
	}
	if d.env == nil {
		d.env = getenv
	}
	return d
}

// decrypt decrypts content. Panics of the library, of which it has some for malformed input, become errors.
func (d *Decryptor) decrypt(ctx context.Context, content []byte, in, out Format) (plain []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed sops %s: the library gave up", in)
		}
	}()
	tree, err := storeOf(in).LoadEncryptedFile(content)
	if err != nil {
		return nil, fmt.Errorf("failed to load encrypted sops %s: %w", in, quoteless(err))
	}
	key, err := d.dataKey(ctx, &tree.Metadata)
	if err != nil {
		return nil, err
	}
	if err := d.decryptTree(&tree, key); err != nil {
		return nil, err
	}
	switch envelope := isEnvelope(tree.Branches); {
	case out == Binary && !envelope:
		out = in
	case out == Dotenv && in == JSON && envelope:
		out = Binary // a file of variables that was encrypted as binary content
	}
	plain, err = storeOf(out).EmitPlainFile(tree.Branches)
	if err != nil {
		return nil, fmt.Errorf("failed to write decrypted sops %s as %s: the values do not fit into that format", in, out)
	}
	return plain, nil
}

// decryptTree decrypts the values of a tree, and keeps each in mind for Redact.
func (d *Decryptor) decryptTree(tree *sops.Tree, key []byte) error {
	watch := &watcher{cipher: aes.NewCipher(), seen: &d.plain}
	if _, err := tree.Decrypt(key, watch); err != nil {
		if watch.failed != "" {
			return fmt.Errorf("failed to decrypt the value at '%s': it was changed after it was encrypted, or moved", watch.failed)
		}
		return errors.New("failed to decrypt: a value that should be encrypted is not; was the file edited without sops?")
	}
	return nil
}

// watcher decrypts values for the library and sees them.
type watcher struct {
	cipher aes.Cipher
	seen   *secrets
	failed string
}

// Encrypt is refused.
func (w *watcher) Encrypt(any, []byte, string) (string, error) { return "", errors.ErrUnsupported }

// Decrypt decrypts a value.
func (w *watcher) Decrypt(sealed string, key []byte, path string) (any, error) {
	value, err := w.cipher.Decrypt(sealed, key, path)
	if err != nil {
		w.failed = strings.TrimSuffix(path, ":")
		return nil, err
	}
	w.seen.add(value)
	return value, nil
}

// isEnvelope reports whether a tree is that of binary content.
func isEnvelope(branches sops.TreeBranches) bool {
	return len(branches) == 1 && len(branches[0]) == 1 && branches[0][0].Key == "data"
}

// quoteless keeps of a parser's error what cannot quote its input: the line.
func quoteless(err error) error {
	if at := strings.Index(err.Error(), "line "); at >= 0 {
		if number := strings.FieldsFunc(err.Error()[at+5:], func(r rune) bool { return r < '0' || r > '9' }); len(number) > 0 {
			return fmt.Errorf("malformed at line %s", number[0])
		}
	}
	return errors.New("it is malformed, or its sops metadata is")
}

// File decrypts a file that a kustomization names. One without a marker of SOPS comes back as it is, changed false.
func (d *Decryptor) File(ctx context.Context, content []byte, format Format) (plain []byte, changed bool, err error) {
	in := detect(content)
	if in == "" {
		return content, false, nil
	}
	if len(content) > MaxFile {
		return nil, false, fmt.Errorf("an encrypted file has %d bytes, the limit is %d", len(content), MaxFile)
	}
	plain, err = d.decrypt(ctx, content, in, output(in, format))
	if err == nil && in == JSON && format == Binary {
		d.plain.add(string(plain))
	}
	return plain, err == nil, err
}

// disabledAnnotation takes one object out.
const disabledAnnotation = "kustomize.toolkit.fluxcd.io/decrypt"

// Object decrypts an object: one that was encrypted as a whole, or the values of a Secret that hold encrypted files.
// It returns nil when there is nothing to decrypt. What it returns is JSON.
func (d *Decryptor) Object(ctx context.Context, o *unstructured.Unstructured) ([]byte, error) {
	if strings.EqualFold(o.GetAnnotations()[disabledAnnotation], "disabled") {
		return nil, nil
	}
	if mac, found, _ := unstructured.NestedString(o.Object, "sops", "mac"); found && mac != "" {
		content, err := json.Marshal(o.Object)
		if err != nil {
			return nil, errors.New("the object cannot be written as JSON")
		}
		return d.decrypt(ctx, content, JSON, JSON)
	}
	if o.GetKind() != "Secret" || o.GetAPIVersion() != "v1" {
		return nil, nil
	}
	return d.secret(ctx, o)
}

func (d *Decryptor) secret(ctx context.Context, o *unstructured.Unstructured) ([]byte, error) {
	var out *unstructured.Unstructured
	for _, field := range []string{"data", "stringData"} {
		values, _, _ := unstructured.NestedMap(o.Object, field)
		for key, value := range values {
			content, ok := valueOf(value, field == "data")
			if !ok || detect(content) == "" {
				continue
			}
			plain, _, err := d.File(ctx, content, formatOf(key, Binary))
			if err != nil {
				return nil, fmt.Errorf("%s key '%s': %w", field, key, err)
			}
			if out == nil {
				out = o.DeepCopy()
			}
			if err := unstructured.SetNestedField(out.Object, textOf(plain, field == "data"), field, key); err != nil {
				return nil, err
			}
		}
	}
	if out == nil {
		return nil, nil
	}
	return json.Marshal(out.Object)
}

// valueOf returns the content of a value of a Secret.
func valueOf(value any, encoded bool) ([]byte, bool) {
	text, ok := value.(string)
	if !ok || !encoded {
		return []byte(text), ok
	}
	content, err := base64.StdEncoding.DecodeString(text)
	return content, err == nil
}

func textOf(content []byte, encoded bool) string {
	if encoded {
		return base64.StdEncoding.EncodeToString(content)
	}
	return string(content)
}

// Source decrypts a file that a kustomization names. The key or path tells its format; a file of variables is always
// written as one.
func (d *Decryptor) Source(ctx context.Context, content []byte, name string, env bool) ([]byte, bool, error) {
	if env {
		return d.File(ctx, content, Dotenv)
	}
	return d.File(ctx, content, formatOf(name, Binary))
}
