package helmrepository_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/source/helmtest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

type repository = *sourcev1.HelmRepository

func TestLifeOfARepository(t *testing.T) {
	t.Parallel()
	l, s := lab(t)
	helmtest.Repository(l, "charts", s.RepositoryURL(), nil)
	obj := sourcetest.Ready[repository](l, "charts", "")
	a := obj.Status.Artifact
	dir := "helmrepository/" + l.Namespace + "/charts/"
	if path := dir + "index-" + strings.TrimPrefix(a.Revision, "sha256:") + ".yaml"; a.Path != path || a.URL != "http://"+sourcetest.Advertised+"/"+path || a.Metadata != nil {
		t.Errorf("artifact %+v", a)
	}
	if want := "http://" + sourcetest.Advertised + "/" + dir + "index.yaml"; obj.Status.URL != want {
		t.Errorf("status.url %s, want %s", obj.Status.URL, want)
	}
	if c := obj.Status.Conditions; len(c) != 2 || c.Get("ArtifactInStorage").Message != "stored artifact: revision '"+a.Revision+"'" || c.Get("Ready").Message != c.Get("ArtifactInStorage").Message {
		t.Errorf("conditions %+v", c)
	}
	told := "stored fetched index of size %s from '" + s.RepositoryURL() + "'"
	e := l.Event("charts", "NewArtifact", fmt.Sprintf(told, size(*a.Size)))
	if e.Severity != "info" || e.Metadata["source.toolkit.fluxcd.io/revision"] != a.Revision || e.Metadata["source.toolkit.fluxcd.io/digest"] != a.Digest {
		t.Errorf("event %+v", e)
	}

	offer(l, s, "demo-1.0.0", "demo-1.1.0", "demo-2.0.0")
	second := sourcetest.Request[repository](l, "charts", "two").Status.Artifact
	if second.Revision == a.Revision {
		t.Errorf("a changed index has the revision of before: %+v", second)
	}
	l.Event("charts", "NewArtifact", fmt.Sprintf(told, size(*second.Size)))
	if target, err := os.Readlink(filepath.Join(l.Data, dir, "index.yaml")); err != nil || filepath.Base(target) != filepath.Base(second.Path) {
		t.Errorf("the link leads to %s, %v", target, err)
	}
	if left, err := os.ReadDir(l.Temp); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
	l.Must(l.Client.Delete(context.Background(), obj))
	sourcetest.Gone[repository](l, "charts")
	for _, pattern := range []string{dir + "*", ".indexes/*"} {
		if left, err := filepath.Glob(filepath.Join(l.Data, pattern)); err != nil || len(left) != 0 {
			t.Errorf("files of the deleted object: %v, %v", left, err)
		}
	}
}

func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.4gkB", float64(n)/1000)
}

// TestIdlePollsCostOneRequest is a budget: an unchanged index is one conditional request and no write, also after a
// restart.
func TestIdlePollsCostOneRequest(t *testing.T) {
	t.Parallel()
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	stop := start(l)
	s := helmtest.Serve(t, false)
	offer(l, s, "demo-1.0.0")
	helmtest.Repository(l, "charts", s.RepositoryURL(), func(o repository) { *o.Spec.Interval = meta.NewDuration(100 * time.Millisecond) })
	before := sourcetest.Ready[repository](l, "charts", "")
	idle := func() {
		s.Until(t, "polled ten times", func(seen []helmtest.Seen) bool { return len(seen) >= 10 })
		for _, r := range s.Requests() {
			if r.Path != "/charts/index.yaml" || !r.Conditional || r.Status != http.StatusNotModified {
				t.Errorf("a poll cost %+v", r)
			}
		}
		if after := sourcetest.Get[repository](l, "charts"); after.ResourceVersion != before.ResourceVersion {
			t.Errorf("the object was written by an idle poll: %+v", after.Status)
		}
	}
	s.Until(t, "polled again", func(seen []helmtest.Seen) bool { return len(seen) >= 2 })
	s.Reset()
	idle()
	stop()
	s.Reset()
	start(l)
	idle()
	if n := l.Count("charts", "NewArtifact"); n != 1 {
		t.Errorf("%d events of a new artifact", n)
	}
}

// TestServerWithoutValidators: the digest tells that nothing has changed.
func TestServerWithoutValidators(t *testing.T) {
	t.Parallel()
	l, s := lab(t)
	s.Respond(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "apiVersion: v1\nentries: {}\n")
	})
	helmtest.Repository(l, "charts", s.RepositoryURL(), nil)
	first := sourcetest.Ready[repository](l, "charts", "").Status.Artifact
	second := sourcetest.Request[repository](l, "charts", "again").Status.Artifact
	if first.Revision != second.Revision || !first.LastUpdateTime.Time.Time.Equal(second.LastUpdateTime.Time.Time) || l.Count("charts", "NewArtifact") != 1 {
		t.Errorf("an unchanged index was stored again: %+v, %+v", first, second)
	}
}

// TestLostArtifactIsRebuilt: the server would say that nothing has changed.
func TestLostArtifactIsRebuilt(t *testing.T) {
	t.Parallel()
	l, s := lab(t)
	helmtest.Repository(l, "charts", s.RepositoryURL(), nil)
	a := sourcetest.Ready[repository](l, "charts", "").Status.Artifact
	file := filepath.Join(l.Data, filepath.FromSlash(a.Path))
	l.Must(os.Remove(file))
	sourcetest.Request[repository](l, "charts", "again")
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	if n := l.Count("charts", "NewArtifact"); n != 1 {
		t.Errorf("%d events of a new artifact", n)
	}
}

// TestFailures tells the reasons apart; the last good artifact stays.
func TestFailures(t *testing.T) {
	t.Parallel()
	l, s := lab(t)
	helmtest.Repository(l, "charts", s.RepositoryURL(), nil)
	good := sourcetest.Ready[repository](l, "charts", "").Status.Artifact
	for i, tc := range []struct {
		respond       http.HandlerFunc
		reason, says  string
		conditionType string
	}{
		{http.NotFound, "Failed", "failed to fetch Helm repository index: failed to cache index to temporary file: failed to fetch " + s.RepositoryURL() + "/index.yaml : 404 Not Found", "FetchFailed"},
		{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, "Failed", "500 Internal Server Error", "FetchFailed"},
		{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, "Failed", "401 Unauthorized; set spec.secretRef", "FetchFailed"},
		{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}, "Failed", "429 Too Many Requests; the server asks to wait 1s", "FetchFailed"},
		{func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2<<20)) }, "Failed", "index exceeds the maximum index file size of 1048576 bytes; raise --helm-index-max-size", "FetchFailed"},
		{func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>Sign in</html>") }, "IndexationFailed", "failed to load Helm repository from index YAML: not an index of charts", "FetchFailed"},
		{func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "entries: {}\n") }, "IndexationFailed", "failed to load Helm repository from index YAML: no API version specified", "FetchFailed"},
		{func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "apiVersion: v1")
		}, "Failed", "unexpected EOF", "FetchFailed"},
	} {
		s.Respond(tc.respond)
		l.Patch(&sourcev1.HelmRepository{}, "charts", fmt.Sprintf(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"%d"}}}`, i))
		obj := sourcetest.Until(l, "charts", tc.says, func(o repository) bool {
			c := o.Status.Conditions.Get("Ready")
			return c.Status == metav1.ConditionFalse && c.Reason == tc.reason && strings.Contains(c.Message, tc.says)
		})
		if c := obj.Status.Conditions.Get(tc.conditionType); c == nil || c.Status != metav1.ConditionTrue {
			t.Errorf("%s: conditions %+v", tc.says, obj.Status.Conditions)
		}
		if obj.Status.Artifact == nil || obj.Status.Artifact.Revision != good.Revision || obj.Status.Conditions.Get("ArtifactInStorage") == nil {
			t.Errorf("%s: the artifact is gone", tc.says)
		}
	}
	s.Respond(nil)
	obj := sourcetest.Ready[repository](l, "charts", good.Revision)
	if len(obj.Status.Conditions) != 2 {
		t.Errorf("conditions after the recovery: %+v", obj.Status.Conditions)
	}
	l.Event("charts", "Succeeded", fmt.Sprintf("stored fetched index of size %s from '%s'", size(*good.Size), s.RepositoryURL()))
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	l, s := lab(t)
	s.Login("user:hunter2")
	l.Secret("half", "username", "user")
	l.Secret("wrong", "username", "user", "password", "hunter3")
	withSecret := func(name string) func(repository) {
		return func(o repository) { o.Spec.SecretRef = &meta.LocalObjectReference{Name: name} }
	}
	for name, tc := range map[string]struct{ secret, reason, says string }{
		"no-secret": {"absent", "AuthenticationFailed", "failed to get secret '" + l.Namespace + "/absent'"},
		"half":      {"half", "AuthenticationFailed", "required fields 'username' and 'password'"},
		"wrong":     {"wrong", "Failed", "401 Unauthorized; check the login in the Secret '" + l.Namespace + "/wrong'"},
	} {
		helmtest.Repository(l, name, s.RepositoryURL(), withSecret(tc.secret))
		if _, message := sourcetest.Failed[repository](l, name, tc.reason); !strings.Contains(message, tc.says) || strings.Contains(message, "hunter") {
			t.Errorf("%s: %s", name, message)
		}
	}
	l.Secret("right", "username", "user", "password", "hunter2")
	helmtest.Repository(l, "right", s.RepositoryURL(), withSecret("right"))
	sourcetest.Ready[repository](l, "right", "")
	l.Secret("absent", "username", "user", "password", "hunter2")
	sourcetest.Ready[repository](l, "no-secret", "") // its appearance acts at once
}

func TestTLS(t *testing.T) {
	t.Parallel()
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	start(l)
	s := helmtest.Serve(t, true)
	offer(l, s, "demo-1.0.0")
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	l.Secret("ca", "ca.crt", ca)
	l.Secret("old", "caFile", ca)
	l.Secret("none", "other", "x")
	helmtest.Repository(l, "untrusted", s.RepositoryURL(), nil)
	if _, message := sourcetest.Failed[repository](l, "untrusted", "Failed"); !strings.Contains(message, "not trusted") {
		t.Error(message)
	}
	ref := func(name string) *meta.LocalObjectReference { return &meta.LocalObjectReference{Name: name} }
	helmtest.Repository(l, "trusted", s.RepositoryURL(), func(o repository) { o.Spec.CertSecretRef = ref("ca") })
	helmtest.Repository(l, "deprecated", s.RepositoryURL(), func(o repository) { o.Spec.SecretRef = ref("old") })
	helmtest.Repository(l, "empty", s.RepositoryURL(), func(o repository) { o.Spec.CertSecretRef = ref("none") })
	sourcetest.Ready[repository](l, "trusted", "")
	sourcetest.Ready[repository](l, "deprecated", "")
	if _, message := sourcetest.Failed[repository](l, "empty", "AuthenticationFailed"); !strings.Contains(message, "ca.crt") {
		t.Error(message)
	}
}

// TestRegistryIsData: an object of the type oci has no status and no finalizer, and loses them when it becomes one.
func TestRegistryIsData(t *testing.T) {
	t.Parallel()
	l, s := lab(t)
	helmtest.Repository(l, "wrong", "oci://registry.example/charts", nil)
	if _, message := sourcetest.Failed[repository](l, "wrong", "URLInvalid"); message != "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type" {
		t.Error(message)
	}
	helmtest.Repository(l, "charts", s.RepositoryURL(), nil)
	a := sourcetest.Ready[repository](l, "charts", "").Status.Artifact
	l.Patch(&sourcev1.HelmRepository{}, "charts", `{"spec":{"type":"oci","url":"oci://registry.example/charts"}}`)
	bare := func(o repository) bool {
		return len(o.Finalizers) == 0 && o.Status.Artifact == nil && len(o.Status.Conditions) == 0 && o.Status.ObservedGeneration == 0
	}
	sourcetest.Until(l, "charts", "bare", bare)
	if _, err := os.Stat(filepath.Join(l.Data, filepath.FromSlash(a.Path))); !os.IsNotExist(err) {
		t.Errorf("the artifact is still there: %v", err)
	}
	helmtest.Repository(l, "registry", "oci://registry.example/charts", func(o repository) { o.Spec.Type = "oci" })
	sourcetest.Until(l, "registry", "bare", bare)
	l.Must(l.Client.Delete(context.Background(), &sourcev1.HelmRepository{ObjectMeta: metav1.ObjectMeta{Name: "registry", Namespace: l.Namespace}}))
	sourcetest.Gone[repository](l, "registry")
	l.Patch(&sourcev1.HelmRepository{}, "charts", `{"spec":{"type":"default","url":"`+s.RepositoryURL()+`"}}`)
	sourcetest.Ready[repository](l, "charts", a.Revision)
}

// TestHangingServerStopsNobody and is overtaken by a new spec.
func TestHangingServerStopsNobody(t *testing.T) {
	t.Parallel()
	l, s := lab(t)
	hangs := helmtest.Serve(t, false)
	release := make(chan struct{})
	defer close(release)
	hangs.Respond(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	})
	for i := range 6 {
		helmtest.Repository(l, fmt.Sprintf("hangs-%d", i), hangs.RepositoryURL(), nil)
	}
	helmtest.Repository(l, "charts", s.RepositoryURL(), nil)
	sourcetest.Ready[repository](l, "charts", "")
	l.Patch(&sourcev1.HelmRepository{}, "hangs-0", `{"spec":{"url":"`+s.RepositoryURL()+`"}}`)
	sourcetest.Ready[repository](l, "hangs-0", "")
	short := meta.NewDuration(200 * time.Millisecond)
	helmtest.Repository(l, "impatient", hangs.RepositoryURL(), func(o repository) { o.Spec.Timeout = &short })
	if _, message := sourcetest.Failed[repository](l, "impatient", "Failed"); !strings.Contains(message, "raise spec.timeout (200ms)") {
		t.Error(message)
	}
}

func TestSuspended(t *testing.T) {
	t.Parallel()
	l, s := lab(t)
	helmtest.Repository(l, "charts", s.RepositoryURL(), func(o repository) { o.Spec.Suspend = true })
	sourcetest.Request[repository](l, "charts", "one")
	if seen := s.Requests(); len(seen) != 0 {
		t.Errorf("a suspended object cost %+v", seen)
	}
	l.Patch(&sourcev1.HelmRepository{}, "charts", `{"spec":{"suspend":false}}`)
	sourcetest.Ready[repository](l, "charts", "")
}
