package image_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// manyTags answers the listing of the image "many" with thousands of tags in pages, as large registries do.
func manyTags(n int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/many/tags/list" {
				next.ServeHTTP(w, r)
				return
			}
			from := 0
			_, _ = fmt.Sscanf(r.URL.Query().Get("last"), "1.%d.0", &from)
			to := min(from+1000, n)
			page := make([]string, 0, 1000)
			for i := from + 1; i <= to; i++ {
				page = append(page, fmt.Sprintf("1.%d.0", i))
			}
			if to < n {
				w.Header().Set("Link", fmt.Sprintf(`</v2/many/tags/list?n=1000&last=1.%d.0>; rel="next"`, to))
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"name": "many", "tags": page})
		})
	}
}

func TestThousandsOfTags(t *testing.T) {
	t.Parallel()
	const n = 12345
	l := newLab(t, registrytest.Options{Wrap: manyTags(n)}, git.Options{})
	stop := l.start()
	l.createRepository("many", nil)
	l.createPolicy("many", "many", nil)
	l.picked("many", fmt.Sprintf("1.%d.0", n))
	o := l.repository("many", "scanned", func(o *imagev1.ImageRepository) bool { return isReady(o) })
	r := o.Status.LastScanResult
	if r.TagCount != n || len(r.LatestTags) != 10 || r.LatestTags[0] != "1.9999.0" || o.Status.CanonicalImageName != l.image("many") {
		t.Errorf("status %+v", o.Status)
	}
	if want := fmt.Sprintf("successful scan: found %d tags with checksum %s", n, r.Revision); readyOf(o).Message != want {
		t.Errorf("message %q, want %q", readyOf(o).Message, want)
	}
	// A restart costs no scan, and no write.
	stop()
	l.registry.Reset()
	l.start()
	l.createRepository("marker", func(o *imagev1.ImageRepository) { o.Spec.Image = l.image("none") })
	l.repository("marker", "tried", func(o *imagev1.ImageRepository) bool { return failed(o, "ReadOperationFailed") })
	l.picked("many", fmt.Sprintf("1.%d.0", n))
	for _, q := range l.registry.Requests() {
		if strings.Contains(q.Path, "many") {
			t.Errorf("the restart cost %+v", q)
		}
	}
	after := l.repository("many", "there", func(*imagev1.ImageRepository) bool { return true })
	if after.ResourceVersion != o.ResourceVersion {
		t.Errorf("the restart wrote %+v", after.Status)
	}
	// A request scans.
	sourcetest.Request[*imagev1.ImageRepository](l.Lab, "many", "now")
}

func TestLifeOfARepository(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	l.push("app", "1.0.0", "1.1.0", "2.0.0-rc.1", "sha256-x.sig", "skip-1")
	l.createRepository("app", func(o *imagev1.ImageRepository) { o.Spec.ExclusionList = []string{"^.*\\.sig$", "^skip"} })
	l.createPolicy("stable", "app", nil)
	l.createPolicy("all", "app", func(o *imagev1.ImagePolicy) { o.Spec.Policy.SemVer.Range = ">=1.0.0-0" })
	l.picked("stable", "1.1.0")
	l.picked("all", "2.0.0-rc.1")
	o := l.repository("app", "scanned", func(o *imagev1.ImageRepository) bool { return isReady(o) })
	if r := o.Status.LastScanResult; r.TagCount != 3 || strings.Join(r.LatestTags, " ") != "2.0.0-rc.1 1.1.0 1.0.0" {
		t.Errorf("status %+v", r)
	}
	l.AwaitEvent("of the first scan", func(e event) bool {
		return e.InvolvedObject.Name == "app" && e.Message == readyOf(o).Message && e.Severity == "info"
	})
	// A new tag, and a webhook that asks for a scan.
	l.push("app", "1.2.0")
	sourcetest.Request[*imagev1.ImageRepository](l.Lab, "app", "hook")
	p := l.picked("stable", "1.2.0")
	want := fmt.Sprintf("Latest image tag for %s resolved to 1.2.0 (previously %s:1.1.0)", l.image("app"), l.image("app"))
	if readyOf(p).Message != want || p.Status.ObservedPreviousRef == nil || p.Status.ObservedPreviousRef.Tag != "1.1.0" {
		t.Errorf("policy %+v", p.Status)
	}
	l.AwaitEvent("of the policy", func(e event) bool { return e.InvolvedObject.Name == "stable" && e.Message == want })
	// Another exclusion list rescans.
	app := &imagev1.ImageRepository{ObjectMeta: l.meta("app")}
	l.patch(app, `{"spec":{"exclusionList":["^2"]}}`)
	l.repository("app", "excludes", func(o *imagev1.ImageRepository) bool {
		return o.Status.LastScanResult.TagCount == 5 && strings.Join(o.Status.ObservedExclusionList, "") == "^2"
	})
	// Suspended, nothing moves.
	l.patch(app, `{"spec":{"suspend":true}}`)
	l.push("app", "1.3.0")
	sourcetest.Request[*imagev1.ImageRepository](l.Lab, "app", "asleep")
	l.patch(app, `{"spec":{"suspend":false}}`)
	sourcetest.Request[*imagev1.ImageRepository](l.Lab, "app", "awake")
	l.picked("stable", "1.3.0")
}

func TestScansAtTheIntervalCostNothingElse(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	l.push("app", "1.0.0")
	l.createRepository("app", func(o *imagev1.ImageRepository) { o.Spec.Interval = meta.NewDuration(200 * time.Millisecond) })
	o := l.repository("app", "scanned", func(o *imagev1.ImageRepository) bool { return isReady(o) })
	l.registry.Reset()
	l.registry.Until(t, "scanned ten times", func(r []registrytest.Request) bool { return len(r) >= 10 })
	for _, r := range l.registry.Requests() {
		if r.Path != "/v2/app/tags/list" {
			t.Errorf("a scan cost %+v", r)
		}
	}
	if after := l.repository("app", "there", func(*imagev1.ImageRepository) bool { return true }); after.ResourceVersion != o.ResourceVersion {
		t.Errorf("a scan that found nothing wrote %+v", after.Status)
	}
	// It finds a new tag by itself.
	l.push("app", "1.0.1")
	l.repository("app", "finds 1.0.1", func(o *imagev1.ImageRepository) bool { return o.Status.LastScanResult.TagCount == 2 })
}

func TestDigests(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	first := l.registry.Push(t, "app", "latest", nil, registrytest.Archive(t, map[string]string{"v": "1"}))
	l.createRepository("app", nil)
	pattern := func(o *imagev1.ImagePolicy) {
		o.Spec.Policy = imagev1.ImagePolicyChoice{Alphabetical: &imagev1.AlphabeticalPolicy{Order: "asc"}}
		o.Spec.FilterTags = &imagev1.TagFilter{Pattern: "^latest$"}
	}
	l.createPolicy("always", "app", func(o *imagev1.ImagePolicy) {
		pattern(o)
		o.Spec.DigestReflectionPolicy, o.Spec.Interval = "Always", meta.DurationPtr(300*time.Millisecond)
	})
	l.createPolicy("once", "app", func(o *imagev1.ImagePolicy) { pattern(o); o.Spec.DigestReflectionPolicy = "IfNotPresent" })
	l.createPolicy("never", "app", pattern)
	with := func(digest string) func(*imagev1.ImagePolicy) bool {
		return func(o *imagev1.ImagePolicy) bool {
			return o.Status.LatestRef != nil && o.Status.LatestRef.Digest == digest
		}
	}
	l.policy("always", first, with(first))
	l.policy("once", first, with(first))
	l.policy("never", "no digest", with(""))
	second := l.registry.Push(t, "app", "latest", nil, registrytest.Archive(t, map[string]string{"v": "2"}))
	o := l.policy("always", second, with(second))
	if want := fmt.Sprintf("with digest %s (previously %s:latest@%s)", second, l.image("app"), first); !strings.HasSuffix(readyOf(o).Message, want) {
		t.Errorf("message %q, want %q", readyOf(o).Message, want)
	}
	once := sourcetest.Request[*imagev1.ImagePolicy](l.Lab, "once", "again")
	if !with(first)(once) {
		t.Errorf("IfNotPresent looked again: %+v", once.Status)
	}
}

func TestBadRepositoriesAndPolicies(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	wrap := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/empty/tags/list" {
				_, _ = w.Write([]byte(`{"name":"empty","tags":null}`))
				return
			}
			if strings.HasPrefix(r.URL.Path, "/v2/busy/") {
				asked.Add(1)
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	l := newLab(t, registrytest.Options{Wrap: wrap}, git.Options{})
	l.start()
	l.push("app", "1.0.0", "two", "three")
	for name, tc := range map[string]struct {
		change          func(*imagev1.ImageRepository)
		reason, message string
	}{
		"tag":     {func(o *imagev1.ImageRepository) { o.Spec.Image += ":v1" }, "ImageURLInvalid", "should not include a tag; remove ':v1'"},
		"scheme":  {func(o *imagev1.ImageRepository) { o.Spec.Image = "https://" + o.Spec.Image }, "ImageURLInvalid", "should not include URL scheme; remove 'https://'"},
		"exclude": {func(o *imagev1.ImageRepository) { o.Spec.ExclusionList = []string{"("} }, "Failure", "correct spec.exclusionList[0]"},
		"missing": {nil, "ReadOperationFailed", "scan failed: GET http://" + l.registry.Host + "/v2/missing/tags/list?n=1000: NAME_UNKNOWN"},
		"busy":    {nil, "ReadOperationFailed", "scan failed: "},
		"secret": {func(o *imagev1.ImageRepository) { o.Spec.SecretRef = &meta.LocalObjectReference{Name: "none"} }, "AuthenticationFailed",
			"failed to configure authentication options: failed to get secret '" + l.Namespace + "/none'"},
		"gate": {func(o *imagev1.ImageRepository) { o.Spec.Provider, o.Spec.ServiceAccountName = "aws", "sa" }, kernel.FeatureGateDisabledReason, "enable the ObjectLevelWorkloadIdentity feature gate"},
	} {
		l.createRepository(name, tc.change)
		o := l.repository(name, tc.reason, func(o *imagev1.ImageRepository) bool { return failed(o, tc.reason) })
		if !strings.Contains(readyOf(o).Message, tc.message) {
			t.Errorf("%s: %q, want %q", name, readyOf(o).Message, tc.message)
		}
	}
	before := asked.Load()
	if before == 0 {
		t.Error("nobody asked the busy registry")
	}
	l.createRepository("empty", nil)
	l.repository("empty", "a success", func(o *imagev1.ImageRepository) bool {
		return isReady(o) && strings.HasPrefix(readyOf(o).Message, "successful scan: found 0 tags")
	})
	l.createRepository("app", nil)
	l.createPolicy("sound", "app", nil)
	l.picked("sound", "1.0.0") // tags that are no versions are passed over
	for name, tc := range map[string]struct {
		change          func(*imagev1.ImagePolicy)
		reason, message string
	}{
		"regex":    {func(o *imagev1.ImagePolicy) { o.Spec.FilterTags = &imagev1.TagFilter{Pattern: "("} }, "InvalidPolicy", "failed to filter tags: invalid regular expression pattern '('"},
		"range":    {func(o *imagev1.ImagePolicy) { o.Spec.Policy.SemVer.Range = "no range" }, "InvalidPolicy", "range 'no range'"},
		"nochoice": {func(o *imagev1.ImagePolicy) { o.Spec.Policy = imagev1.ImagePolicyChoice{} }, "InvalidPolicy", "given ImagePolicyChoice object is invalid"},
		"nomatch":  {func(o *imagev1.ImagePolicy) { o.Spec.Policy.SemVer.Range = ">=9" }, "Failure", "unable to determine latest version from provided list: of the 3 tags of ImageRepository/" + l.Namespace + "/app none is a version in spec.policy.semver.range '>=9'; correct it"},
		"words": {func(o *imagev1.ImagePolicy) {
			o.Spec.Policy = imagev1.ImagePolicyChoice{Numerical: &imagev1.NumericalPolicy{Order: "asc"}}
		}, "Failure", "failed to parse invalid numeric value"},
		"filtered": {func(o *imagev1.ImagePolicy) { o.Spec.FilterTags = &imagev1.TagFilter{Pattern: "^x"} }, "Failure", "version list argument cannot be empty: spec.filterTags.pattern passes over all of the 3 tags"},
		"norepo":   {func(o *imagev1.ImagePolicy) { o.Spec.ImageRepositoryRef.Name = "absent" }, "DependencyNotReady", "failed to get the referred ImageRepository: referenced ImageRepository does not exist: "},
		"empty":    {func(o *imagev1.ImagePolicy) { o.Spec.ImageRepositoryRef.Name = "empty" }, "DependencyNotReady", "no tags in database"},
		"notags":   {func(o *imagev1.ImagePolicy) { o.Spec.ImageRepositoryRef.Name = "missing" }, "DependencyNotReady", "no tags in database"},
		"badimage": {func(o *imagev1.ImagePolicy) { o.Spec.ImageRepositoryRef.Name = "tag" }, "ImageURLInvalid", "should not include a tag"},
	} {
		l.createPolicy(name, "app", tc.change)
		o := l.policy(name, tc.reason, func(o *imagev1.ImagePolicy) bool {
			return failed(o, tc.reason) && strings.Contains(readyOf(o).Message, tc.message)
		})
		if stalled := meta.Conditions(o.Status.Conditions).Get("Stalled") != nil; stalled != (tc.reason == "InvalidPolicy" || tc.reason == "ImageURLInvalid") {
			t.Errorf("%s: stalled %v", name, stalled)
		} else if r := meta.Conditions(o.Status.Conditions).Get("Reconciling"); !stalled && (r == nil || r.Reason != "ProgressingWithRetry" || r.Message != "processing object: new generation -1 -> 1") {
			t.Errorf("%s: Reconciling %+v", name, r)
		}
	}
	if after := asked.Load(); after != before {
		t.Errorf("a registry that wants to be left alone for ten minutes was asked %d times more", after-before)
	}
}

// TestLogins lets a registry ask for passwords, which come from a Secret or from that of a ServiceAccount.
func TestLogins(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{Users: map[string]string{"jo": "secret-pw"}, Tokens: true}, git.Options{})
	l.start()
	pull := func(name, password string) {
		l.Create(&corev1.Secret{ObjectMeta: l.meta(name), Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{
			".dockerconfigjson": []byte(fmt.Sprintf(`{"auths":{%q:{"username":"jo","password":%q}}}`, l.registry.Host, password)),
		}})
	}
	pull("right", "secret-pw")
	pull("wrong", "secret-no")
	l.Create(&corev1.ServiceAccount{ObjectMeta: l.meta("puller"), ImagePullSecrets: []corev1.LocalObjectReference{{Name: "right"}}})
	l.createRepository("nobody", nil)
	l.createRepository("wrong", func(o *imagev1.ImageRepository) { o.Spec.SecretRef = &meta.LocalObjectReference{Name: "wrong"} })
	for _, name := range []string{"nobody", "wrong"} {
		o := l.repository(name, "refused", func(o *imagev1.ImageRepository) bool { return failed(o, "ReadOperationFailed") })
		if m := readyOf(o).Message; strings.Contains(m, "secret-no") || !strings.Contains(m, "Secret") && !strings.Contains(m, "secretRef") {
			t.Errorf("%s: %q", name, m)
		}
	}
	// The repository does not exist, which only somebody who is logged in is told.
	l.createRepository("right", func(o *imagev1.ImageRepository) { o.Spec.SecretRef = &meta.LocalObjectReference{Name: "right"} })
	l.createRepository("account", func(o *imagev1.ImageRepository) { o.Spec.ServiceAccountName = "puller" })
	for _, name := range []string{"right", "account"} {
		l.repository(name, "let in", func(o *imagev1.ImageRepository) bool {
			return failed(o, "ReadOperationFailed") && strings.Contains(readyOf(o).Message, "NAME_UNKNOWN")
		})
	}
	// A Secret that is mended is seen at the next attempt.
	l.patch(&corev1.Secret{ObjectMeta: l.meta("wrong")}, fmt.Sprintf(`{"stringData":{".dockerconfigjson":%q}}`,
		fmt.Sprintf(`{"auths":{%q:{"username":"jo","password":"secret-pw"}}}`, l.registry.Host)))
	l.repository("wrong", "let in", func(o *imagev1.ImageRepository) bool {
		return failed(o, "ReadOperationFailed") && strings.Contains(readyOf(o).Message, "NAME_UNKNOWN")
	})
}

// TestAccessAcrossNamespaces has a repository in one namespace, and policies in another.
func TestAccessAcrossNamespaces(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	other := testenv.Namespace(t)
	l.Shard = l.Namespace
	l.push("app", "1.0.0")
	repo := &imagev1.ImageRepository{ObjectMeta: metav1.ObjectMeta{Name: "app", Namespace: other},
		Spec: imagev1.ImageRepositorySpec{Image: l.image("app"), Interval: meta.NewDuration(time.Hour)}}
	l.Create(repo)
	l.start()
	l.createPolicy("across", "app", func(o *imagev1.ImagePolicy) { o.Spec.ImageRepositoryRef.Namespace = other })
	l.policy("across", "denied", func(o *imagev1.ImagePolicy) bool {
		return failed(o, "AccessDenied") && strings.HasPrefix(readyOf(o).Message, "failed to get the referred ImageRepository: access denied: ")
	})
	l.patch(repo, fmt.Sprintf(`{"spec":{"accessFrom":{"namespaceSelectors":[{"matchLabels":{"kubernetes.io/metadata.name":%q}}]}}}`, "nobody"))
	sourcetest.Request[*imagev1.ImagePolicy](l.Lab, "across", "still")
	l.policy("across", "denied", func(o *imagev1.ImagePolicy) bool { return failed(o, "AccessDenied") })
	l.patch(repo, fmt.Sprintf(`{"spec":{"accessFrom":{"namespaceSelectors":[{"matchLabels":{"kubernetes.io/metadata.name":%q}}]}}}`, l.Namespace))
	l.picked("across", "1.0.0")
	// A GitRepository of another namespace is written to without asking.
	l.commit(map[string]string{"dep.yaml": l.marked("across", "old:1")}, "Begin")
	l.Create(&sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Name: "fleet", Namespace: other}, Spec: sourcev1.GitRepositorySpec{
		URL: l.git.HTTPURL("fleet"), Interval: meta.NewDuration(time.Hour), Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
	}})
	l.createUpdate("auto", func(o *imagev1.ImageUpdateAutomation) { o.Spec.SourceRef.Namespace = other })
	l.update("auto", "pushed", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) && o.Status.LastPushCommit != "" })
}

// TestBlockedAcrossNamespaces has the flag --no-cross-namespace-refs.
func TestBlockedAcrossNamespaces(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.Settings = func(s *kernel.Settings) { s.NoCrossNamespaceRefs = true }
	l.start()
	l.createPolicy("across", "app", func(o *imagev1.ImagePolicy) { o.Spec.ImageRepositoryRef.Namespace = "elsewhere" })
	p := l.policy("across", "denied", func(o *imagev1.ImagePolicy) bool { return failed(o, "AccessDenied") })
	if want := "cannot access 'ImageRepository/elsewhere/app', cross-namespace references have been blocked"; !strings.HasSuffix(readyOf(p).Message, want) {
		t.Errorf("policy: %q, want %q", readyOf(p).Message, want)
	}
	l.createUpdate("across", func(o *imagev1.ImageUpdateAutomation) { o.Spec.SourceRef.Namespace = "elsewhere" })
	u := l.update("across", "denied", func(o *imagev1.ImageUpdateAutomation) bool { return failed(o, "AccessDenied") })
	if want := "can't access 'GitRepository/elsewhere/fleet', cross-namespace references have been blocked"; !strings.HasPrefix(readyOf(u).Message, want) {
		t.Errorf("automation: %q, want %q", readyOf(u).Message, want)
	}
}

// TestCertificates has a registry with a private authority that asks for a client certificate, and one without TLS.
func TestCertificates(t *testing.T) {
	t.Parallel()
	authority := registrytest.NewAuthority(t)
	l := newLab(t, registrytest.Options{Authority: authority, ClientCertificate: true}, git.Options{})
	l.start()
	cert, key := authority.Issue(t, time.Now().Add(time.Hour))
	l.Create(&corev1.Secret{ObjectMeta: l.meta("full"), Data: map[string][]byte{"ca.crt": authority.PEM, "tls.crt": cert, "tls.key": key}})
	l.Create(&corev1.Secret{ObjectMeta: l.meta("empty"), Data: map[string][]byte{"x": []byte("y")}})
	for name, tc := range map[string]struct{ secret, reason, message string }{
		"none":  {"", "ReadOperationFailed", "spec.certSecretRef"},
		"empty": {"empty", "AuthenticationFailed", "invalid '" + l.Namespace + "/empty' secret data"},
		// Let in, the registry says that there is no such image.
		"full": {"full", "ReadOperationFailed", "NAME_UNKNOWN"},
	} {
		l.createRepository(name, func(o *imagev1.ImageRepository) {
			if tc.secret != "" {
				o.Spec.CertSecretRef = &meta.LocalObjectReference{Name: tc.secret}
			}
		})
		o := l.repository(name, "failed", func(o *imagev1.ImageRepository) bool { return failed(o, tc.reason) })
		if !strings.Contains(readyOf(o).Message, tc.message) {
			t.Errorf("%s: %q, want %q", name, readyOf(o).Message, tc.message)
		}
	}
}
