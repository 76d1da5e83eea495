package image_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// marked is a Deployment whose image a policy of the lab writes.
func (l *lab) marked(policy, image string) string {
	return fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: %[2]s\n  namespace: apps\nspec:\n    image:   %[3]s   # {\"$imagepolicy\": \"%[1]s:%[2]s\"}\n",
		l.Namespace, policy, image)
}

// ready makes repository, policy and source, and commits one file with a marker.
func (l *lab) ready(tag string) {
	l.Helper()
	l.push("app", tag)
	l.createRepository("app", nil)
	l.createPolicy("app", "app", nil)
	l.picked("app", tag)
	l.createSource("fleet", nil)
}

func automation(l *lab, name string) *imagev1.ImageUpdateAutomation {
	return &imagev1.ImageUpdateAutomation{ObjectMeta: l.meta(name)}
}

func (l *lab) rescan(name, token string) {
	l.Helper()
	sourcetest.Request[*imagev1.ImageRepository](l.Lab, name, token)
}

func TestLifeOfAnAutomation(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	first := l.commit(map[string]string{"apps/dep.yaml": l.marked("app", "old:1"), "other/dep.yaml": l.marked("app", "old:1"), "apps/bad.yaml": "a: [ # {\"$imagepolicy\": \"x:y\"}"}, "Begin")
	l.ready("1.0.0")
	l.createUpdate("auto", func(o *imagev1.ImageUpdateAutomation) {
		o.Spec.Update = &imagev1.UpdateStrategy{Path: "./apps", Strategy: "Setters"}
		o.Spec.GitSpec.Commit.MessageTemplate = "Update by {{ .AutomationObject }}{{ range $f, $o := .Changed.FileChanges }}\n- {{ $f }}{{ range $n, $c := $o }} {{ $n.Kind }}/{{ $n.Name }}{{ range $c }} {{ .OldValue }} -> {{ .NewValue }} ({{ .Setter }}){{ end }}{{ end }}{{ end }}\n{{ range .Updated.Images }}{{ .Repository }} {{ .Identifier }}{{ end }} {{ .Values.who | upper }}"
		o.Spec.GitSpec.Commit.MessageTemplateValues = map[string]string{"who": "me"}
	})
	o := l.update("auto", "pushed", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) && o.Status.LastPushCommit != "" })
	head := l.gitCmd("rev-parse", "main")
	want := fmt.Sprintf("Update by %s/auto\n- dep.yaml Deployment/app old:1 -> %s:1.0.0 (%s:app)\napp 1.0.0 ME", l.Namespace, l.image("app"), l.Namespace)
	if got := l.gitCmd("log", "-1", "--format=%P|%an|%ae|%cn|%B", "main"); strings.TrimSpace(got) != first+"|bot|bot@example.com|bot|"+want {
		t.Errorf("commit %q, want %q", got, want)
	}
	if got := l.gitCmd("show", "main:apps/dep.yaml") + "\n"; got != l.marked("app", l.image("app")+":1.0.0") {
		t.Errorf("file %q", got)
	}
	if got := l.gitCmd("diff", "--name-only", first, "main"); got != "apps/dep.yaml" {
		t.Errorf("files %q", got)
	}
	st := o.Status
	if st.LastPushCommit != head || st.LastPushTime == nil || st.ObservedSourceRevision != "main@sha1:"+head || readyOf(o).Message != "repository up-to-date" ||
		st.ObservedPolicies["app"] != (imagev1.ImageRef{Name: l.image("app"), Tag: "1.0.0"}) {
		t.Errorf("status %+v", st)
	}
	if c := meta.Conditions(st.Conditions).Get(imagev1.MarkersSkippedCondition); c == nil || !strings.Contains(c.Message, "bad.yaml: the file is no valid YAML") {
		t.Errorf("conditions %+v", st.Conditions)
	}
	l.AwaitEvent("of the push", func(e event) bool {
		return e.InvolvedObject.Name == "auto" && e.Severity == "info" && e.Message == fmt.Sprintf("pushed commit '%s' to branch 'main'\n%s", head[:7], want)
	})
	// A new tag is a new commit; what follows from it is no other one.
	l.push("app", "1.1.0")
	l.rescan("app", "one")
	l.update("auto", "pushed 1.1.0", func(o *imagev1.ImageUpdateAutomation) bool { return o.Status.ObservedPolicies["app"].Tag == "1.1.0" })
	sourcetest.Request[*imagev1.ImageUpdateAutomation](l.Lab, "auto", "idle")
	if got := l.gitCmd("rev-list", "--count", "main"); got != "3" {
		t.Errorf("%s commits", got)
	}
	// Suspended, it writes nothing.
	l.patch(automation(l, "auto"), `{"spec":{"suspend":true}}`)
	l.push("app", "1.2.0")
	l.rescan("app", "two")
	l.picked("app", "1.2.0")
	sourcetest.Request[*imagev1.ImageUpdateAutomation](l.Lab, "auto", "asleep")
	if got := l.gitCmd("rev-list", "--count", "main"); got != "3" {
		t.Errorf("%s commits while suspended", got)
	}
}

// TestAnotherImage lets a repository name another image, whose registry is slow: nothing is chosen, and nothing written,
// that has the new name and a tag of the old.
func TestAnotherImage(t *testing.T) {
	t.Parallel()
	slow := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/other/tags/list" {
				time.Sleep(time.Second)
			}
			next.ServeHTTP(w, r)
		})
	}
	l := newLab(t, registrytest.Options{Wrap: slow}, git.Options{})
	l.start()
	l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1")}, "Begin")
	l.ready("2.0.0")
	l.push("other", "1.0.0")
	l.createUpdate("auto", nil)
	l.update("auto", "pushed 2.0.0", func(o *imagev1.ImageUpdateAutomation) bool { return o.Status.ObservedPolicies["app"].Tag == "2.0.0" })
	l.patch(&imagev1.ImageRepository{ObjectMeta: l.meta("app")}, fmt.Sprintf(`{"spec":{"image":%q}}`, l.image("other")))
	o := l.picked("app", "1.0.0")
	if before := o.Status.ObservedPreviousRef; before == nil || *before != (imagev1.ImageRef{Name: l.image("app"), Tag: "2.0.0"}) {
		t.Errorf("chosen before: %+v", before)
	}
	l.update("auto", "pushed 1.0.0", func(o *imagev1.ImageUpdateAutomation) bool { return o.Status.ObservedPolicies["app"].Tag == "1.0.0" })
	if got := l.gitCmd("show", "main:dep.yaml") + "\n"; got != l.marked("app", l.image("other")+":1.0.0") {
		t.Errorf("file %q", got)
	}
	if got := l.gitCmd("rev-list", "--count", "main"); got != "3" {
		t.Errorf("%s commits", got)
	}
}

// TestIdleRunsCostOneListing is a budget: no objects, no write, no file, also if the push goes to another branch.
func TestIdleRunsCostOneListing(t *testing.T) {
	t.Parallel()
	for name, push := range map[string]*imagev1.PushSpec{"same": nil, "another": {Branch: "auto"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, registrytest.Options{}, git.Options{})
			var runs atomic.Int64
			l.Logger = funcr.New(func(_, line string) {
				if strings.Contains(line, "no change since last reconciliation") {
					runs.Add(1)
				}
			}, funcr.Options{})
			l.start()
			l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1")}, "Begin")
			l.ready("1.0.0")
			l.createUpdate("auto", func(o *imagev1.ImageUpdateAutomation) {
				o.Spec.Interval, o.Spec.GitSpec.Push = meta.NewDuration(200*time.Millisecond), push
			})
			o := l.update("auto", "pushed", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) && o.Status.LastPushCommit != "" })
			before := runs.Load()
			l.git.ResetRequests()
			waitUntil(t, "ten runs", func() bool { return runs.Load() >= before+10 })
			requests := l.git.Requests()
			n := runs.Load() - before
			if int64(len(requests)) > n+1 { // One may be on its way.
				t.Errorf("%d runs made %d requests", n, len(requests))
			}
			if sent := git.Sent(requests) / int64(len(requests)); sent > 1024 {
				t.Errorf("%d requests moved %d bytes each", len(requests), sent)
			}
			if after := l.update("auto", "there", func(*imagev1.ImageUpdateAutomation) bool { return true }); after.ResourceVersion != o.ResourceVersion {
				t.Errorf("an idle run wrote %+v", after.Status)
			}
		})
	}
}

// waitUntil looks again and again.
func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s", what)
		}
	}
}

func TestBadAutomations(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	first := l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1"), "none/dep.yaml": l.marked("nobody", "old:1")}, "Begin")
	l.ready("1.0.0")
	l.createSource("tag", func(o *sourcev1.GitRepository) { o.Spec.Reference = &sourcev1.GitRepositoryRef{Tag: "v1"} })
	for name, tc := range map[string]struct {
		change          func(*imagev1.ImageUpdateAutomation)
		reason, message string
	}{
		"nogit":    {func(o *imagev1.ImageUpdateAutomation) { o.Spec.GitSpec = nil }, "InvalidSourceConfiguration", "source kind 'GitRepository' necessitates field .spec.git"},
		"nosource": {func(o *imagev1.ImageUpdateAutomation) { o.Spec.SourceRef.Name = "absent" }, "SourceManagerFailed", "failed configuring source manager: failed to get git repository '" + l.Namespace + "/absent'"},
		"selector": {func(o *imagev1.ImageUpdateAutomation) {
			o.Spec.PolicySelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}
		}, "InvalidPolicySelector", "failed to parse policy selector"},
		"tag": {func(o *imagev1.ImageUpdateAutomation) { o.Spec.SourceRef.Name = "tag" }, "SourceManagerFailed", "push spec not provided, and cannot be inferred"},
		"branch": {func(o *imagev1.ImageUpdateAutomation) {
			o.Spec.GitSpec.Checkout = &imagev1.GitCheckoutSpec{Reference: imagev1.GitRepositoryRef{Branch: "none"}}
		}, "GitOperationFailed", "failed to checkout source: "},
		"path":     {func(o *imagev1.ImageUpdateAutomation) { o.Spec.Update = &imagev1.UpdateStrategy{Path: "../absent"} }, "UpdateFailed", "correct spec.update.path"},
		"template": {func(o *imagev1.ImageUpdateAutomation) { o.Spec.GitSpec.Commit.MessageTemplate = "{{ .Nothing }" }, "GitOperationFailed", "unable to create commit message template from spec"},
		"field":    {func(o *imagev1.ImageUpdateAutomation) { o.Spec.GitSpec.Commit.MessageTemplate = "{{ .Nothing }}" }, "GitOperationFailed", "failed to run template from spec"},
		"refspec": {func(o *imagev1.ImageUpdateAutomation) {
			o.Spec.GitSpec.Push = &imagev1.PushSpec{Refspec: "+a:refs/heads/b"}
		}, "InvalidSourceConfiguration", "is not supported"},
	} {
		l.createUpdate(name, tc.change)
		o := l.update(name, tc.reason, func(o *imagev1.ImageUpdateAutomation) bool { return failed(o, tc.reason) })
		if !strings.Contains(readyOf(o).Message, tc.message) {
			t.Errorf("%s: %q, want %q", name, readyOf(o).Message, tc.message)
		}
		conditions := meta.Conditions(o.Status.Conditions)
		if r := conditions.Get("Reconciling"); conditions.Get("Stalled") == nil && (r == nil || r.Reason != "ProgressingWithRetry" || r.Message != "processing object: new generation -1 -> 1") {
			t.Errorf("%s: Reconciling %+v", name, r)
		}
	}
	// A marker that names nobody is told, and nothing is written.
	l.createUpdate("nobody", func(o *imagev1.ImageUpdateAutomation) { o.Spec.Update = &imagev1.UpdateStrategy{Path: "/none"} })
	o := l.update("nobody", "told", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) })
	if c := meta.Conditions(o.Status.Conditions).Get(imagev1.MarkersSkippedCondition); c == nil ||
		c.Message != "dep.yaml:7: there is no ImagePolicy '"+l.Namespace+"/nobody' with a latest image" {
		t.Errorf("conditions %+v", o.Status.Conditions)
	}
	if got := l.gitCmd("rev-parse", "main"); got != first {
		t.Errorf("main moved to %s", got)
	}
	// Once the policy is there, it is written and no longer told.
	l.createPolicy("nobody", "app", nil)
	o = l.update("nobody", "written", func(o *imagev1.ImageUpdateAutomation) bool { return o.Status.LastPushCommit != "" })
	if len(o.Status.Conditions) != 1 {
		t.Errorf("conditions %+v", o.Status.Conditions)
	}
}

// TestPolicySelector has two policies, one of which the automation selects, and one whose label comes later.
func TestPolicySelector(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	l.commit(map[string]string{"a.yaml": l.marked("app", "old:1"), "b.yaml": l.marked("other", "old:1")}, "Begin")
	l.push("app", "1.0.0")
	l.createRepository("app", nil)
	l.createPolicy("app", "app", func(o *imagev1.ImagePolicy) { o.Labels = map[string]string{"team": "web"} })
	l.createPolicy("other", "app", nil)
	l.picked("app", "1.0.0")
	l.picked("other", "1.0.0")
	l.createSource("fleet", nil)
	l.createUpdate("auto", func(o *imagev1.ImageUpdateAutomation) {
		o.Spec.PolicySelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "In", Values: []string{"api", "web"}}}}
	})
	o := l.update("auto", "pushed", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) && o.Status.LastPushCommit != "" })
	if got := l.gitCmd("diff", "--name-only", "main~1", "main"); got != "a.yaml" || len(o.Status.ObservedPolicies) != 1 {
		t.Errorf("files %q, policies %v", got, o.Status.ObservedPolicies)
	}
	if len(o.Status.Conditions) != 1 { // A marker of another automation is none of its business.
		t.Errorf("conditions %+v", o.Status.Conditions)
	}
	l.patch(&imagev1.ImagePolicy{ObjectMeta: l.meta("other")}, `{"metadata":{"labels":{"team":"web"}}}`)
	l.update("auto", "pushed for both", func(o *imagev1.ImageUpdateAutomation) bool { return len(o.Status.ObservedPolicies) == 2 })
	if got := l.gitCmd("diff", "--name-only", "main~1", "main"); got != "b.yaml" {
		t.Errorf("files %q", got)
	}
}
