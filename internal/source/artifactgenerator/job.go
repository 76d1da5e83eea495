package artifactgenerator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// job is one attempt behind the pass.
type job struct {
	*controller
	req      *request
	obj      *extensionsv1.ArtifactGenerator
	sources  []source
	observed string

	published map[string]*sourcev1.ExternalArtifact // in the cluster, by name
	temps     []string
}

// made is what a job came to, as far as it got.
type made struct {
	// drifted says that something was built; otherwise all is as it was.
	drifted   bool
	inventory []extensionsv1.ExternalArtifactReference
	events    []kernel.Event
	// changed are the lines of the event about new content.
	changed []string
}

// run is the job. The value is always a *made, the error a *failure.
func (j *job) run(ctx context.Context) (any, error) {
	out := &made{inventory: slices.Clone(j.obj.Status.Inventory)}
	defer j.clean()
	if err := j.load(ctx); err != nil {
		return out, failed(reasonReconciliationFailed, fmt.Errorf("list the ExternalArtifacts of this generator: %w", err))
	}
	if !j.drifted(ctx) {
		return out, nil
	}
	out.drifted = true
	j.req.Progress(kernel.Progress{Message: inProgress})
	trees, err := j.fetch(ctx)
	defer release(trees)
	if err != nil {
		return out, j.unready(fmt.Errorf("fetch sources failed: %w", err))
	}
	outputs, err := expand(j.obj.Spec, views(trees))
	if err != nil {
		return out, stalled(reasonBuildFailed, fmt.Errorf("failed to expand path pattern: %w", err))
	}
	if f := j.produce(ctx, outputs, trees, out); f != nil {
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), kernel.ErrSuperseded) {
			return out, context.Cause(ctx)
		}
		return out, f
	}
	return out, j.retire(ctx, outputs, out)
}

// clean removes what was extracted.
func (j *job) clean() {
	for _, dir := range j.temps {
		if err := os.RemoveAll(dir); err != nil {
			j.req.Log.Error(err, "a temporary directory could not be removed", "directory", dir)
		}
	}
}

func (j *job) temp() (string, error) {
	dir, err := os.MkdirTemp(j.TempDir, "artifactgenerator-")
	if err == nil {
		j.temps = append(j.temps, dir)
	}
	return dir, err
}

// load reads what the generator has published, from the cache.
func (j *job) load(ctx context.Context) error {
	list := &sourcev1.ExternalArtifactList{}
	err := j.m.Client().List(ctx, list, client.InNamespace(j.obj.Namespace), client.MatchingLabels{extensionsv1.GeneratorLabel: string(j.obj.UID)})
	j.published = map[string]*sourcev1.ExternalArtifact{}
	for i := range list.Items {
		j.published[list.Items[i].Name] = &list.Items[i]
	}
	return err
}

// drifted tells whether there is anything to do, before any download.
func (j *job) drifted(ctx context.Context) bool {
	ready := j.obj.Status.Conditions.Get(meta.ReadyCondition)
	switch {
	case ready == nil, ready.Status != "True", ready.ObservedGeneration != j.obj.Generation:
		return true
	case j.observed != j.obj.Status.ObservedSourcesDigest:
		return true
	case j.obj.Spec.PathPattern == "" && len(j.obj.Spec.OutputArtifacts) != len(j.obj.Status.Inventory):
		return true
	case len(j.published) != len(j.obj.Status.Inventory):
		return true
	}
	for _, entry := range j.obj.Status.Inventory {
		ea := j.published[entry.Name]
		if ea == nil || ea.Status.Artifact == nil || ea.Status.Artifact.Digest != entry.Digest {
			return true
		}
		ref, err := j.Artifacts.Check(ctx, artifact.RefOf(ea.Status.Artifact))
		if err != nil || ref.URL != ea.Status.Artifact.URL {
			return true
		}
	}
	return false
}

// fetch unpacks the artifacts of all sources.
func (j *job) fetch(ctx context.Context) (map[string]*cache.Tree, error) {
	trees := map[string]*cache.Tree{}
	for _, s := range j.sources {
		tree, err := j.Unpacked.Acquire(ctx, artifact.RefOf(s.artifact))
		if err != nil {
			return trees, fmt.Errorf("source '%s': %w", s.ref, err)
		}
		trees[s.alias] = tree
	}
	return trees, nil
}

func release(trees map[string]*cache.Tree) {
	for _, t := range trees {
		t.Release()
	}
}

func views(trees map[string]*cache.Tree) map[string]tree {
	out := map[string]tree{}
	for alias, t := range trees {
		out[alias] = t
	}
	return out
}

// produce makes and publishes the artifacts in their order; those before one that fails are published.
func (j *job) produce(ctx context.Context, outputs []output, trees map[string]*cache.Tree, out *made) *failure {
	for _, o := range outputs {
		all, err := compose(ctx, o.OutputArtifact, trees, j.temp)
		if err != nil {
			return failed(reasonBuildFailed, fmt.Errorf("%s build failed: %w", o.Name, err))
		}
		list, content, err := pruned(all)
		if err != nil {
			return failed(reasonBuildFailed, fmt.Errorf("%s build failed: %w", o.Name, err))
		}
		ref, f := j.store(ctx, o, list, content)
		if f != nil {
			return f
		}
		if err := j.publish(ctx, o, ref, out); err != nil {
			return failed(reasonReconciliationFailed, fmt.Errorf("%s reconcile failed: %w", o.Name, err))
		}
	}
	return nil
}
