package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	helm "helm.sh/helm/v4/pkg/release/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// ownConditions are those that attempts write; the others are the kernel's.
var ownConditions = []string{helmv2.ReleasedCondition, helmv2.TestSuccessCondition, helmv2.RemediatedCondition, helmv2.DriftedCondition}

func (a *attempt) set(kind string, status metav1.ConditionStatus, reason, message string) {
	list := append(meta.Conditions(nil), a.hr.Status.Conditions...)
	conditions := []metav1.Condition(list)
	apimeta.SetStatusCondition(&conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: a.hr.Generation})
	a.hr.Status.Conditions = conditions
}

func (a *attempt) forget(kind string) {
	conditions := append([]metav1.Condition(nil), a.hr.Status.Conditions...)
	apimeta.RemoveStatusCondition(&conditions, kind)
	a.hr.Status.Conditions = conditions
}

func (a *attempt) condition(kind string) *metav1.Condition {
	return apimeta.FindStatusCondition(a.hr.Status.Conditions, kind)
}

// summary is the condition that Ready copies: the first of remediation, tests where they matter, release.
func (a *attempt) summary() *metav1.Condition {
	kinds := []string{helmv2.RemediatedCondition}
	if t := a.hr.Spec.Test; t != nil && t.Enable && !a.remediation(a.hr.Status.LastAttemptedReleaseAction).ignoreTests {
		kinds = append(kinds, helmv2.TestSuccessCondition)
	}
	for _, kind := range append(kinds, helmv2.ReleasedCondition) {
		if c := a.condition(kind); c != nil {
			return c
		}
	}
	return nil
}

// end is the end of an attempt that found nothing more to do.
func (a *attempt) end(ctx context.Context, why string) *kernel.Outcome {
	if s := stateOf(a.facts(ctx)); s != stateInSync {
		if c := a.summary(); c != nil && c.Status == metav1.ConditionFalse {
			return stop(kernel.Failed(c.Reason, errors.New(c.Message)).WithoutEvent().Backoff())
		}
		return stop(kernel.Failed("ReconcileError", fmt.Errorf("the release is %s, and %s", s, why)).Backoff())
	}
	status := &a.hr.Status
	install := a.remediation(status.LastAttemptedReleaseAction)
	if install.retry {
		status.Failures, status.InstallFailures, status.UpgradeFailures = 0, 0, 0
		status.History = release.TruncateTo(status.History, historyWithRetry)
	} else {
		status.History = release.Truncate(status.History, install.ignoreTests)
	}
	if t := a.hr.Spec.Test; t == nil || !t.Enable {
		a.forget(helmv2.TestSuccessCondition)
	}
	if !a.c.looksForDrift(a.t) {
		a.forget(helmv2.DriftedCondition)
	}
	a.restoreReleased()
	status.ObservedPostRenderersDigest, status.ObservedCommonMetadataDigest = a.renderingDigests()
	if status.Inventory == nil {
		a.takeStock(ctx)
	}
	c := a.summary()
	return stop(kernel.Done(c.Reason, c.Message).WithLog(inSyncLog).WithMetadata(a.metadata()))
}

// historyWithRetry is how many snapshots the strategy RetryOnFailure keeps.
const historyWithRetry = 5

// restoreReleased makes the condition tell of success where the release is what is wanted again without an action: the
// spec went back to what had been rolled back to, or the last process did not come to say so.
func (a *attempt) restoreReleased() {
	latest := a.hr.Status.History.Latest()
	c := a.condition(helmv2.ReleasedCondition)
	if c != nil && c.Status == metav1.ConditionTrue && a.condition(helmv2.RemediatedCondition) == nil {
		return
	}
	a.forget(helmv2.RemediatedCondition)
	kind := actionUpgrade
	if latest.Version == 1 {
		kind = actionInstall
	}
	a.set(helmv2.ReleasedCondition, metav1.ConditionTrue, names[kind].succeeded,
		fmt.Sprintf("Helm %s succeeded for release %s with chart %s", kind, release.FullName(latest), release.VersionedChart(latest)))
}

// record takes what Helm stores into the history.
func (a *attempt) record(rel *helm.Release) {
	a.wrote = true
	status := &a.hr.Status
	ociDigest, kind, failed := a.ociDigest, a.acting, false
	for i, s := range status.History {
		if s.Version == rel.Version && s.Name == rel.Name && s.Namespace == rel.Namespace {
			ociDigest, failed = s.OCIDigest, s.Status == "failed"
			if i > 0 || kind == "" {
				kind = ""
			}
		}
	}
	s, err := release.NewSnapshot(a.c.DigestAlgorithm, rel, ociDigest, kind)
	if err != nil {
		a.req.Log.Error(err, "a release could not be recorded")
		return
	}
	if failed && a.acting == action.Rollback && s.Status == "superseded" {
		s.Status = "failed" // of a rollback that fails Helm says so; nobody wants to go back there
	}
	status.History = release.Record(status.History, s)
}

// takeStock writes the inventory of the latest release.
func (a *attempt) takeStock(ctx context.Context) {
	if err := a.observe(ctx); err != nil || a.last == nil {
		return
	}
	inv, unknown, err := release.Inventory(ctx, a.runner.Cluster.Apply().Mapper(), a.runner.Namespace, a.last.Manifest, a.last.Chart)
	if err != nil {
		a.req.Event(kernel.Warning("InventoryBuildFailed", fmt.Sprintf("the inventory of release %s/%s could not be made: %s", a.runner.Namespace, a.runner.Name, err), a.metadata()))
		return
	}
	for _, gvk := range unknown {
		a.req.Event(kernel.Warning("NamespaceCheckSkipped", fmt.Sprintf("whether %s has a namespace is not known", gvk), a.metadata()))
	}
	a.hr.Status.Inventory = stored(inv)
}

func stored(inv apply.Inventory) *meta.ResourceInventory {
	out := &meta.ResourceInventory{Entries: make([]meta.ResourceRef, len(inv))}
	for i, e := range inv {
		out.Entries[i] = meta.ResourceRef{ID: string(e.ID), Version: e.Version}
	}
	return out
}

// metadata of events about the release.
func (a *attempt) metadata() map[string]string {
	out := map[string]string{"revision": a.version, "token": a.config.String()}
	if a.ociDigest != "" {
		out["oci-digest"] = a.ociDigest
	}
	if latest := a.hr.Status.History.Latest(); latest != nil && latest.AppVersion != "" {
		out["app-version"] = latest.AppVersion
	} else if a.chart != nil && a.chart.Metadata.AppVersion != "" {
		out["app-version"] = a.chart.Metadata.AppVersion
	}
	return out
}

// withLog adds what Helm said last to a message.
func (a *attempt) withLog(message string) string {
	if lines := a.log.String(); lines != "" {
		return message + "\n\nLast Helm logs:\n\n" + lines
	}
	return message
}

// transfer copies what the attempt did to the object of the pass.
func (d *ended) transfer(req *request) {
	status := &req.Object.Status
	conditions, observed, handled, chart := status.Conditions, status.ObservedGeneration, status.LastHandledReconcileAt, status.HelmChart
	*status = *d.status.DeepCopy()
	status.Conditions, status.ObservedGeneration, status.LastHandledReconcileAt, status.HelmChart = conditions, observed, handled, chart
	for _, kind := range ownConditions {
		now, was := apimeta.FindStatusCondition(d.status.Conditions, kind), apimeta.FindStatusCondition(conditions, kind)
		switch {
		case now == nil && was != nil:
			req.RemoveCondition(kind)
		case now != nil && (was == nil || was.Status != now.Status || was.Reason != now.Reason || was.Message != now.Message || was.ObservedGeneration != now.ObservedGeneration):
			req.SetCondition(kind, now.Status, now.Reason, now.Message)
		}
	}
}

// conclude turns an attempt into the verdict.
func (c *controller) conclude(req *request, mem *memory, d *ended) kernel.Outcome {
	if d.settled {
		mem.settled, mem.storage, mem.namespace = d.target.full(), d.storage, action.StorageNamespace(d.target.object)
	}
	return d.outcome
}

// marshal encodes as the digests of the tables want it: JSON and a newline.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	err := json.NewEncoder(&out).Encode(v)
	return out.Bytes(), err
}
