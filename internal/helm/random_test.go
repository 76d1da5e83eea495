package helm_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	sdk "helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
)

// roundsEnv is how many things happen to each release of TestRandomHistories, a few when it is not set.
const roundsEnv = "FLUX_TEST_HELM_ROUNDS"

// TestRandomHistories lets chance choose what happens to releases: people with helm, people with kubectl, failures, changes
// of mind. After each the release is what its spec says, with a deployed revision in Helm's storage, and stays so.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	rounds, err := strconv.Atoi(os.Getenv(roundsEnv))
	if err != nil {
		rounds = 6
	}
	l := newLab(t)
	other := l.namespace + "-records"
	l.makeNamespace(other)
	l.source("demo", "1.0.0", choices())
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("FLUX_TEST_HELM_SEED"), 10, 64); err == nil {
		seed = s
	}
	for n := range uint64(3) {
		t.Run(fmt.Sprint("app", n), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			c := &chance{lab: l.with(t), r: rand.New(rand.NewPCG(seed, n)), name: fmt.Sprint("app", n), other: other}
			c.create(c.name)
			c.settle(0)
			for range rounds {
				c.round()
			}
			c.delete(c.name)
			c.gone(c.name)
			present("", false)(t, c.lab, c.release)
		})
	}
}

// chance is one release to which things happen.
type chance struct {
	*lab
	r           *rand.Rand
	name, other string
	// release and records are the name of the release and the namespace of its records, as they are now.
	release, records string
	told             []string
	serial           int
}

// settle waits until the release is as the spec says, and sees that it stays so.
func (c *chance) settle(serial int) {
	c.t.Helper()
	message := "hello"
	if serial > 0 {
		message = fmt.Sprint("m", serial)
	}
	defer func() {
		if c.t.Failed() {
			c.t.Logf("what happened: %v; storage %v", c.told, c.revisionsIn(c.records, c.release))
		}
	}()
	hr := c.until(c.name, fmt.Sprintf("settled after %v", c.told), func(hr *helmv2.HelmRelease) bool {
		ready, latest := condition(hr, "Ready"), hr.Status.History.Latest()
		asked := hr.Annotations["reconcile.fluxcd.io/requestedAt"]
		return hr.Status.ObservedGeneration == hr.Generation && ready != nil && ready.Status == metav1.ConditionTrue && latest != nil &&
			latest.Status == "deployed" && hr.Status.LastHandledReconcileAt == asked
	})
	latest := hr.Status.History.Latest()
	c.release, c.records = latest.Name, hr.Status.StorageNamespace
	stored := c.revisionsIn(c.records, c.release)
	for version, status := range stored {
		if v, _ := strconv.Atoi(version); v == latest.Version && status != "deployed" || v > latest.Version {
			c.t.Fatalf("v%d is the latest, and storage holds %v", latest.Version, stored)
		}
	}
	if got := c.configMap(c.release); got["message"] != message {
		c.t.Fatalf("the ConfigMap holds %v, want %q", got, message)
	}
	if after := c.request(c.name).Status.History.Latest(); after.Version != latest.Version {
		c.t.Fatalf("another look made v%d out of v%d", after.Version, latest.Version)
	}
}

// round lets one to three things happen, asks for a look, and waits for the release.
func (c *chance) round() {
	c.t.Helper()
	c.told = nil
	c.serial++
	for range 1 + c.r.IntN(3) {
		names := []string{"status", "delete", "garble", "ahead", "unlabel", "rollback", "uninstall", "keep", "object", "move", "rename", "broken", "suspend", "force", "remedy"}
		what := names[c.r.IntN(len(names))]
		c.told = append(c.told, what)
		c.happen(what)
	}
	c.update(c.name, func(hr *helmv2.HelmRelease) {
		hr.Spec.Suspend = false
		hr.Spec.Values = values(c.t, fmt.Sprintf(`{"message":"m%d","fresh":%t}`, c.serial, c.r.IntN(2) == 0))
	})
	also := []string{}
	if slices.Contains(c.told, "force") {
		also = []string{"reconcile.fluxcd.io/forceAt", "reconcile.fluxcd.io/resetAt"}
	}
	c.request(c.name, also...)
	c.settle(c.serial)
}

func (c *chance) newest() *corev1.Secret {
	list := &corev1.SecretList{}
	if err := c.client.List(c.t.Context(), list, client.InNamespace(c.records), client.MatchingLabels{"owner": "helm", "name": c.release}); err != nil || len(list.Items) == 0 {
		return nil
	}
	return &list.Items[c.r.IntN(len(list.Items))]
}

func (c *chance) happen(what string) {
	ctx := c.t.Context()
	secret := c.newest()
	switch what {
	case "status":
		c.restatus(secret)
	case "delete":
		if secret != nil {
			_ = c.client.Delete(ctx, secret)
		}
	case "garble":
		if secret != nil {
			secret.Data["release"] = []byte("garbled")
			_ = c.client.Update(ctx, secret)
		}
	case "ahead":
		ahead := &corev1.Secret{Type: "helm.sh/release.v1", Data: map[string][]byte{"release": []byte("garbled")}}
		ahead.Namespace, ahead.Name = c.records, fmt.Sprintf("sh.helm.release.v1.%s.v%d", c.release, 2+c.r.IntN(12))
		ahead.Labels = map[string]string{"owner": "helm", "name": c.release, "status": "deployed", "version": "9"}
		if c.r.IntN(2) == 0 {
			ahead.Labels = nil
		}
		_ = c.client.Create(ctx, ahead)
	case "unlabel":
		if secret != nil {
			secret.Labels = nil
			_ = c.client.Update(ctx, secret)
		}
	case "object":
		_ = c.client.Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: c.release}})
	case "rollback", "uninstall", "keep":
		c.byHelm(what)
	default:
		c.update(c.name, func(hr *helmv2.HelmRelease) { c.respec(what, hr) })
	}
}

func (c *chance) restatus(secret *corev1.Secret) {
	if secret == nil || c.records != c.namespace {
		return
	}
	all := []common.Status{
		common.StatusPendingInstall, common.StatusPendingUpgrade, common.StatusPendingRollback, common.StatusFailed, common.StatusSuperseded,
		common.StatusUnknown, common.StatusUninstalled, common.StatusUninstalling, common.StatusDeployed,
	}
	one, err := c.driver().Get(secret.Name)
	if err != nil {
		return
	}
	rel := one.(*release.Release)
	rel.Info.Status = all[c.r.IntN(len(all))]
	c.told = append(c.told, rel.Info.Status.String())
	_ = c.driver().Update(secret.Name, rel)
}

// byHelm is what a person does with the program helm; it may fail, as it does for them.
func (c *chance) byHelm(what string) {
	if c.records != c.namespace {
		return
	}
	config := c.helmProgram()
	if what == "rollback" {
		a := sdk.NewRollback(config)
		a.WaitStrategy, a.Timeout, a.ForceConflicts = helmkube.HookOnlyStrategy, time.Minute, true
		c.told = append(c.told, fmt.Sprint(a.Run(c.release)))
		return
	}
	a := sdk.NewUninstall(config)
	a.WaitStrategy, a.Timeout, a.KeepHistory = helmkube.HookOnlyStrategy, time.Minute, what == "keep"
	_, err := a.Run(c.release)
	c.told = append(c.told, fmt.Sprint(err))
}

func (c *chance) respec(what string, hr *helmv2.HelmRelease) {
	s := &hr.Spec
	switch what {
	case "move":
		s.StorageNamespace = []string{"", c.other}[c.r.IntN(2)]
	case "rename":
		s.ReleaseName = []string{"", c.name + "-renamed"}[c.r.IntN(2)]
	case "broken":
		s.Values = values(c.t, `{"invalid":true}`)
	case "suspend":
		s.Suspend = true
	case "remedy":
		retries := c.r.IntN(3) - 1
		s.Install = &helmv2.Install{Remediation: &helmv2.InstallRemediation{Retries: max(retries, 0), RemediateLastFailure: new(c.r.IntN(2) == 0)}}
		s.Upgrade = &helmv2.Upgrade{Remediation: &helmv2.UpgradeRemediation{Retries: max(retries, 0), Strategy: []string{"rollback", "uninstall"}[c.r.IntN(2)]}}
		s.MaxHistory = new(c.r.IntN(4))
		s.Uninstall = &helmv2.Uninstall{KeepHistory: c.r.IntN(2) == 0}
	}
}
