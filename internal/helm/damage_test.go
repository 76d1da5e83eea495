package helm_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	release "helm.sh/helm/v4/pkg/release/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
)

// Secrets of Helm's storage that somebody changed, or put beside it, keep no release from going on, and none is left when
// the release goes.
func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	edit := func(change func(*corev1.Secret)) func(*lab, string) {
		return func(l *lab, name string) {
			s := l.secret(l.t, name, 1)
			change(s)
			if err := l.client.Update(l.t.Context(), s); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	again := func(suffix string, change func(*corev1.Secret)) func(*lab, string) {
		return func(l *lab, name string) {
			old := l.secret(l.t, name, 1)
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: old.Namespace, Name: strings.TrimSuffix(old.Name, ".v1") + suffix, Labels: old.Labels}, Type: old.Type, Data: old.Data}
			change(s)
			if err := l.client.Create(l.t.Context(), s); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	record := func(change func(*release.Release)) func(*lab, string) {
		return func(l *lab, name string) { l.editRevision(l.t, name, 1, change) }
	}
	garble := func(s *corev1.Secret) { s.Data["release"] = []byte("no release") }
	for name, c := range map[string]struct {
		damage func(*lab, string)
		kept   bool // a Secret that is no record is left
	}{
		"unlabelled":    {damage: edit(func(s *corev1.Secret) { s.Labels = nil })},
		"other-name":    {damage: edit(func(s *corev1.Secret) { s.Labels["name"] = "somebody-else" })},
		"immutable":     {damage: edit(func(s *corev1.Secret) { s.Immutable = new(true) })},
		"copied":        {damage: again(".v1-backup", func(*corev1.Secret) {}), kept: true},
		"far-ahead":     {damage: again(".v40", garble)},
		"behind-broken": {damage: again(".v2", garble)},
		"hidden-next":   {damage: again(".v2", func(s *corev1.Secret) { s.Labels = nil; garble(s) })},
		"hidden-opaque": {damage: again(".v2", func(s *corev1.Secret) { s.Labels, s.Type = nil, corev1.SecretTypeOpaque; garble(s) })},
		"no-manifest":   {damage: record(func(r *release.Release) { r.Manifest = "this: [is no\nmanifest" })},
		"empty-hooks":   {damage: record(func(r *release.Release) { r.Hooks = append(r.Hooks, nil) })},
		"no-chart":      {damage: record(func(r *release.Release) { r.Chart = nil })},
		"empty-templates": {damage: record(func(r *release.Release) {
			r.Chart.Templates = append(r.Chart.Templates, nil)
			r.Chart.Files = append(r.Chart.Files, nil)
		})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.with(t)
			l.create(name)
			l.ready(name, 1)
			c.damage(l, name)
			l.update(name, func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"after"}`) })
			l.until(name, "Ready with the new values", func(hr *helmv2.HelmRelease) bool {
				ready := condition(hr, "Ready")
				return hr.Status.ObservedGeneration == hr.Generation && ready.Status == "True"
			})
			if got := l.configMap(name)["message"]; got != "after" {
				t.Errorf("the ConfigMap holds %q", got)
			}
			// Nothing more is to be done: another look makes no other revision.
			before := l.get(name).Status.History.Latest().Version
			if after := l.request(name).Status.History.Latest().Version; after != before {
				t.Errorf("another look made v%d out of v%d", after, before)
			}
			l.delete(name)
			l.gone(name)
			present("", false)(t, l, name)
			list := &corev1.SecretList{}
			if err := l.client.List(t.Context(), list, client.InNamespace(l.namespace)); err != nil {
				t.Fatal(err)
			}
			for _, s := range list.Items {
				if strings.HasPrefix(s.Name, "sh.helm.release.v1."+name+".v") && !c.kept {
					t.Errorf("left behind: %s", s.Name)
				}
			}
		})
	}
}

// A record that lost its labels does not make the end of a HelmRelease leave its objects behind.
func TestUninstallWithoutLabels(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("app")
	l.ready("app", 1)
	s := l.secret(t, "app", 1)
	s.Labels = nil
	if err := l.client.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	l.delete("app")
	l.gone("app")
	present("", false)(t, l, "app")
}

// A process that is killed while it installs for the first time could not say so in the status; the end of the HelmRelease
// uninstalls all the same.
func TestEndOfUnrecordedRelease(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("app")
	l.ready("app", 1)
	l.stop()
	hr := l.get("app")
	hr.Status = helmv2.HelmReleaseStatus{}
	if err := l.client.Status().Update(t.Context(), hr); err != nil {
		t.Fatal(err)
	}
	l.delete("app")
	l.start()
	l.gone("app")
	present("", false)(t, l, "app")
	if got := l.storedRevisions("app"); len(got) > 0 {
		t.Errorf("storage holds %v", got)
	}
}

// An upgrade to a release that is too large for a Secret fails, says so, and touches nothing; the fix is all it needs.
func TestTooLargeUpgrade(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 2<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("app", func(s *spec) {
		s.Upgrade = &helmv2.Upgrade{Remediation: &helmv2.UpgradeRemediation{Retries: 2}}
	})
	l.ready("app", 1)
	l.source("demo", "1.1.0", demo("1.1.0", map[string]string{"files/noise": base64.StdEncoding.EncodeToString(noise)}))
	hr, message := l.failed("app", "UpgradeFailed")
	if !strings.Contains(message, "bytes in Helm's storage, and a Secret holds 1048576: take files out of the chart") {
		t.Errorf("Ready says %q", message)
	}
	if h := hr.Status.History; len(h) != 1 || h[0].Status != "deployed" || hr.Status.UpgradeFailures != 0 {
		t.Errorf("history %+v, failures %d", h, hr.Status.UpgradeFailures)
	}
	if got := l.configMap("app")["revision"]; got != "1" {
		t.Errorf("the objects are those of revision %s", got)
	}
	l.source("demo", "1.2.0", demo("1.2.0", nil))
	l.ready("app", 2)
}

// What an uninstall does with the objects of objects: with foreground the owner waits for them, with background it goes
// before them.
func TestDeletionPropagation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", choices())
	for _, policy := range []string{"foreground", "background"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			l, name := l.with(t), policy
			l.create(name, func(s *spec) {
				s.Uninstall = &helmv2.Uninstall{DeletionPropagation: new(policy), DisableWait: true}
				s.Install = &helmv2.Install{DisableWait: true}
				s.Values = values(t, `{"deployment":1,"app":"`+name+`"}`)
			})
			l.ready(name, 1)
			sets := &appsv1.ReplicaSetList{}
			l.waitFor("the ReplicaSet", func(ctx context.Context) bool {
				return l.client.List(ctx, sets, client.InNamespace(l.namespace), client.MatchingLabels{"app": name}) == nil && len(sets.Items) == 1
			})
			held := &sets.Items[0]
			if err := l.client.Patch(t.Context(), held, mergePatch(`{"metadata":{"finalizers":["example.com/held"]}}`)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = l.client.Patch(context.Background(), held, mergePatch(`{"metadata":{"finalizers":null}}`))
			})
			l.delete(name)
			l.gone(name)
			owner := &appsv1.Deployment{}
			err := l.client.Get(t.Context(), client.ObjectKey{Namespace: l.namespace, Name: name}, owner)
			if waits := err == nil && fmt.Sprint(owner.Finalizers) == "[foregroundDeletion]"; waits != (policy == "foreground") {
				t.Errorf("the Deployment waits for its ReplicaSet: %t (%v, %v)", waits, owner.Finalizers, err)
			}
		})
	}
}
