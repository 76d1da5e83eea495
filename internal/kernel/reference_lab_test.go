package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/go-logr/logr"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

// dependent is Done when all it depends on is ready, as a Kustomization is.
type dependent struct{ m *kernel.Manager }

func (d dependent) References(p *probe) []kernel.Reference { return p.References() }

func (d dependent) Reconcile(ctx context.Context, req *probeRequest) kernel.Outcome {
	for _, dep := range req.Object.Spec.DependsOn {
		other := &probe{}
		key := types.NamespacedName{Namespace: req.Object.Namespace, Name: dep.Name}
		if err := d.m.Client().Get(ctx, key, other); err != nil {
			return kernel.Waiting(meta.DependencyNotReadyReason, fmt.Sprintf("dependency '%s' not found", key), time.Hour)
		}
		if condition(other, meta.ReadyCondition).Status != metav1.ConditionTrue || other.Generation != other.Status.ObservedGeneration {
			return kernel.Waiting(meta.DependencyNotReadyReason, fmt.Sprintf("dependency '%s' is not ready", key), time.Hour)
		}
	}
	if req.Object.Spec.Input == "broken" {
		return kernel.Failed(meta.BuildFailedReason, errors.New("broken"))
	}
	req.Object.Status.Revision = req.Object.Spec.Input
	return kernel.Done("", "applied "+req.Object.Spec.Input)
}

func (d dependent) Finalize(context.Context, *probeRequest) kernel.Outcome {
	return kernel.Done("", "")
}

// startWith runs a reconciler that needs its manager.
func startWith(lab *kerneltest.Lab, build func(*kernel.Manager) kernel.Reconciler[*probe], change ...func(*kernel.Settings)) {
	lab.T.Helper()
	settings := kernel.Defaults()
	settings.RuntimeNamespace, settings.IntervalJitterPercentage = lab.Namespace, 0
	for _, f := range change {
		f(&settings)
	}
	process, err := kernel.NewProcess(lab.Config, kernel.ProcessOptions{
		Scheme: kerneltest.Scheme(lab.T), MetricsAddr: "0", HealthAddr: "0", WatchNamespace: lab.Namespace, Log: logr.Discard(),
	})
	if err != nil {
		lab.T.Fatal(err)
	}
	m := process.Controller("probe-controller", settings)
	if err := kernel.Register(m, kerneltest.Kind(), build(m)); err != nil {
		lab.T.Fatal(err)
	}
	lab.Run(process)
}

func startDependents(lab *kerneltest.Lab, change ...func(*kernel.Settings)) {
	startWith(lab, func(m *kernel.Manager) kernel.Reconciler[*probe] { return dependent{m} }, change...)
}

func dependsOn(names ...string) func(*probe) {
	return func(p *probe) {
		p.Spec.DependsOn = nil
		for _, n := range names {
			p.Spec.DependsOn = append(p.Spec.DependsOn, meta.NamespacedObjectReference{Name: n})
		}
	}
}

func TestChainRunsWithoutTimers(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	startDependents(lab)
	const n = 10
	for i := n; i > 0; i-- {
		if i == 1 {
			lab.Create("p1")
			continue
		}
		lab.Create(fmt.Sprintf("p%d", i), dependsOn(fmt.Sprintf("p%d", i-1)))
	}
	lab.Ready("p10", metav1.ConditionTrue, meta.SucceededReason)
}

func TestDependencyChangesWake(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	startDependents(lab)
	lab.Create("b", dependsOn("a"))
	p := lab.Ready("b", metav1.ConditionFalse, meta.DependencyNotReadyReason)
	if p.Status.ObservedGeneration != -1 {
		t.Error("waiting is no verdict on the generation")
	}
	lab.Create("a", func(p *probe) { p.Spec.Input = "broken" })
	lab.Until("b", "waiting for a that failed", func(p *probe) bool {
		return strings.HasSuffix(condition(p, meta.ReadyCondition).Message, "/a' is not ready")
	})
	lab.Update("a", func(p *probe) { p.Spec.Input = "1" })
	lab.Ready("b", metav1.ConditionTrue, meta.SucceededReason)
	lab.Delete("a")
	lab.Until("b", "without a", func(p *probe) bool {
		return strings.HasSuffix(condition(p, meta.ReadyCondition).Message, "/a' not found")
	})
}

func TestCircleIsStalledWithItsPath(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	startDependents(lab)
	lab.Create("a", dependsOn("c"))
	lab.Create("b", dependsOn("a"))
	lab.Create("c", dependsOn("b"))
	lab.Create("outside", dependsOn("a"))
	for name, path := range map[string]string{"a": "a -> %[1]s/c -> %[1]s/b -> %[1]s/a;", "b": "b -> %[1]s/a -> %[1]s/c -> %[1]s/b;"} {
		lab.Until(name, "stalled", func(p *probe) bool {
			c := condition(p, meta.StalledCondition)
			return strings.HasPrefix(c.Message, "circular dependency detected: "+lab.Namespace+"/"+fmt.Sprintf(path, lab.Namespace))
		})
	}
	lab.Ready("outside", metav1.ConditionFalse, meta.DependencyNotReadyReason)
	lab.Update("c", dependsOn())
	for _, name := range []string{"a", "b", "c", "outside"} {
		p := lab.Ready(name, metav1.ConditionTrue, meta.SucceededReason)
		if condition(p, meta.StalledCondition).Type != "" {
			t.Errorf("%s is still stalled", name)
		}
	}
}

func TestCrossNamespaceReferenceIsForbidden(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	lab.Start(&kerneltest.Script{}, func(s *kernel.Settings) { s.NoCrossNamespaceRefs = true })
	lab.Create("a", func(p *probe) {
		p.Spec.SourceRef = &meta.NamespacedObjectReference{Namespace: "elsewhere", Name: "src"}
	})
	p := lab.Ready("a", metav1.ConditionFalse, meta.AccessDeniedReason)
	want := "can't access 'Probe/elsewhere/src', cross-namespace references have been blocked; refer to a Probe in the namespace '" + lab.Namespace + "'"
	if c := condition(p, meta.StalledCondition); c.Message != want || c.Status != metav1.ConditionTrue {
		t.Errorf("Stalled %+v, want %q", c, want)
	}
	if p.Status.ObservedGeneration != -1 {
		t.Errorf("observedGeneration %d: denied access leaves it", p.Status.ObservedGeneration)
	}
	lab.Update("a", func(p *probe) { p.Spec.SourceRef.Namespace = "" })
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	// dependsOn is not restricted.
	lab.Create("b", func(p *probe) {
		p.Spec.DependsOn = []meta.NamespacedObjectReference{{Namespace: "elsewhere", Name: "x"}}
	})
	lab.Ready("b", metav1.ConditionTrue, meta.SucceededReason)
}

// reader notes the version of the config that it saw, and nothing of its content.
type reader struct {
	m  *kernel.Manager
	mu sync.Mutex
	// passes counts the reconciliations of each object.
	passes map[string]int
}

func (r *reader) References(p *probe) []kernel.Reference { return p.References() }

func (r *reader) Reconcile(_ context.Context, req *probeRequest) kernel.Outcome {
	r.mu.Lock()
	r.passes[req.Object.Name]++
	r.mu.Unlock()
	req.Object.Status.Notes = map[string]string{}
	for _, ref := range req.Object.References() {
		version, ok := r.m.Version(req.Object.Namespace, ref)
		if !ok {
			return kernel.Failed("VersionUnknown", errors.New("version unknown"))
		}
		req.Object.Status.Notes[ref.Kind+"/"+ref.Name] = version
	}
	return kernel.Done("", "read")
}

func (r *reader) Finalize(context.Context, *probeRequest) kernel.Outcome { return kernel.Done("", "") }

func (r *reader) count(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passes[name]
}

func TestLabelledConfigsActAtOnceOthersLater(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	ctx := t.Context()
	watched := map[string]string{meta.WatchLabel: "Enabled"}
	plain := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "plain", Namespace: lab.Namespace}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "watched", Namespace: lab.Namespace, Labels: watched}}
	for _, o := range []client.Object{plain, secret} {
		if err := lab.Client.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	r := &reader{passes: map[string]int{}}
	startWith(lab, func(m *kernel.Manager) kernel.Reconciler[*probe] { r.m = m; return r })
	lab.Create("a", func(p *probe) {
		p.Spec.ConfigMaps, p.Spec.Secrets = []string{"plain", "later", "much-later"}, []string{"watched"}
	})
	p := lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if p.Status.Notes["ConfigMap/plain"] != plain.ResourceVersion || p.Status.Notes["Secret/watched"] != secret.ResourceVersion || p.Status.Notes["ConfigMap/later"] != "" {
		t.Errorf("notes %v", p.Status.Notes)
	}
	passes := r.count("a")

	plain.Data = map[string]string{"k": "v"}
	if err := lab.Client.Update(ctx, plain); err != nil {
		t.Fatal(err)
	}
	// ConfigMaps and Secrets are watched apart: the Secret must not overtake.
	seen := func(context.Context) (bool, error) {
		version, _ := r.m.Version(lab.Namespace, kernel.ConfigMap("plain"))
		return version == plain.ResourceVersion, nil
	}
	if err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, kerneltest.Limit, true, seen); err != nil {
		t.Fatalf("the new ConfigMap is not seen: %v", err)
	}
	secret.StringData = map[string]string{"k": "v"}
	if err := lab.Client.Update(ctx, secret); err != nil {
		t.Fatal(err)
	}
	// The labelled Secret wakes; the pass sees both new versions without a request.
	lab.Until("a", "awake", func(p *probe) bool {
		return p.Status.Notes["Secret/watched"] == secret.ResourceVersion && p.Status.Notes["ConfigMap/plain"] == plain.ResourceVersion
	})
	if n := r.count("a"); n != passes+1 {
		t.Errorf("%d passes, want %d: the unlabelled ConfigMap must not wake", n, passes+1)
	}
	// A referent that appears wakes, with the label or without: somebody may wait for it. With the label its end does too.
	unlabelled := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "much-later", Namespace: lab.Namespace}}
	if err := lab.Client.Create(ctx, unlabelled); err != nil {
		t.Fatal(err)
	}
	lab.Until("a", "aware of what it waited for", func(p *probe) bool {
		return p.Status.Notes["ConfigMap/much-later"] == unlabelled.ResourceVersion
	})
	later := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "later", Namespace: lab.Namespace, Labels: watched}}
	if err := lab.Client.Create(ctx, later); err != nil {
		t.Fatal(err)
	}
	lab.Until("a", "aware of the new one", func(p *probe) bool { return p.Status.Notes["ConfigMap/later"] == later.ResourceVersion })
	if err := lab.Client.Delete(ctx, later); err != nil {
		t.Fatal(err)
	}
	lab.Until("a", "aware of its end", func(p *probe) bool { return p.Status.Notes["ConfigMap/later"] == "" })
}

func TestShardsSeeEachOther(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	shard := func(name string) func(*kernel.Settings) {
		return func(s *kernel.Settings) { s.WatchLabelSelector = "shard=" + name }
	}
	in := func(name string) func(*probe) {
		return func(p *probe) { p.Labels = map[string]string{"shard": name} }
	}
	startDependents(lab, shard("one"))
	lab.Create("a", in("two"))
	lab.Create("b", in("one"), dependsOn("a"))
	lab.Ready("b", metav1.ConditionFalse, meta.DependencyNotReadyReason)
	if p := lab.History("a"); len(p) != 1 {
		t.Errorf("the controller of shard one touched an object of shard two")
	}
	startDependents(lab, shard("two"))
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	lab.Ready("b", metav1.ConditionTrue, meta.SucceededReason)
}
