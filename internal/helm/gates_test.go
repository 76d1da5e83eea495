package helm_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/helm"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// seenAmong tells whether one of some requests begins so.
func seenAmong(requests []string, prefix string) bool {
	for _, r := range requests {
		if strings.HasPrefix(r, prefix) {
			return true
		}
	}
	return false
}

// Each gate and flag of the process, beside the same without it.
func TestGatesAndFlags(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]bool{"set": true, "not set": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, func(l *lab) {
				for _, gate := range []string{helm.GateAllowDNSLookups, kernel.GateDirectSourceFetch, kernel.GateAdditiveCELDependencyCheck} {
					l.settings.Gates[gate] = on
				}
				if on {
					l.options.OverrideManagers = []string{"somebody"}
				}
			})
			l.source("demo", "1.0.0", demo("1.0.0", map[string]string{
				"templates/host.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-host}\ndata: {address: {{ getHostByName \"localhost\" | quote }}}\n",
			}))
			l.requests()
			l.create("app")
			l.ready("app", 1)
			if got := l.configMap("app-host")["address"]; (got != "") != on {
				t.Errorf("a template that looks up a host gets %q", got)
			}
			if live := seenAmong(l.requests(), "get apis/source.toolkit.fluxcd.io/v1/namespaces/"+l.namespace+"/ocirepositories/demo?"); live != on {
				t.Errorf("the source was read from the server: %t", live)
			}
			theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "app"}}
			if err := l.client.Patch(t.Context(), theirs, mergePatch(`{"data":{"theirs":"yes"}}`), client.FieldOwner("somebody")); err != nil {
				t.Fatal(err)
			}
			l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"again"}`) })
			l.ready("app", 2)
			if kept := l.configMap("app")["theirs"] == "yes"; kept == on {
				t.Errorf("what the other manager wrote is kept: %t", kept)
			}
			l.create("first", func(s *spec) { s.ChartRef.Name = "missing" })
			l.create("second", func(s *spec) { s.DependsOn = []meta.DependencyReference{{Name: "first", ReadyExpr: "true"}} })
			if !on {
				l.ready("second", 1)
			} else if _, message := l.failed("second", meta.DependencyNotReadyReason); !strings.HasSuffix(message, "/first' is not ready") {
				t.Errorf("Ready says %q", message)
			}
		})
	}
}

// A client that is not kept asks for what the server is and serves for each release.
func TestPersistentClient(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("warm")
	l.ready("warm", 1)
	for name, kept := range map[string]bool{"kept": true, "anew": false} {
		settle(t, l)
		l.requests()
		l.create(name, func(s *spec) { s.PersistentClient = new(kept) })
		l.ready(name, 1)
		if seen := l.requests(); seenAmong(seen, "get version?") == kept || seenAmong(seen, "get apis?") == kept {
			t.Errorf("persistentClient is %t, and the requests were\n%s", kept, strings.Join(seen, "\n"))
		}
	}
}
