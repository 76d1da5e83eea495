package gitrepository_test

import (
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// include makes a change that includes an object.
func include(name, from, to string) func(*sourcev1.GitRepository) {
	return func(o *sourcev1.GitRepository) {
		o.Spec.Include = append(o.Spec.Include, sourcev1.GitRepositoryInclude{
			GitRepositoryRef: meta.LocalObjectReference{Name: name}, FromPath: from, ToPath: to,
		})
	}
}

// TestInclude waits for an object that is not there yet, then for its artifact, then follows its changes. The interval
// is an hour: nothing of it is found by polling.
func TestInclude(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	shared, err := l.server.Create("shared", "main")
	l.Must(err)
	first, err := shared.Commit(map[string]string{"base/a.yaml": "a: 1\n", "other": "x"}, "Shared")
	l.Must(err)

	l.create("fleet", include("shared", "base", "vendor/base"))
	obj, message := l.failed("fleet", "NotFound")
	if !strings.HasPrefix(message, "could not get resource for include 'shared': ") || !strings.HasSuffix(message, "; create it, or correct spec.include") || obj.Status.Conditions.Get("IncludeUnavailable") == nil {
		t.Errorf("without the included object: %q, %+v", message, obj.Status.Conditions)
	}
	if r := obj.Status.Conditions.Get("Reconciling"); r == nil || r.Reason != "ProgressingWithRetry" || r.Message != "building artifact" {
		t.Errorf("without the included object: Reconciling %+v", r)
	}
	l.create("shared", func(o *sourcev1.GitRepository) { o.Spec.URL = l.server.HTTPURL("shared") })
	obj = l.ready("fleet", "main@sha1:"+tip)
	want := map[string]string{"app/deploy.yaml": "replicas: 1\n", "README.md": "hello\n", "vendor/base/a.yaml": "a: 1\n"}
	if got := l.files(obj); !maps.Equal(got, want) {
		t.Errorf("files %v", got)
	}
	st := obj.Status
	if len(st.IncludedArtifacts) != 1 || st.IncludedArtifacts[0].Revision != "main@sha1:"+first || len(st.ObservedInclude) != 1 || len(st.Conditions) != 2 {
		t.Errorf("status %+v", st)
	}

	second, err := shared.Commit(map[string]string{"base/a.yaml": "a: 2\n"}, "Shared again")
	l.Must(err)
	l.request("shared", "now")
	obj = l.until("fleet", "rebuilt with the new include", func(o *sourcev1.GitRepository) bool {
		c := o.Status.Conditions.Get(meta.ReadyCondition)
		return c.Status == metav1.ConditionTrue && o.Status.IncludedArtifacts[0].Revision == "main@sha1:"+second
	})
	if a := obj.Status.Artifact; a.Revision != st.Artifact.Revision || a.Digest == st.Artifact.Digest || l.files(obj)["vendor/base/a.yaml"] != "a: 2\n" {
		t.Errorf("another content of the same revision: %+v, before %+v", a, st.Artifact)
	}
	l.AwaitCount("fleet", "NewArtifact", 2)
}

// TestIncludeChain changes the last of three; the first is rebuilt although the revision in the middle stays.
func TestIncludeChain(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	last, err := l.server.Create("last", "main")
	l.Must(err)
	_, err = last.Commit(map[string]string{"a": "1"}, "One")
	l.Must(err)
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("last", func(o *sourcev1.GitRepository) { o.Spec.URL = l.server.HTTPURL("last") })
	l.create("middle", include("last", "", ""))
	l.create("first", include("middle", "", "deep"))
	if got := l.files(l.ready("first", "main@sha1:"+tip)); got["deep/last/a"] != "1" {
		t.Errorf("files %v", got)
	}
	_, err = last.Commit(map[string]string{"a": "2"}, "Two")
	l.Must(err)
	l.request("last", "now")
	l.until("first", "rebuilt", func(o *sourcev1.GitRepository) bool { return l.files(o)["deep/last/a"] == "2" })
}

// TestIncludeRefused tries what cannot be included.
func TestIncludeRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	l.create("plain", nil)
	for _, tc := range []struct{ name, from, to, message string }{
		{"taken", "", "app", "failed to copy 'plain' include from '' to 'app': it exists already in this repository"},
		{"below-a-file", "", "README.md/x", "failed to copy 'plain' include from '' to 'README.md/x': 'README.md' is not a directory"},
		{"absent", "none", "x", "failed to copy 'plain' include from 'none' to 'x': 'none' is not in the included artifact"},
		{"leads-out", "", "../../../app", "failed to copy 'plain' include from '' to '../../../app': it exists already"},
	} {
		l.create(tc.name, include("plain", tc.from, tc.to))
		obj, message := l.failed(tc.name, "IllegalPath")
		if !strings.HasPrefix(message, tc.message) || obj.Status.Conditions.Get("IncludeUnavailable") == nil {
			t.Errorf("%s: %q", tc.name, message)
		}
	}
	l.create("file", include("plain", "app/deploy.yaml", "../one.yaml"))
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	if got := l.files(l.ready("file", "main@sha1:"+tip)); got["one.yaml"] != "replicas: 1\n" {
		t.Errorf("a single file: %v", got)
	}
	l.create("self", include("self", "", "again"))
	obj := l.until("self", "stalled", func(o *sourcev1.GitRepository) bool {
		return o.Status.Conditions.Get(meta.StalledCondition) != nil
	})
	if m := obj.Status.Conditions.Get(meta.StalledCondition).Message; !strings.Contains(m, "self") || !strings.HasSuffix(m, "entries of spec.include") {
		t.Errorf("a circle is told as %q", m)
	}
}

func TestSparseCheckout(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	tip := l.commit(map[string]string{"app/deep/er/x": "x", "app/deep/y": "y", "apple": "no", "lib/z": "z", ".sourceignore": "lib\n"}, "More")
	sparse := func(dirs ...string) func(*sourcev1.GitRepository) {
		return func(o *sourcev1.GitRepository) { o.Spec.SparseCheckout = dirs }
	}
	l.create("fleet", sparse("./app/deep", "lib/"))
	obj := l.ready("fleet", "main@sha1:"+tip)
	if got, want := l.files(obj), map[string]string{"app/deep/er/x": "x", "app/deep/y": "y", "lib/z": "z"}; !maps.Equal(got, want) {
		t.Errorf("files %v, want %v: ignore rules that are not checked out have no effect", got, want)
	}
	if len(obj.Status.ObservedSparseCheckout) != 2 {
		t.Errorf("status %+v", obj.Status)
	}
	l.patch("fleet", `{"spec":{"sparseCheckout":["app/deep/er","app","README.md"]}}`)
	obj = l.until("fleet", "other directories", func(o *sourcev1.GitRepository) bool { return len(o.Status.ObservedSparseCheckout) == 3 })
	if got := l.files(obj); len(got) != 4 || got["README.md"] != "hello\n" || got["app/deploy.yaml"] == "" {
		t.Errorf("files %v", got)
	}
	for _, dir := range []string{"none", "app/none", "../fleet", "README.md/x", "app/.."} {
		name := strings.NewReplacer("/", "-", ".", "x", "READMExmd", "readme").Replace("s-" + strings.ToLower(dir))
		l.create(name, sparse("app", dir))
		_, message := l.failed(name, "GitOperationFailed")
		if !strings.HasPrefix(message, "failed to sparse checkout directories : sparse checkout dir '"+dir+"' does not exist in repository: ") {
			t.Errorf("%s: %q", dir, message)
		}
	}
}
