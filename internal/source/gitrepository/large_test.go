package gitrepository_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/gitrepo/lfs/lfstest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

func TestLargeFiles(t *testing.T) {
	t.Parallel()
	large := &lfstest.Server{User: "jo", Password: "canary-pw"}
	l := newLab(t, git.Options{Users: map[string]string{"jo": "canary-pw"}, Wrap: large.Wrap})
	l.start()
	l.secret("git", nil, map[string]string{"username": "jo", "password": "canary-pw"})
	model, unseen := large.Put(strings.Repeat("model ", 1000)), large.Put("nobody wants this")
	absent := lfstest.Pointer(strings.Repeat("ab", 32), 12)
	hash := l.commit(map[string]string{
		".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "app/model.bin": model, "app/model.txt": model,
		"app/small.bin": "not a pointer", "app/ignored.bin": unseen, "other/absent.bin": absent,
	}, "Large files")
	setup := func(ignore string) func(*sourcev1.GitRepository) {
		return func(o *sourcev1.GitRepository) {
			o.Spec.SecretRef = &meta.LocalObjectReference{Name: "git"}
			o.Spec.SparseCheckout = []string{"app"}
			o.Spec.Ignore = &ignore
		}
	}
	l.create("app", setup("ignored.bin\n"))
	obj := l.ready("app", "main@sha1:"+hash)
	if got := l.files(obj)["app/model.bin"]; got != model || len(large.Requests()) != 0 {
		t.Errorf("without the annotation: %q, %v", got, large.Requests())
	}
	plain := obj.Status.Artifact.Digest

	l.patch("app", `{"metadata":{"annotations":{"gitops-toolkit.dev/git-lfs":"enabled"}}}`)
	obj = l.until("app", "with large files", func(o *sourcev1.GitRepository) bool {
		return o.Status.Artifact.Digest != plain && o.Status.Conditions.Get("ArtifactInStorage") != nil
	})
	want := map[string]string{
		"app/deploy.yaml": "replicas: 1\n",
		"app/model.bin":   strings.Repeat("model ", 1000), "app/model.txt": model, "app/small.bin": "not a pointer",
	}
	if got := l.files(obj); !maps.Equal(got, want) {
		t.Errorf("files %v", got)
	}
	l.AwaitCount("app", "NewArtifact", 2)
	if got, n := large.Problems(), len(large.Requests()); len(got) != 0 || n != 2 {
		t.Errorf("%d requests %v, problems %v", n, large.Requests(), got)
	}
	// The next commit costs nothing for what did not change.
	hash = l.commit(map[string]string{"app/more.yaml": "x: 1\n"}, "Another file")
	obj = l.request("app", "next")
	if want["app/more.yaml"] = "x: 1\n"; obj.Status.Artifact.Revision != "main@sha1:"+hash || !maps.Equal(l.files(obj), want) {
		t.Errorf("the next commit: %+v", obj.Status.Artifact)
	}
	if n := len(large.Requests()); n != 2 {
		t.Errorf("%d requests after an unrelated commit", n)
	}
	l.patch("app", `{"metadata":{"annotations":{"gitops-toolkit.dev/git-lfs":null}}}`)
	l.until("app", "without large files", func(o *sourcev1.GitRepository) bool { return o.Status.Artifact.Metadata == nil })

	// An object that was never pushed, and a word that means nothing.
	enabled := func(text string) func(*sourcev1.GitRepository) {
		return func(o *sourcev1.GitRepository) {
			setup("")(o)
			o.Spec.SparseCheckout = []string{"other"}
			o.Annotations = map[string]string{"gitops-toolkit.dev/git-lfs": text}
		}
	}
	l.create("absent", enabled("enabled"))
	_, message := l.failed("absent", "GitOperationFailed")
	if !strings.HasPrefix(message, "failed to checkout and determine revision: ") || !strings.Contains(message, "'other/absent.bin'") ||
		!strings.Contains(message, `404 "Object does not exist"`) || !strings.HasSuffix(message, "push it with 'git lfs push --all', or remove the annotation 'gitops-toolkit.dev/git-lfs'") {
		t.Errorf("an absent object: %q", message)
	}
	l.create("word", enabled("yes please"))
	if _, message := l.failed("word", "InvalidAnnotation"); !strings.Contains(message, "must be 'enabled' or 'disabled', not 'yes please'") {
		t.Errorf("a bad annotation: %q", message)
	}
}

// TestLargeFilesOfSubmodules reads them from the LFS server of each submodule; a host that is not the repository's gets no
// credentials.
func TestLargeFilesOfSubmodules(t *testing.T) {
	t.Parallel()
	large, far := &lfstest.Server{User: "jo", Password: "canary-pw"}, &lfstest.Server{}
	l := newLab(t, git.Options{Users: map[string]string{"jo": "canary-pw"}, Wrap: large.Wrap})
	l.start()
	l.secret("git", nil, map[string]string{"username": "jo", "password": "canary-pw"})
	away, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort, Wrap: far.Wrap})
	l.Must(err)
	t.Cleanup(func() { _ = away.Close() })
	foreign, err := away.Create("foreign", "main")
	l.Must(err)
	lib, err := l.server.Create("lib", "main")
	l.Must(err)
	const attributes = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
	hashF, err := foreign.Commit(map[string]string{".gitattributes": attributes, "f.bin": far.Put("far")}, "Foreign")
	l.Must(err)
	hashL, err := lib.Commit(map[string]string{".gitattributes": attributes, "data/l.bin": large.Put("near"), "data/l.txt": "text"}, "Lib")
	l.Must(err)
	tip := l.link(l.repo, map[string][2]string{"vendor/lib": {"../lib.git", hashL}, "foreign": {away.HTTPURL("foreign"), hashF}})
	l.create("app", func(o *sourcev1.GitRepository) {
		o.Spec.SecretRef = &meta.LocalObjectReference{Name: "git"}
		o.Spec.RecurseSubmodules = true
		o.Annotations = map[string]string{"gitops-toolkit.dev/git-lfs": "enabled"}
	})
	want := map[string]string{
		"app/deploy.yaml": "replicas: 1\n", "README.md": "hello\n",
		"foreign/f.bin": "far", "vendor/lib/data/l.bin": "near", "vendor/lib/data/l.txt": "text",
	}
	if got := l.files(l.ready("app", "main@sha1:"+tip)); !maps.Equal(got, want) {
		t.Errorf("files %v", got)
	}
	for _, r := range far.Requests() {
		if r.Authorization != "" {
			t.Errorf("another host saw the credentials: %+v", r)
		}
	}
	if len(far.Requests()) != 2 || len(large.Requests()) != 2 || len(large.Problems())+len(far.Problems()) != 0 {
		t.Errorf("requests %v and %v", large.Requests(), far.Requests())
	}
	hashL, err = lib.Commit(map[string]string{"data/l.bin": lfstest.Pointer(strings.Repeat("ab", 32), 12)}, "Never pushed")
	l.Must(err)
	l.link(l.repo, map[string][2]string{"vendor/lib": {"../lib.git", hashL}})
	l.patch("app", `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"next"}}}`)
	if _, message := l.failed("app", "GitOperationFailed"); !strings.Contains(message, "submodule 'vendor/lib': large file 'data/l.bin': ") {
		t.Errorf("message %q", message)
	}
}
