package helmchart

import (
	"context"
	"fmt"
	"io"
	"path"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// shelf is where the artifacts of a chart stand.
func (c *controller) shelf(obj *sourcev1.HelmChart) attempt.Shelf {
	return attempt.Shelf{Store: c.Artifacts, Kind: "helmchart", Namespace: obj.Namespace, Name: obj.Name, Link: "latest.tar.gz"}
}

// poll is one look at the source, with what follows from it. It is a background job.
type poll struct {
	*controller
	req *request
	obj *sourcev1.HelmChart
	src *source
}

// found is what a poll came to; it is filled as far as the poll got.
type found struct {
	attempt.Found
	// source is the revision of the source that was looked at.
	source string
	// name and version of the chart that is meant, "" if they are not known.
	name, version string
	// packaged says that the chart was packed by us, values which files were merged.
	packaged bool
	values   []string
	verified *verdict
}

// run is the job. The value is always a *found, the error a *attempt.Failure.
func (p *poll) run(ctx context.Context) (any, error) {
	f := &found{Found: attempt.Found{URL: p.obj.Status.URL}, source: p.src.revision()}
	return attempt.Result(ctx, f, p.look(ctx, f))
}

func (p *poll) look(ctx context.Context, f *found) *attempt.Failure {
	fail := p.shelf(p.obj).Check(ctx, p.req, p.obj.Status.Artifact, &f.Found)
	if fail != nil {
		return fail
	}
	switch {
	case p.src.isRegistry():
		fail = p.fromRegistry(ctx, f)
	case p.src.repository != nil:
		fail = p.fromRepository(ctx, f)
	default:
		fail = p.fromArtifact(ctx, f)
	}
	if fail != nil {
		return fail
	}
	return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
}

// current tells whether the artifact is the chart of this version, made as the spec now says: ArtifactInStorage tells of
// which generation the last success was.
func (p *poll) current(f *found) bool {
	return f.Artifact != nil && f.Artifact.Revision == f.version && path.Base(f.Artifact.Path) == fileOf(f.name, f.version) && p.madeNow()
}

func (p *poll) madeNow() bool {
	c := p.obj.Status.Conditions.Get(sourcev1.ArtifactInStorageCondition)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == p.obj.Generation
}

// announce notes which chart is meant, and tells that it is on its way, for the case that it takes long.
func (p *poll) announce(f *found, name, version string) {
	f.name, f.version = name, version
	if a := p.obj.Status.Artifact; a == nil || a.Revision != version || path.Base(a.Path) != fileOf(name, version) {
		f.Outdate(p.req, sourcev1.NewChartReason, fmt.Sprintf("new '%s' chart with version '%s'", name, version))
	}
}

func fileOf(name, version string) string { return name + "-" + version + ".tgz" }

// keep stores the chart.
func (p *poll) keep(ctx context.Context, f *found, data []byte) *attempt.Failure {
	err := p.shelf(p.obj).Put(ctx, fileOf(f.name, f.version), f.version, nil, &f.Found, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return attempt.Unstored("unable to copy Helm chart to storage", err)
	}
	return nil
}
