package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	helm "helm.sh/helm/v4/pkg/release/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Modes of spec.driftDetection.
const (
	driftEnabled = "enabled"
	driftWarn    = "warn"
)

// Reasons of conditions and events about drift.
const (
	driftDetected         = "DriftDetected"
	noDriftDetected       = "NoDriftDetected"
	driftCorrected        = "DriftCorrected"
	driftCorrectionFailed = "DriftCorrectionFailed"
)

// sideBySide is how many objects are looked at at a time.
const sideBySide = 4

// looksForDrift tells whether the spec asks to look.
func (c *controller) looksForDrift(t *target) bool {
	d := t.spec().DriftDetection
	return d != nil && (d.Mode == driftEnabled || d.Mode == driftWarn)
}

// compared is an object of the release beside what the cluster has.
type compared struct {
	ref      apply.Ref
	resource dynamic.ResourceInterface
	wanted   *unstructured.Unstructured
	// passed says that the object was not looked at, because it is known to be as it was; line tells of it as it was.
	passed bool
	was    string
	live   *unstructured.Unstructured // nil when it is gone
	dry    *unstructured.Unstructured // what an apply would make of it
	diff   diff
	// exempt says that the spec leaves the object to others, excluded that it is left to them for this or another reason.
	exempt, excluded bool
	paths            [][]string // of the fields that may be as others like them
	// corrected says that it was put back.
	corrected bool
}

func (d *compared) drifted() bool {
	return !d.passed && !d.excluded && !d.corrected && (d.live == nil || !d.diff.empty())
}

// line is that of the event, "" for an object in step.
func (d *compared) line() string {
	switch {
	case d.passed:
		return d.was
	case !d.drifted():
		return ""
	case d.live == nil:
		return d.ref.Subject() + " removed"
	}
	return fmt.Sprintf("%s changed (%d additions, %d changes, %d removals)", d.ref.Subject(), d.diff.added, d.diff.changed, d.diff.removed)
}

// lookAgain is a whole attempt for a release that is known to be what is wanted: only its objects are looked at. The
// outcome is nil where that turns out to be wrong.
func (a *attempt) lookAgain(ctx context.Context) *kernel.Outcome {
	status := &a.hr.Status
	latest := status.History.Latest()
	if latest == nil || a.summary() == nil {
		return nil
	}
	if stopped := a.connect(ctx); stopped != nil {
		return stopped
	}
	last, err := a.runner.Storage.Read(ctx, latest.Version)
	if err != nil || !release.Verify(latest, last) {
		return nil
	}
	a.last = last
	a.version, a.ociDigest, a.config = status.LastAttemptedRevision, status.LastAttemptedRevisionDigest, artifact.Digest(status.LastAttemptedConfigDigest)
	if stopped := a.drift(ctx); stopped != nil {
		return stopped
	}
	c := a.summary()
	return stop(kernel.Done(c.Reason, c.Message).WithLog(inSyncLog).WithMetadata(a.metadata()))
}

// drift looks for drift, and corrects it where the spec says so.
func (a *attempt) drift(ctx context.Context) *kernel.Outcome {
	a.looked = true
	if len(a.had) > 0 {
		a.look = lookAll // another step may have changed every object
	}
	all, err := a.compare(ctx)
	if err != nil {
		return stop(kernel.Failed("StateError", fmt.Errorf("look for drift: %w", err)).Backoff())
	}
	var drifted []*compared
	var lines []string
	for _, d := range all {
		if d.drifted() {
			drifted = append(drifted, d)
		}
		if line := d.line(); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		a.watch.settle(a, all)
		a.inStep()
		return nil
	}
	message := fmt.Sprintf("Cluster state of release %s has drifted from the desired state:\n%s", release.FullName(a.hr.Status.History.Latest()), strings.Join(lines, "\n"))
	if c := a.condition(helmv2.DriftedCondition); c == nil || c.Status != metav1.ConditionTrue || c.Message != message {
		a.req.Event(kernel.Warning(driftDetected, message, nil))
	}
	a.set(helmv2.DriftedCondition, metav1.ConditionTrue, driftDetected, message)
	if a.hr.Spec.DriftDetection.Mode != driftEnabled {
		a.watch.settle(a, all)
		return nil
	}
	return a.correct(ctx, all, drifted)
}

func (a *attempt) inStep() {
	a.set(helmv2.DriftedCondition, metav1.ConditionFalse, noDriftDetected, "No drift detected against the cluster state")
}

// compare looks at the objects of the release, but for those that are known to be as they were.
func (a *attempt) compare(ctx context.Context) ([]*compared, error) {
	objects, err := release.Objects(a.last.Manifest)
	if err != nil {
		return nil, err
	}
	rules, err := ignoreRules(a.hr.Spec.DriftDetection.Ignore)
	if err != nil {
		return nil, err
	}
	var all []*compared
	for _, o := range objects {
		d, err := a.locate(ctx, o)
		if err != nil {
			return nil, err
		}
		var whole bool
		d.paths, whole = pathsFor(rules, o)
		d.exempt = whole || disabled(o)
		d.excluded = d.exempt
		d.passed = d.exempt || a.watch.passesOver(d.ref.ID(), a.look)
		if d.passed && !d.exempt {
			d.was = a.watch.lineOf(d.ref.ID())
		}
		all = append(all, d)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(sideBySide)
	for _, d := range all {
		if !d.passed {
			g.Go(func() error { return a.compareOne(ctx, d) })
		}
	}
	return all, g.Wait()
}

func (a *attempt) locate(ctx context.Context, o *unstructured.Unstructured) (*compared, error) {
	client := a.runner.Cluster.Apply()
	m, err := client.Mapper().For(ctx, o.GroupVersionKind())
	if err != nil {
		return nil, a.unserved(apply.RefOf(o), err)
	}
	release.Own(o, a.last.Name, a.last.Namespace)
	if kube.IsSecret(o) {
		apply.FoldStringData(o)
	}
	apply.DropAggregatedRules(o)
	d := &compared{wanted: o}
	var r dynamic.ResourceInterface = client.Dynamic().Resource(m.Resource)
	if m.Namespaced {
		if d.wanted.GetNamespace() == "" {
			d.wanted.SetNamespace(a.runner.Namespace)
		}
		r = client.Dynamic().Resource(m.Resource).Namespace(d.wanted.GetNamespace())
	} else {
		d.wanted.SetNamespace("")
	}
	d.ref, d.resource = apply.RefOf(d.wanted), r
	return d, nil
}

// disabled tells whether an object is to be left alone.
func disabled(o *unstructured.Unstructured) bool {
	return o != nil && (strings.EqualFold(o.GetLabels()[helmv2.DriftDetectionAnnotation], "disabled") ||
		strings.EqualFold(o.GetAnnotations()[helmv2.DriftDetectionAnnotation], "disabled"))
}

func (a *attempt) compareOne(ctx context.Context, d *compared) error {
	live, err := d.resource.Get(ctx, d.ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", d.ref.Subject(), err)
	}
	d.live = live
	if d.excluded = disabled(live); d.excluded {
		return nil
	}
	d.dry, err = d.resource.Apply(ctx, d.ref.Name, d.wanted, metav1.ApplyOptions{FieldManager: kube.FieldManager, Force: true, DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return fmt.Errorf("ask what an apply of %s would change: %w", d.ref.Subject(), redacted(d.ref, err))
	}
	d.diff = difference(content(live, d.paths), content(d.dry, d.paths))
	return nil
}

// unserved adds to an error what to do about a kind whose definition is gone.
func (a *attempt) unserved(ref apply.Ref, err error) error {
	if !apimeta.IsNoMatchError(err) && !(apierrors.IsNotFound(err) && strings.Contains(err.Error(), "the server could not find the requested resource")) {
		return err
	}
	return fmt.Errorf("%w: the definition of the kind %s in %s is gone; bring it back, or let an upgrade apply those of the chart: flux reconcile helmrelease %s -n %s --force",
		err, ref.Kind, ref.Group, a.hr.Name, a.hr.Namespace)
}

// redacted drops the server's words where they may quote a Secret.
func redacted(ref apply.Ref, err error) error {
	if ref.Kind == "Secret" && ref.Group == "" && apierrors.IsInvalid(err) {
		return errors.New("the server refuses it as invalid; its words are not shown, because they may quote the content")
	}
	return err
}

// correct puts back what has drifted: first what is gone, then what was changed. One object that resists does not stop
// the others.
func (a *attempt) correct(ctx context.Context, all, drifted []*compared) *kernel.Outcome {
	message := "correcting cluster drift"
	a.req.Progress(kernel.Progress{Message: fmt.Sprintf("Running 'correct cluster drift' action with timeout of %s", a.hr.GetTimeout()), Ready: message})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.hr.GetTimeout())
	defer cancel()
	slices.SortStableFunc(drifted, func(x, y *compared) int { return boolInt(x.live != nil) - boolInt(y.live != nil) })
	var done, failed []string
	for _, d := range drifted {
		word := "configured"
		if d.live == nil {
			word = "created"
		}
		if err := a.correctOne(ctx, d); err != nil {
			failed = append(failed, fmt.Sprintf("%s: %s", d.ref.Subject(), redacted(d.ref, a.unserved(d.ref, err))))
			continue
		}
		done = append(done, d.ref.Subject()+" "+word)
		if back := a.watch.explain(d); back != "" {
			done = append(done, "  put back: "+back)
		}
	}
	name := release.FullName(a.hr.Status.History.Latest())
	if len(failed) == 0 {
		a.req.Event(kernel.Normal(driftCorrected, fmt.Sprintf("Cluster state of release %s has been corrected:\n%s", name, strings.Join(done, "\n")), a.metadata()))
		a.watch.settle(a, all)
		a.inStep()
		return nil
	}
	partly := ""
	if len(done) > 0 {
		partly = "partially "
	}
	text := fmt.Sprintf("Failed to %scorrect cluster state of release %s:\n%s", partly, name, strings.Join(failed, "\n"))
	if len(done) > 0 {
		text += "\n\nSuccessful corrections:\n" + strings.Join(done, "\n")
	}
	a.req.Event(kernel.Warning(driftCorrectionFailed, text, a.metadata()))
	return stop(kernel.Failed(driftCorrectionFailed, errors.New(text)).WithoutEvent().Backoff())
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// correctOne applies an object on the server, or patches it where the release was made from the client's side.
func (a *attempt) correctOne(ctx context.Context, d *compared) error {
	var answer *unstructured.Unstructured
	var err error
	if d.live == nil || a.last.ApplyMethod == string(helm.ApplyMethodServerSideApply) {
		wanted := d.wanted
		if len(d.paths) > 0 && d.live != nil {
			wanted = withLive(d.wanted, d)
		}
		answer, err = d.resource.Apply(ctx, d.ref.Name, wanted, metav1.ApplyOptions{FieldManager: kube.FieldManager, Force: true})
	} else {
		var patch []byte
		if patch, err = mergePatch(d); err == nil {
			answer, err = d.resource.Patch(ctx, d.ref.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.FieldManager})
		}
	}
	if err != nil {
		return err
	}
	d.live, d.corrected = answer, true
	return nil
}
