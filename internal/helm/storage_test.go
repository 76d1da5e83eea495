package helm_test

import (
	"bytes"
	"cmp"
	"fmt"
	"testing"
	"time"

	sdk "helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// helmProgram is the SDK as the program helm uses it: its own client, its own storage driver.
func (l *lab) helmProgram() *sdk.Configuration {
	l.t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	path := testenv.Kubeconfig(l.t)
	flags.KubeConfig, flags.Namespace = &path, &l.namespace
	config := sdk.NewConfiguration()
	if err := config.Init(flags, l.namespace, "secret"); err != nil {
		l.t.Fatal(err)
	}
	config.SetLogger(nil)
	return config
}

func (l *lab) helmInstall(name string, serverSide bool, values map[string]any) {
	l.t.Helper()
	c, err := loader.LoadArchive(bytes.NewReader(pack(l.t, "demo", demo("1.0.0", nil))))
	if err != nil {
		l.t.Fatal(err)
	}
	a := sdk.NewInstall(l.helmProgram())
	a.ReleaseName, a.Namespace, a.ServerSideApply, a.WaitStrategy, a.Timeout = name, l.namespace, serverSide, helmkube.HookOnlyStrategy, time.Minute
	if _, err := a.Run(c, values); err != nil {
		l.t.Fatal(err)
	}
}

// helmHistory is what `helm history` shows: status by revision.
func (l *lab) helmHistory(name string) map[int]string {
	l.t.Helper()
	found, err := sdk.NewHistory(l.helmProgram()).Run(name)
	if err != nil {
		l.t.Fatal(err)
	}
	out := map[int]string{}
	for _, one := range found {
		rel := one.(*release.Release)
		out[rel.Version] = rel.Info.Status.String()
	}
	return out
}

func TestTakeoverFromHelmAndBack(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	for _, c := range []struct {
		name       string
		serverSide bool
	}{{"csa", false}, {"ssa", true}} {
		l.helmInstall(c.name, c.serverSide, map[string]any{"message": "by helm"})
		l.create(c.name, func(s *helmv2.HelmReleaseSpec) { s.Values = values(t, `{"message":"by flux"}`) })
		l.ready(c.name, 2)
		if data := l.configMap(c.name); data["message"] != "by flux" {
			t.Errorf("%s: the ConfigMap holds %v", c.name, data)
		}
		if h := l.helmHistory(c.name); h[1] != "superseded" || h[2] != "deployed" {
			t.Errorf("%s: helm history shows %v", c.name, h)
		}
		// The program goes back; the controller sees it at the next look and upgrades.
		back := sdk.NewRollback(l.helmProgram())
		back.Version, back.WaitStrategy, back.Timeout, back.ForceConflicts = 1, helmkube.HookOnlyStrategy, time.Minute, c.serverSide
		if err := back.Run(c.name); err != nil {
			t.Fatalf("%s: helm rollback: %v", c.name, err)
		}
		l.request(c.name)
		l.ready(c.name, 4)
		if data := l.configMap(c.name); data["message"] != "by flux" {
			t.Errorf("%s: after helm rollback and a look the ConfigMap holds %v", c.name, data)
		}
		// And back: the HelmRelease goes, the release stays, and helm removes it.
		l.update(c.name, func(hr *helmv2.HelmRelease) { hr.Spec.Suspend = true })
		l.delete(c.name)
		l.gone(c.name)
		if l.configMap(c.name) == nil {
			t.Errorf("%s: deleting a suspended HelmRelease removed the release", c.name)
		}
		remove := sdk.NewUninstall(l.helmProgram())
		remove.WaitStrategy, remove.Timeout = helmkube.HookOnlyStrategy, time.Minute
		if _, err := remove.Run(c.name); err != nil {
			t.Errorf("%s: helm uninstall: %v", c.name, err)
		}
		if l.configMap(c.name) != nil {
			t.Errorf("%s: helm uninstall left the ConfigMap", c.name)
		}
	}
}

// Whatever state Helm's storage is in, the release is as wanted after the next look, and nobody has to help.
func TestStatesOfStorage(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	mark := func(status common.Status) func(*testing.T, string, int) {
		return func(t *testing.T, name string, version int) {
			l.editRevision(t, name, version, func(r *release.Release) { r.Info.Status = status })
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, name string, version int)
		// version is the revision that follows, 0 where it does not matter.
		version int
		// rendered is the revision that the objects were rendered as, where it is not that of the release.
		rendered string
	}{
		"pending-install":  {mark(common.StatusPendingInstall), 2, ""},
		"pending-upgrade":  {mark(common.StatusPendingUpgrade), 2, ""},
		"pending-rollback": {mark(common.StatusPendingRollback), 2, ""},
		"failed":           {mark(common.StatusFailed), 2, ""},
		"superseded":       {mark(common.StatusSuperseded), 2, ""},
		"unknown":          {mark(common.StatusUnknown), 2, ""},
		"uninstalled":      {mark(common.StatusUninstalled), 2, "1"}, // Helm renders an install as revision 1
		"uninstalling":     {mark(common.StatusUninstalling), 0, ""},
		"tampered": {func(t *testing.T, name string, version int) {
			l.editRevision(t, name, version, func(r *release.Release) { r.Manifest += "\n# changed\n" })
		}, 0, ""},
		"corrupted": {func(t *testing.T, name string, version int) {
			s := l.secret(t, name, version)
			s.Data["release"] = []byte("this is no release")
			if err := l.client.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}, 0, ""},
		"deleted": {func(t *testing.T, name string, version int) {
			if err := l.client.Delete(t.Context(), l.secret(t, name, version)); err != nil {
				t.Fatal(err)
			}
		}, 1, ""},
		"newer": {func(t *testing.T, name string, version int) {
			r := l.readRevision(t, name, version)
			r.Version = 7
			if err := l.driver().Create("sh.helm.release.v1."+name+".v7", r); err != nil {
				t.Fatal(err)
			}
		}, 7, "1"}, // equal to what is wanted, and so taken as it is
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := l.with(t)
			at.create(name)
			at.ready(name, 1)
			c.damage(t, name, 1)
			at.request(name)
			hr := at.until(name, "Ready again", func(hr *helmv2.HelmRelease) bool {
				latest := hr.Status.History.Latest()
				ready := condition(hr, "Ready")
				return latest != nil && latest.Status == "deployed" && ready != nil && ready.Status == "True" && (c.version == 0 || latest.Version == c.version)
			})
			latest := hr.Status.History.Latest().Version
			if got := at.storedRevisions(name)[fmt.Sprint(latest)]; got != "deployed" {
				t.Errorf("storage: %v", at.storedRevisions(name))
			}
			if data := at.configMap(name); data["revision"] != cmp.Or(c.rendered, fmt.Sprint(latest)) {
				t.Errorf("v%d is deployed, but the ConfigMap is of %v", latest, data)
			}
		})
	}
}

func (l *lab) driver() *driver.Secrets {
	return driver.NewSecrets(kubernetes.NewForConfigOrDie(l.config).CoreV1().Secrets(l.namespace))
}

func (l *lab) secret(t *testing.T, name string, version int) *corev1.Secret {
	t.Helper()
	s := &corev1.Secret{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: fmt.Sprintf("sh.helm.release.v1.%s.v%d", name, version)}, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (l *lab) readRevision(t *testing.T, name string, version int) *release.Release {
	t.Helper()
	r, err := l.driver().Get(fmt.Sprintf("sh.helm.release.v1.%s.v%d", name, version))
	if err != nil {
		t.Fatal(err)
	}
	return r.(*release.Release)
}

func (l *lab) editRevision(t *testing.T, name string, version int, change func(*release.Release)) {
	t.Helper()
	r := l.readRevision(t, name, version)
	change(r)
	if err := l.driver().Update(fmt.Sprintf("sh.helm.release.v1.%s.v%d", name, version), r); err != nil {
		t.Fatal(err)
	}
}
