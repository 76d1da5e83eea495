package kernel_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

// secretReader shows what is in the Secret that a probe names.
type secretReader struct {
	kerneltest.Script
	m *kernel.Manager
}

func (r *secretReader) Reconcile(_ context.Context, req *probeRequest) kernel.Outcome {
	switch {
	case req.Job == nil || req.Job.Superseded:
		key := types.NamespacedName{Namespace: req.Object.Namespace, Name: req.Object.Spec.Secrets[0]}
		return kernel.Working(kernel.Job{Key: "read", Run: func(ctx context.Context) (any, error) { return r.m.GetSecret(ctx, key) }})
	case req.Job.Err != nil:
		return kernel.Failed("ReadFailed", req.Job.Err)
	default:
		return kernel.Done("", "read "+string(req.Job.Value.(*corev1.Secret).Data["key"]))
	}
}

func TestCachedSecrets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		cached bool
		gets   int
	}{
		{"by default each look is a request, and no data stays in memory", false, 6},
		{"with the gate the cache answers", true, 0},
	} {
		lab := kerneltest.NewLab(t)
		counted := count(lab)
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: lab.Namespace}, StringData: map[string]string{"key": "one"}}
		if err := lab.Client.Create(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		startWith(lab, func(m *kernel.Manager) kernel.Reconciler[*probe] { return &secretReader{m: m} }, func(s *kernel.Settings) {
			s.Gates = map[string]bool{kernel.GateCacheSecretsAndConfigMaps: tt.cached}
		})
		message := func(text string) func(p *probe) bool {
			return func(p *probe) bool { return strings.Contains(condition(p, meta.ReadyCondition).Message, text) }
		}
		lab.Create("a", func(p *probe) { p.Spec.Secrets = []string{"s"} })
		lab.Until("a", "showing one", message("read one"))
		for _, token := range []string{"1", "2", "3", "4"} {
			lab.Request("a", token)
			lab.Until("a", "answered", func(p *probe) bool { return p.Status.LastHandledReconcileAt == token })
		}
		secret.Data, secret.StringData = nil, map[string]string{"key": "two"}
		if err := lab.Client.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		// The request may overtake the watch of the cache; what is answered must never lag
		// behind what wakes.
		for token := 5; !message("read two")(lab.Until("a", "there", func(p *probe) bool { return p != nil })); token++ {
			lab.Request("a", strings.Repeat("x", token))
			lab.Until("a", "answered", func(p *probe) bool { return p.Status.LastHandledReconcileAt == strings.Repeat("x", token) })
		}
		reads, _ := counted.taken()
		gets := 0
		for _, line := range reads {
			if strings.HasSuffix(line, "/secrets/s") {
				gets++
			}
		}
		if tt.cached && gets > 1 || !tt.cached && gets < tt.gets {
			t.Errorf("%s: %d requests for the Secret", tt.reason, gets)
		}
	}
}

func TestCachedSecretThatIsMissing(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	startWith(lab, func(m *kernel.Manager) kernel.Reconciler[*probe] { return &secretReader{m: m} }, func(s *kernel.Settings) {
		s.Gates = map[string]bool{kernel.GateCacheSecretsAndConfigMaps: true}
	})
	lab.Create("a", func(p *probe) { p.Spec.Secrets = []string{"s"} })
	lab.Ready("a", metav1.ConditionFalse, "ReadFailed")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: lab.Namespace, Labels: map[string]string{"reconcile.fluxcd.io/watch": "Enabled"}}}
	if err := lab.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
}
