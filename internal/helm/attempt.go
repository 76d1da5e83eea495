package helm

import (
	"context"
	"errors"
	"fmt"
	"time"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	helm "helm.sh/helm/v4/pkg/release/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/charts"
	"github.com/gitops-toolkit/flux/internal/helm/store"
	"github.com/gitops-toolkit/flux/internal/helm/values"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// attempt is one go at bringing a release to what is wanted. It runs beside passes over the same object, so it works on
// a copy of the object, whose status is the result.
type attempt struct {
	c   *controller
	req *request
	t   *target
	// hr is the copy: the conditions of our own and all but the kernel's part of the status are written here.
	hr *helmv2.HelmRelease

	// chart is what is to be released; it is loaded when it is needed. version and ociDigest identify it.
	chart     *chart.Chart
	chartName string
	version   string
	ociDigest string
	values    map[string]any
	config    artifact.Digest

	runner *action.Runner
	log    *action.Log
	// had are the steps that were taken, force that an install or upgrade was asked for.
	had   map[step]bool
	force bool
	// wrote says that the action at hand wrote to Helm's storage, acting is its name.
	wrote  bool
	acting string
	// last is the newest revision in storage, unreadable that a newer one cannot be read.
	last       *helm.Release
	revisions  []*helm.Release
	unreadable bool
	// looked says that drift was looked for, look how closely it is to be; watch follows the objects between attempts.
	looked bool
	look   look
	watch  *watching
}

// ended is what an attempt came to.
type ended struct {
	target  *target
	status  helmv2.HelmReleaseStatus
	outcome kernel.Outcome
	// storage are the resourceVersions of Helm's Secrets.
	storage map[string]string
	// settled says that the release is what is wanted.
	settled bool
}

// fulfilling is what an attempt says of itself before it acts.
const fulfilling = "Fulfilling prerequisites"

// attempt returns the function of the job.
func (c *controller) attempt(req *request, t *target, mem *memory) func(context.Context) (any, error) {
	status, watch, closely, storage := req.Object.Status.DeepCopy(), mem.watch, c.howClosely(req, t, mem), mem.storage
	return func(ctx context.Context) (any, error) {
		a := &attempt{c: c, req: req, t: t, hr: t.object.DeepCopy(), had: map[step]bool{}, log: &action.Log{}, watch: watch, look: closely}
		a.hr.Status = *status
		a.log.Also = func(message string, attrs map[string]any) { req.Log.V(1).Info(message, "helm", attrs) }
		defer watch.begin()()
		outcome := a.run(ctx)
		done := &ended{target: t, status: a.hr.Status, outcome: outcome, settled: outcome.Verdict == kernel.VerdictDone, storage: storage}
		if a.revisions != nil {
			done.storage = a.runner.Storage.Versions()
		}
		if ctx.Err() != nil {
			a.saveAtStop(ctx)
		}
		return done, nil
	}
}

// stopGrace is how long the status may still be written when the process stops.
const stopGrace = 5 * time.Second

// saveAtStop writes what the attempt did, because no pass will: the process ends, or a newer desire took over.
func (a *attempt) saveAtStop(ctx context.Context) {
	if errors.Is(context.Cause(ctx), kernel.ErrSuperseded) {
		return // the next pass takes it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if err := a.checkpoint(ctx); err != nil {
		a.req.Log.Info("the status was not written at stop", "cause", err.Error())
	}
}

// checkpoint writes the status ahead of the verdict.
func (a *attempt) checkpoint(ctx context.Context) error {
	return a.req.Checkpoint(ctx, func(hr *helmv2.HelmRelease) {
		conditions := hr.Status.Conditions
		observed, handled := hr.Status.ObservedGeneration, hr.Status.LastHandledReconcileAt
		hr.Status = *a.hr.Status.DeepCopy()
		hr.Status.Conditions, hr.Status.ObservedGeneration, hr.Status.LastHandledReconcileAt = conditions, observed, handled
	})
}

// run prepares the attempt and goes round until it is over.
func (a *attempt) run(ctx context.Context) kernel.Outcome {
	a.req.Progress(kernel.Progress{Message: fulfilling})
	if a.look != lookAll {
		if outcome := a.lookAgain(ctx); outcome != nil {
			return *outcome
		}
		a.look = lookAll
	}
	for _, prepare := range []func(context.Context) *kernel.Outcome{a.readValues, a.identifyChart, a.connect} {
		if stopped := prepare(ctx); stopped != nil {
			return *stopped
		}
	}
	a.readTokens()
	a.resetCounters()
	if stopped := a.moveTarget(ctx); stopped != nil {
		return *stopped
	}
	a.noteAttempt()
	for round := 0; round < maxRounds; round++ {
		if err := a.observe(ctx); err != nil {
			next := a.advice(ctx, err)
			return kernel.Failed("StateError", fmt.Errorf("could not determine release state: %w%s", err, next)).WithMessage(
				"Could not determine release state: " + err.Error() + next).Backoff()
		}
		next, why := decide(a.facts(ctx))
		a.req.Log.V(1).Info("next step", "step", string(next), "because", why)
		if outcome := a.take(ctx, next, why); outcome != nil {
			return *outcome
		}
		a.had[next] = true
	}
	return kernel.Failed("ReconcileError", errors.New("the release did not come to rest; this is a mistake of the controller")).Backoff()
}

// maxRounds is more than the steps that there are: each is taken once at most.
const maxRounds = 16

func (a *attempt) readValues(ctx context.Context) *kernel.Outcome {
	merged, err := a.c.valuesFor(ctx, a.hr, func(ref values.Reference) {
		a.req.Log.Info("optional values reference is not there", "kind", ref.Kind, "object", ref.Name, "key", ref.Key)
	})
	if err == nil {
		a.values = merged
		a.config, err = values.Digest(a.c.DigestAlgorithm, merged)
	}
	if err != nil {
		return stop(kernel.Failed("ValuesError", err).Backoff())
	}
	return nil
}

// identifyChart tells name and version of the chart, from the status where the artifact is known, else by loading it.
func (a *attempt) identifyChart(ctx context.Context) *kernel.Outcome {
	latest := a.hr.Status.History.Latest()
	track := !a.c.m.Gate(GateDisableChartDigestTracking)
	if latest != nil && a.t.marked && track && latest.OCIDigest != "" && latest.OCIDigest == digestOf(a.t.ref.Revision) &&
		latest.ChartVersion == a.hr.Status.LastAttemptedRevision && a.hr.Status.LastAttemptedRevisionDigest == latest.OCIDigest {
		a.chartName, a.version, a.ociDigest = latest.ChartName, latest.ChartVersion, latest.OCIDigest
		return nil
	}
	return a.loadChart(ctx)
}

// loadChart loads the chart unless that is done.
func (a *attempt) loadChart(ctx context.Context) *kernel.Outcome {
	if a.chart != nil {
		return nil
	}
	loaded, err := a.c.Charts.Load(ctx, a.t.ref)
	var broken *charts.ParseError
	switch {
	case errors.Is(err, fetch.ErrNotFound):
		after := a.c.m.Settings().RequeueDependency
		message := fmt.Sprintf("Source not ready: artifact not found. Retrying in %s", after)
		return stop(kernel.Waiting(meta.ArtifactFailedReason, message, after))
	case err != nil:
		o := kernel.Failed(meta.ArtifactFailedReason, fmt.Errorf("could not load chart: %w", err)).WithMessage("Could not load chart: " + err.Error())
		if errors.As(err, &broken) {
			return stop(o) // only another artifact helps; it wakes us
		}
		return stop(o.Backoff())
	}
	if a.t.marked {
		digest, err := charts.SetVersion(loaded, a.t.ref.Revision, !a.c.m.Gate(GateDisableChartDigestTracking))
		if err != nil {
			return stop(kernel.Failed("ChartMutateError", err))
		}
		a.ociDigest = digest
	}
	a.chart, a.chartName, a.version = loaded, loaded.Metadata.Name, loaded.Metadata.Version
	return nil
}

// connect reaches the cluster and Helm's storage there.
func (a *attempt) connect(ctx context.Context) *kernel.Outcome {
	cluster, err := a.c.clusterFor(ctx, a.hr)
	if err != nil {
		return stop(kernel.Failed("RESTClientError", err).Backoff())
	}
	if p := a.hr.Spec.PersistentClient; p != nil && !*p {
		cluster.Forget()
	}
	a.runner = &action.Runner{
		Defaults: action.Defaults{
			Helm3: a.c.m.Gate(GateUseHelm3Defaults), DNS: a.c.m.Gate(GateAllowDNSLookups), Takeover: a.c.OverrideManagers,
		},
		Object: a.hr, Cluster: cluster, Name: action.ReleaseName(a.hr), Namespace: action.ReleaseNamespace(a.hr),
		Wait: ctx, Exprs: a.t.exprs.Health, Log: a.log,
	}
	if a.hr.Spec.KubeConfig == nil {
		a.runner.Watch = a.c.Health
	}
	a.runner.Storage = store.New(cluster.Core().Secrets(action.StorageNamespace(a.hr)), a.runner.Name, a.record)
	return nil
}
