package gitrepository_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestEmptiedRepository loses all its branches: the last good artifact stays, and the next commit is taken.
func TestEmptiedRepository(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("fleet", nil)
	before := l.ready("fleet", "main@sha1:"+tip)
	_, err = l.repo.Git(nil, "update-ref", "-d", "refs/heads/main")
	l.Must(err)
	l.request("fleet", "emptied")
	obj, message := l.failed("fleet", "EmptyGitRepository")
	if !strings.HasPrefix(message, "git repository is empty; push a commit to '") || obj.Status.Artifact == nil ||
		obj.Status.Artifact.Digest != before.Status.Artifact.Digest || obj.Status.Conditions.Get("ArtifactInStorage") == nil {
		t.Errorf("emptied: %q, %+v", message, obj.Status)
	}
	if got := l.files(obj)["README.md"]; got != "hello\n" {
		t.Errorf("the artifact that stays: %q", got)
	}
	hash := l.commit(map[string]string{"new.yaml": "n: 1\n"}, "Begin anew")
	l.request("fleet", "anew")
	if obj = l.ready("fleet", "main@sha1:"+hash); len(l.files(obj)) != 1 {
		t.Errorf("files %v", l.files(obj))
	}
}

// TestRenamedDefaultBranch follows HEAD by its name, and what has no branch any more by none.
func TestRenamedDefaultBranch(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("branch", nil)
	l.create("head", func(o *sourcev1.GitRepository) { o.Spec.Reference = &sourcev1.GitRepositoryRef{Name: "HEAD"} })
	l.ready("branch", "main@sha1:"+tip)
	l.ready("head", "HEAD@sha1:"+tip)
	for _, args := range [][]string{{"branch", "-m", "main", "trunk"}, {"symbolic-ref", "HEAD", "refs/heads/trunk"}} {
		_, err := l.repo.Git(nil, args...)
		l.Must(err)
	}
	hash := l.commit(map[string]string{"new.yaml": "n: 1\n"}, "On trunk")
	l.request("head", "renamed")
	l.ready("head", "HEAD@sha1:"+hash)
	l.request("branch", "renamed")
	if obj, _ := l.failed("branch", "GitOperationFailed"); obj.Status.Artifact == nil || obj.Status.Artifact.Revision != "main@sha1:"+tip {
		t.Errorf("the branch that is gone: %+v", obj.Status.Artifact)
	}
	l.patch("branch", `{"spec":{"ref":{"branch":"trunk"}}}`)
	l.ready("branch", "trunk@sha1:"+hash)
}

// TestRewritten follows a branch that was forced elsewhere, and a tag that was made anew.
func TestRewritten(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	first := l.commit(map[string]string{"app/deploy.yaml": "replicas: 2\n"}, "Two")
	l.Must(l.repo.Tag("v1.0.0", "main", "One"))
	l.create("branch", nil)
	l.create("tag", func(o *sourcev1.GitRepository) { o.Spec.Reference = &sourcev1.GitRepositoryRef{Tag: "v1.0.0"} })
	l.create("range", func(o *sourcev1.GitRepository) { o.Spec.Reference = &sourcev1.GitRepositoryRef{SemVer: "1.x"} })
	l.ready("branch", "main@sha1:"+first)
	l.ready("tag", "v1.0.0@sha1:"+first)
	l.ready("range", "v1.0.0@sha1:"+first)
	forced, err := l.repo.Apply(git.Change{Branch: "main", Orphan: true, Message: "Another history", Files: map[string]string{"only.yaml": "o: 1\n"}})
	l.Must(err)
	_, err = l.repo.Git(nil, "tag", "-d", "v1.0.0")
	l.Must(err)
	l.Must(l.repo.Tag("v1.0.0", "main", "One, again"))
	for name, revision := range map[string]string{"branch": "main@sha1:", "tag": "v1.0.0@sha1:", "range": "v1.0.0@sha1:"} {
		l.request(name, "rewritten")
		obj := l.ready(name, revision+forced)
		if got := l.files(obj); len(got) != 1 || got["only.yaml"] != "o: 1\n" {
			t.Errorf("%s: files %v", name, got)
		}
	}
}

// TestUnwritableStorage claims no artifact that storage does not have.
func TestUnwritableStorage(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	blocked := filepath.Join(l.Data, "gitrepository", l.Namespace, "fleet")
	l.Must(os.MkdirAll(filepath.Dir(blocked), 0o700))
	l.Must(os.WriteFile(blocked, nil, 0o600))
	l.create("fleet", nil)
	obj := l.until("fleet", "failed", func(o *sourcev1.GitRepository) bool {
		return o.Status.Conditions.Get("StorageOperationFailed") != nil
	})
	if ready := obj.Status.Conditions.Get("Ready"); ready.Status != "False" || obj.Status.Artifact != nil || obj.Status.Conditions.Get("ArtifactInStorage") != nil {
		t.Errorf("status %+v", obj.Status)
	}
	l.Must(os.Remove(blocked))
	l.ready("fleet", "main@sha1:"+tip)
}

// TestDeadRemoteTakesItsShare has many objects that wait for a host that never answers: others are served meanwhile.
func TestDeadRemoteTakesItsShare(t *testing.T) {
	t.Parallel()
	const dead, healthy = 60, 5
	release := make(chan struct{})
	hanging, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort, Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(release); _ = hanging.Close() })
	l := newLab(t, git.Options{})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	for i := range dead {
		l.create(fmt.Sprintf("dead-%d", i), func(o *sourcev1.GitRepository) {
			o.Spec.URL, o.Spec.Timeout = hanging.HTTPURL(fmt.Sprintf("repo-%d", i)), meta.DurationPtr(10*time.Minute)
		})
	}
	for i := range healthy {
		name := fmt.Sprintf("healthy-%d", i)
		l.create(name, nil)
		l.ready(name, "main@sha1:"+tip)
	}
	// They are served again and again, while none of the others has ended.
	hash := l.commit(map[string]string{"new.yaml": "n: 1\n"}, "Next")
	for i := range healthy {
		name := fmt.Sprintf("healthy-%d", i)
		l.request(name, "next")
		l.ready(name, "main@sha1:"+hash)
	}
	var list sourcev1.GitRepositoryList
	l.Must(l.Client.List(context.Background(), &list, client.InNamespace(l.Namespace)))
	for _, o := range list.Items {
		if !strings.HasPrefix(o.Name, "dead-") {
			continue
		}
		if c := o.Status.Conditions.Get("Ready"); c != nil && c.Status != "Unknown" {
			t.Errorf("%s has ended: %+v", o.Name, c)
		}
	}
}
