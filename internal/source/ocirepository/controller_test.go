package ocirepository_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

// origin is what `flux push artifact` writes.
var origin = map[string]string{registry.AnnotationSource: "https://example.com/fleet.git", registry.AnnotationRevision: "main@sha1:0123"}

func (l *lab) push(tag string, files map[string]string) string {
	l.Helper()
	return l.server.Push(l.T, "app", tag, origin, registrytest.Archive(l.T, files))
}

func TestLifeOfARepository(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	first := l.push("v1", sourcetest.GoldenFiles)
	l.create("app", nil)
	obj := l.ready("app", "v1@"+first)
	a := obj.Status.Artifact
	path := fmt.Sprintf("ocirepository/%s/app/%s.tar.gz", l.Namespace, first)
	if a.Path != path || a.URL != "http://"+sourcetest.Advertised+"/"+path || a.Digest != sourcetest.Golden || a.Size == nil || !maps.Equal(a.Metadata, origin) {
		t.Errorf("artifact %+v", a)
	}
	if want := "http://" + sourcetest.Advertised + "/ocirepository/" + l.Namespace + "/app/latest.tar.gz"; obj.Status.URL != want {
		t.Errorf("status.url %s, want %s", obj.Status.URL, want)
	}
	if c := obj.Status.Conditions; len(c) != 2 || c.Get("ArtifactInStorage").Message != "stored artifact for digest 'v1@"+first+"'" {
		t.Errorf("conditions %+v", c)
	}
	if got := l.files(obj); !maps.Equal(got, map[string]string{"app/deploy.yaml": "replicas: 1\n", "README.md": "hello\n"}) {
		t.Errorf("files %v", got)
	}
	told := "stored artifact with revision 'v1@%s' from '%s', origin source 'https://example.com/fleet.git', origin revision 'main@sha1:0123'"
	e := l.Event("app", "NewArtifact", fmt.Sprintf(told, first, l.server.URL("app")))
	if e.Severity != "info" || e.Metadata["source.toolkit.fluxcd.io/revision"] != a.Revision || e.Metadata["source.toolkit.fluxcd.io/digest"] != a.Digest {
		t.Errorf("event %+v", e)
	}

	second := l.push("v1", map[string]string{"app/deploy.yaml": "replicas: 2\n"})
	obj = l.request("app", "two")
	if got := l.files(obj)["app/deploy.yaml"]; obj.Status.Artifact.Revision != "v1@"+second || got != "replicas: 2\n" {
		t.Errorf("after the tag moved: %+v, %q", obj.Status.Artifact, got)
	}
	l.Event("app", "NewArtifact", fmt.Sprintf(told, second, l.server.URL("app")))
	if target, err := os.Readlink(filepath.Join(l.Data, "ocirepository", l.Namespace, "app", "latest.tar.gz")); err != nil || filepath.Base(target) != second+".tar.gz" {
		t.Errorf("latest leads to %s, %v", target, err)
	}
	if left, err := os.ReadDir(l.Temp); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
	l.Must(l.Client.Delete(context.Background(), obj))
	l.untilGone("app")
	if left, err := filepath.Glob(filepath.Join(l.Data, "ocirepository", l.Namespace, "app", "*")); err != nil || len(left) != 0 {
		t.Errorf("files of the deleted object: %v, %v", left, err)
	}
}

func (l *lab) untilGone(name string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sourcetest.Limit)
	defer cancel()
	list := &sourcev1.OCIRepositoryList{}
	w, err := l.Client.Watch(ctx, list, client.InNamespace(l.Namespace), client.MatchingFields{"metadata.name": name})
	l.Must(err)
	defer w.Stop()
	for {
		l.Must(l.Client.List(ctx, list, client.InNamespace(l.Namespace), client.MatchingFields{"metadata.name": name}))
		if len(list.Items) == 0 {
			return
		}
		select {
		case <-w.ResultChan():
		case <-ctx.Done():
			l.Fatalf("%s is still there", name)
		}
	}
}

// TestIdlePollsCostOneHead is a budget: an unchanged tag is one HEAD request and no write.
func TestIdlePollsCostOneHead(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	digest := l.push("v1", map[string]string{"a": "b"})
	l.create("app", func(o *sourcev1.OCIRepository) { o.Spec.Interval = meta.NewDuration(100 * time.Millisecond) })
	before := l.ready("app", "v1@"+digest)
	l.server.Until(t, "polled", func(r []registrytest.Request) bool { return len(r) > 0 && r[len(r)-1].Method == http.MethodHead })
	l.server.Reset()
	l.server.Until(t, "polled ten times", func(r []registrytest.Request) bool { return len(r) >= 10 })
	for _, r := range l.server.Requests() {
		if r.Method != http.MethodHead || r.Path != "/v2/app/manifests/v1" {
			t.Errorf("a poll cost %+v", r)
		}
	}
	if after := l.get("app"); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the object was written by an idle poll: %+v", after.Status)
	}
}

// TestDigestIsNotLookedUp is a budget: what a digest names cannot change.
func TestDigestIsNotLookedUp(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	digest := l.push("v1", map[string]string{"a": "b"})
	l.create("app", func(o *sourcev1.OCIRepository) {
		o.Spec.Reference = &sourcev1.OCIRepositoryRef{Digest: digest, Tag: "v9", SemVer: ">9"}
	})
	l.ready("app", digest)
	l.server.Reset()
	l.request("app", "again")
	if r := l.server.Requests(); len(r) != 0 {
		t.Errorf("a known digest cost %+v", r)
	}
}

func TestMissingTagRecovers(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	l.create("app", nil)
	obj, message := l.failed("app", "OCIArtifactPullFailed")
	want := "failed to determine artifact digest: GET http://" + l.server.Host + "/v2/app/manifests/v1: NAME_UNKNOWN: Unknown name"
	if message != want {
		t.Errorf("message %q, want %q", message, want)
	}
	failed, reconciling := obj.Status.Conditions.Get("FetchFailed"), obj.Status.Conditions.Get("Reconciling")
	if failed == nil || failed.Status != metav1.ConditionTrue || failed.Message != want {
		t.Errorf("FetchFailed %+v", failed)
	}
	if reconciling == nil || reconciling.Reason != "ProgressingWithRetry" || reconciling.Message != "building artifact" {
		t.Errorf("Reconciling %+v", reconciling)
	}
	if obj.Status.ObservedGeneration == obj.Generation {
		t.Error("a failure observed the generation")
	}
	if e := l.Event("app", "OCIArtifactPullFailed", want); e.Severity != "error" {
		t.Errorf("event %+v", e)
	}
	digest := l.push("v1", map[string]string{"a": "b"})
	if obj = l.ready("app", "v1@"+digest); len(obj.Status.Conditions) != 2 {
		t.Errorf("after the recovery: %+v", obj.Status.Conditions)
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	chart := registrytest.Layer{MediaType: registry.HelmContentMediaType, Data: registrytest.Archive(t, map[string]string{"demo/Chart.yaml": "name: demo\n"}).Data}
	digest := l.server.Push(t, "app", "v1", nil, registrytest.Archive(t, map[string]string{"first": "layer"}), chart)
	l.server.Push(t, "app", "v2.0.0_b1", nil, chart)
	for name, tt := range map[string]struct {
		change func(*sourcev1.OCIRepositorySpec)
		check  func(*sourcev1.OCIRepository)
	}{
		"copy": {func(s *sourcev1.OCIRepositorySpec) {
			s.LayerSelector = &sourcev1.OCILayerSelector{MediaType: chart.MediaType, Operation: sourcev1.OCILayerCopy}
			s.Ignore = &[]string{"/*"}[0]
		}, func(o *sourcev1.OCIRepository) {
			data, err := os.ReadFile(filepath.Join(l.Data, filepath.FromSlash(o.Status.Artifact.Path)))
			if err != nil || string(data) != string(chart.Data) {
				t.Errorf("the copied layer has %d bytes, %v", len(data), err)
			}
			if got := o.Status.ObservedLayerSelector; got == nil || *got != *o.Spec.LayerSelector {
				t.Errorf("observedLayerSelector %+v", got)
			}
		}},
		"by-type": {func(s *sourcev1.OCIRepositorySpec) {
			s.LayerSelector = &sourcev1.OCILayerSelector{MediaType: chart.MediaType}
		}, func(o *sourcev1.OCIRepository) {
			if got := l.files(o); got["demo/Chart.yaml"] != "name: demo\n" || len(got) != 1 {
				t.Errorf("by media type: %v", got)
			}
		}},
		"first": {func(*sourcev1.OCIRepositorySpec) {}, func(o *sourcev1.OCIRepository) {
			if got := l.files(o); got["first"] != "layer" || len(got) != 1 {
				t.Errorf("the first layer: %v", got)
			}
		}},
	} {
		l.create(name, func(o *sourcev1.OCIRepository) { tt.change(&o.Spec) })
		tt.check(l.ready(name, "v1@"+digest))
	}
	l.server.Push(t, "signed", "v1", nil, registrytest.Layer{MediaType: "text/plain", Data: []byte("signed")}, chart)
	l.create("signed", func(o *sourcev1.OCIRepository) { o.Spec.URL = l.server.URL("signed") })
	l.until("signed", "the kind of the layer", func(o *sourcev1.OCIRepository) bool {
		c := o.Status.Conditions.Get("Ready")
		return c != nil && strings.Contains(c.Message, "the layer, which has the media type 'text/plain', is no archive: choose another with spec.layerSelector.mediaType")
	})
	l.create("plus", func(o *sourcev1.OCIRepository) {
		o.Spec.Reference = &sourcev1.OCIRepositoryRef{SemVer: "2.x"}
		o.Spec.LayerSelector = &sourcev1.OCILayerSelector{MediaType: chart.MediaType, Operation: sourcev1.OCILayerCopy}
	})
	l.until("plus", "the tag of a chart", func(o *sourcev1.OCIRepository) bool {
		return o.Status.Artifact != nil && strings.HasPrefix(o.Status.Artifact.Revision, "v2.0.0_b1@")
	})
	l.create("absent", func(o *sourcev1.OCIRepository) {
		o.Spec.LayerSelector = &sourcev1.OCILayerSelector{MediaType: "no/such"}
	})
	obj, message := l.failed("absent", "OCIArtifactLayerOperationFailed")
	if message != "failed to find layer with media type 'no/such' in artifact; correct spec.layerSelector.mediaType, or what was pushed to '"+obj.Spec.URL+"'" {
		t.Errorf("message %q", message)
	}
	if c := obj.Status.Conditions.Get("ArtifactOutdated"); c == nil || c.Reason != "NewRevision" ||
		c.Message != fmt.Sprintf("new revision 'v1@%s' for '%s/app:v1'", digest, l.server.Host) {
		t.Errorf("ArtifactOutdated %+v", c)
	}
}

// TestSettingsChange rebuilds at the same revision when the ignore rules or the selector change.
func TestSettingsChange(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	digest := l.push("v1", map[string]string{"a.yaml": "a", "b.yaml": "b"})
	l.create("app", nil)
	before := l.ready("app", "v1@"+digest)
	l.patch("app", `{"spec":{"ignore":"b.yaml"}}`)
	after := l.until("app", "without b", func(o *sourcev1.OCIRepository) bool {
		return o.Status.ObservedGeneration == 2 && o.Status.ObservedIgnore != nil
	})
	if got := l.files(after); !maps.Equal(got, map[string]string{"a.yaml": "a"}) || after.Status.Artifact.Digest == before.Status.Artifact.Digest {
		t.Errorf("files %v", got)
	}
	if n := l.Count("app", "NewArtifact"); n > 2 {
		t.Errorf("%d events", n)
	}
}

func TestSpecsThatStall(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	for name, tt := range map[string]struct {
		change          func(*sourcev1.OCIRepositorySpec)
		reason, message string
	}{
		"tag-in-url": {func(s *sourcev1.OCIRepositorySpec) { s.URL += ":v1" }, "URLInvalid",
			"URL validation failed for '" + l.server.URL("app") + ":v1': URL must not contain a tag; remove ':v1'"},
		"digest": {func(s *sourcev1.OCIRepositorySpec) { s.Reference.Digest = "sha256:12" }, "OCIArtifactPullFailed", ""},
		"semver": {func(s *sourcev1.OCIRepositorySpec) { s.Reference.SemVer = "not a range" }, "ReadOperationFailed", ""},
	} {
		l.create(name, func(o *sourcev1.OCIRepository) { tt.change(&o.Spec) })
		obj := l.until(name, "stalled", func(o *sourcev1.OCIRepository) bool {
			c := o.Status.Conditions.Get("Stalled")
			return c != nil && c.Status == metav1.ConditionTrue && c.Reason == tt.reason && o.Status.ObservedGeneration == o.Generation
		})
		if got := obj.Status.Conditions.Get("Ready").Message; tt.message != "" && got != tt.message {
			t.Errorf("%s: %q, want %q", name, got, tt.message)
		}
	}
}

const password = "canary-password-0a1b2c"

func (l *lab) pullSecret(name, user, pass string) {
	l.Helper()
	l.Must(l.Client.Create(context.Background(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.Namespace}, Type: corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: fmt.Sprintf(`{"auths":{"%s":{"username":"%s","password":"%s"}}}`, l.server.Host, user, pass)},
	}))
}

func TestPullSecrets(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{Users: map[string]string{"robot": password}})
	l.start()
	l.pullSecret("good", "robot", password)
	l.pullSecret("bad", "robot", "wrong-"+password)
	l.Must(l.Client.Create(context.Background(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "puller", Namespace: l.Namespace}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "good"}},
	}))
	secretRef := func(name string) func(*sourcev1.OCIRepository) {
		return func(o *sourcev1.OCIRepository) { o.Spec.SecretRef = &meta.LocalObjectReference{Name: name} }
	}
	account := func(name string) func(*sourcev1.OCIRepository) {
		return func(o *sourcev1.OCIRepository) { o.Spec.ServiceAccountName = name }
	}
	for name, tt := range map[string]struct {
		change          func(*sourcev1.OCIRepository)
		reason, message string
	}{
		"good":       {secretRef("good"), "OCIArtifactPullFailed", "NAME_UNKNOWN"},
		"account":    {account("puller"), "OCIArtifactPullFailed", "NAME_UNKNOWN"},
		"bad":        {secretRef("bad"), "OCIArtifactPullFailed", "UNAUTHORIZED: authentication required; check the login in the Secret '" + l.Namespace + "/bad'"},
		"nobody":     {nil, "OCIArtifactPullFailed", "UNAUTHORIZED: authentication required; set spec.secretRef"},
		"no-secret":  {secretRef("absent"), "AuthenticationFailed", "failed to get credential: failed to get secret '" + l.Namespace + "/absent': secrets \"absent\" not found; create it, or correct spec.secretRef"},
		"no-account": {account("absent"), "AuthenticationFailed", "failed to get credential: failed to get service account '" + l.Namespace + "/absent': serviceaccounts \"absent\" not found; create it, or correct spec.serviceAccountName"},
	} {
		l.create(name, tt.change)
		_, message := l.failed(name, tt.reason)
		if !strings.Contains(message, tt.message) || strings.Contains(message, password) {
			t.Errorf("%s: %q, want %q", name, message, tt.message)
		}
	}
}

// TestThrottledRegistry waits as long as the registry asks to, and keeps the last good artifact meanwhile.
func TestThrottledRegistry(t *testing.T) {
	t.Parallel()
	var throttle atomic.Bool
	l := newLab(t, registrytest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if throttle.Load() {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			h.ServeHTTP(w, r)
		})
	}})
	l.start()
	digest := l.push("v1", map[string]string{"a": "b"})
	l.create("app", nil)
	l.ready("app", "v1@"+digest)
	throttle.Store(true)
	l.server.Reset()
	l.patch("app", `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"x"}}}`)
	obj, message := l.failed("app", "OCIArtifactPullFailed")
	if !strings.Contains(message, "429 Too Many Requests: the registry asks to wait 1h0m0s") {
		t.Errorf("message %q", message)
	}
	if c := obj.Status.Conditions.Get("ArtifactInStorage"); obj.Status.Artifact == nil || c == nil || c.Status != metav1.ConditionTrue {
		t.Errorf("the good artifact went: %+v", obj.Status)
	}
	if n := len(l.server.Requests()); n != 1 {
		t.Errorf("%d requests to a registry that wants none", n)
	}
}

// TestLostAndDamagedArtifacts are made again, without telling anybody.
func TestLostAndDamagedArtifacts(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	digest := l.push("v1", map[string]string{"a": "b"})
	l.create("app", nil)
	obj := l.ready("app", "v1@"+digest)
	file := filepath.Join(l.Data, filepath.FromSlash(obj.Status.Artifact.Path))
	l.Must(os.Remove(file))
	l.request("app", "lost")
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the lost artifact did not come back: %v", err)
	}
	if n := l.Count("app", "NewArtifact"); n > 1 {
		t.Errorf("%d events for one content", n)
	}
}
