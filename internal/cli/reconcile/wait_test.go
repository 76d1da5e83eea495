package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/clitest"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

// stage is what the controller writes, and what the wait may conclude from it.
type stage struct {
	what   string
	status string
	ends   bool
	fails  bool
}

const (
	readyOld   = `{"observedGeneration": 1, "lastHandledReconcileAt": "old", "conditions": [{"type": "Ready", "status": "True"}]}`
	annotated  = `{"metadata": {"name": "app", "namespace": "ns", "generation": 2, "annotations": {"reconcile.fluxcd.io/requestedAt": "mine"}}}`
	annotated2 = `{"metadata": {"name": "app", "namespace": "ns", "generation": 2, "annotations": {"reconcile.fluxcd.io/requestedAt": "later"}}}`
)

// TestWaitTellsTheTruth writes one stage after the other and sees that the wait ends at the
// verdict on the request and never before. The reason of each stage is its name.
func TestWaitTellsTheTruth(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		object string
		stages []stage
	}{
		"an ordinary reconciliation": {annotated, []stage{
			{what: "ready, but for the request before", status: readyOld},
			{what: "the spec is seen, the request not", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "old", "conditions": [{"type": "Ready", "status": "True"}]}`},
			{what: "the request is seen, the spec not", status: `{"observedGeneration": 1, "lastHandledReconcileAt": "mine", "conditions": [{"type": "Ready", "status": "True"}]}`},
			{what: "at work", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "mine", "conditions": [{"type": "Reconciling", "status": "True"}, {"type": "Ready", "status": "Unknown"}]}`},
			{what: "ready is still that of before", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "mine", "conditions": [{"type": "Reconciling", "status": "True"}, {"type": "Ready", "status": "True"}]}`},
			{what: "the verdict", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "mine", "conditions": [{"type": "Ready", "status": "True"}]}`, ends: true},
		}},
		"a failure that is tried again, and then succeeds": {annotated, []stage{
			{what: "failed", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "mine", "conditions": [{"type": "Ready", "status": "False"}, {"type": "Reconciling", "status": "True"}]}`},
			{what: "failed, resting", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "mine", "conditions": [{"type": "Ready", "status": "False"}]}`},
			{what: "mended", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "mine", "conditions": [{"type": "Ready", "status": "True"}]}`, ends: true},
		}},
		"a final failure": {annotated, []stage{
			{what: "stalled", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "mine", "conditions": [{"type": "Stalled", "status": "True", "message": "no"}, {"type": "Ready", "status": "False"}]}`, ends: true, fails: true},
		}},
		"somebody asks again meanwhile": {annotated2, []stage{
			{what: "an earlier request is answered", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "earlier", "conditions": [{"type": "Ready", "status": "True"}]}`},
			{what: "the later request is answered", status: `{"observedGeneration": 2, "lastHandledReconcileAt": "later", "conditions": [{"type": "Ready", "status": "True"}]}`, ends: true},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runStages(t, test.object, test.stages)
		})
	}
}

// TestTheCauseIsTold holds the end of a wait to what went wrong, not only to how often it was tried.
func TestTheCauseIsTold(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{
		`{"conditions": [{"type": "Stalled", "status": "True", "message": "Failed to install after 1 attempt(s)"}, {"type": "Ready", "status": "False", "message": "no such image"}]}`: "Failed to install after 1 attempt(s): no such image",
		`{"conditions": [{"type": "Stalled", "status": "True", "message": "no such path"}, {"type": "Ready", "status": "False", "message": "no such path"}]}`:                          "no such path",
		`{"conditions": [{"type": "Stalled", "status": "True", "message": "Failed to upgrade after 2 attempt(s)"}, {"type": "Ready", "status": "False", "message": "rolled back"},
			{"type": "Released", "status": "False", "message": "no such image"}, {"type": "TestSuccess", "status": "True", "message": "tested"}]}`: "Failed to upgrade after 2 attempt(s): no such image: rolled back",
		`{"conditions": [{"type": "Stalled", "status": "True", "message": "no such path"}]}`: "no such path",
	} {
		obj := kinds.HelmRelease.New()
		if err := json.Unmarshal([]byte(`{"status": `+status+`}`), obj); err != nil {
			t.Fatal(err)
		}
		if state, got := kinds.HelmRelease.StateOf(obj); state != kinds.Failed || got != want {
			t.Errorf("state %d, %q, want %q", state, got, want)
		}
	}
}

// TestFailuresAreTold gives the wait of a new object a status as controllers write it while they try again.
func TestFailuresAreTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ status, want string }{
		"a first attempt that failed":                                     {`{"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "False", "message": "no branch", "observedGeneration": 2}]}`, "no branch"},
		"one of a controller that does not say of which generation it is": {`{"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "False", "message": "no branch"}]}`, "no branch"},
		"a chart that was just asked for":                                 {`{"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "False", "reason": "SourceNotReady", "message": "HelmChart 'a/b' is not ready: latest generation of object has not been reconciled", "observedGeneration": 2}]}`, ""},
		"a failure of the spec before":                                    {`{"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False", "message": "no branch", "observedGeneration": 1}]}`, ""},
		"work under way":                                                  {`{"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "Unknown", "message": "fetching", "observedGeneration": 2}]}`, ""},
		"nothing yet":                                                     {`{"observedGeneration": -1}`, ""},
	} {
		obj := kinds.Kustomization.New()
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(withStatus(t, annotated, test.status).Object, obj); err != nil {
			t.Fatal(err)
		}
		if got := failure(obj); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestTheSourceIsNamed lets the time of a wait end whose object knows only that its source is not ready: flux
// reconcile, create and resume end like this.
func TestTheSourceIsNamed(t *testing.T) {
	t.Parallel()
	server := clitest.New(t)
	for _, k := range []*kinds.Kind{kinds.Kustomization, kinds.GitRepository} {
		server.Serve(clitest.Served{Group: k.Group, Version: k.Version, Plural: k.Plural, Kind: k.Kind})
	}
	app := withStatus(t, annotated, `{"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False", "observedGeneration": 2, "message": "source not found"}]}`)
	app.Object["spec"] = map[string]any{"sourceRef": map[string]any{"kind": "GitRepository", "name": "fleet", "namespace": "other"}}
	fleet := withStatus(t, `{"metadata": {"name": "fleet", "namespace": "other"}}`, `{"conditions": [{"type": "Ready", "status": "False", "message": "no branch main"}]}`)
	fleet.Object["apiVersion"], fleet.Object["kind"] = "source.toolkit.fluxcd.io/v1", "GitRepository"
	server.Add(t, app)
	server.Add(t, fleet)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var said bytes.Buffer
	_, err := Wait(ctx, connect(t, server), ui.NewLog(&said), kinds.Kustomization, "ns", "app", Observed)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(said.String(), "GitRepository fleet, which it needs, is not ready: no branch main\n") {
		t.Errorf("%v\n%s", err, &said)
	}
}

func connect(t *testing.T, server *clitest.Server) *cluster.Client {
	t.Helper()
	cfg, err := (&cluster.Flags{Kubeconfig: server.Kubeconfig(t), QPS: -1}).RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func runStages(t *testing.T, object string, stages []stage) {
	t.Helper()
	server := clitest.New(t)
	k := kinds.Kustomization
	server.Serve(clitest.Served{Group: k.Group, Version: k.Version, Plural: k.Plural, Kind: k.Kind})
	server.Add(t, withStatus(t, object, "{}"))
	c := connect(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	looked := make(chan struct{}, 100)
	isHandled := handled("mine", "old")
	ended := make(chan error, 1)
	go func() {
		_, err := Wait(ctx, c, ui.NewLog(io.Discard), k, "ns", "app", func(obj meta.Object) bool {
			looked <- struct{}{}
			return isHandled(obj)
		})
		ended <- err
	}()
	<-looked
	for _, s := range stages {
		server.Add(t, withStatus(t, object, s.status))
		select {
		case <-looked:
		case err := <-ended:
			t.Fatalf("ended before %q: %v", s.what, err)
		}
		if !s.ends {
			continue
		}
		if err := <-ended; (err != nil) != s.fails || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: ended with %v, want an error: %t", s.what, err, s.fails)
		}
		return
	}
}

// withStatus returns the object with a status.
func withStatus(t *testing.T, object, status string) *clitest.Object {
	t.Helper()
	obj := &clitest.Object{}
	if err := json.Unmarshal([]byte(`{"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "spec": {}, "status": `+status+`}`), &obj.Object); err != nil {
		t.Fatal(err)
	}
	var head map[string]any
	if err := json.Unmarshal([]byte(object), &head); err != nil {
		t.Fatal(err)
	}
	obj.Object["metadata"] = head["metadata"]
	return obj
}
