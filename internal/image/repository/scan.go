package repository

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/gitops-toolkit/flux/api/meta"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/image/access"
	"github.com/gitops-toolkit/flux/internal/image/spec"
	"github.com/gitops-toolkit/flux/internal/image/tags"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// scan is one look at an image, as far as one is due. It is a background job.
type scan struct {
	*controller
	req       *request
	obj       *imagev1.ImageRepository
	canonical string
	exclude   []*regexp.Regexp
}

// found is what a scan came to.
type found struct {
	// list is what is in the database.
	list tags.List
	// due is why the registry was asked, "" if it was not.
	due string
	// next is when the next scan is due.
	next time.Duration
}

// failure is why an attempt came to nothing.
type failure struct {
	reason  string
	err     error
	stalled bool
	// after is the pause that the registry has asked for.
	after time.Duration
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func (f *failure) outcome() kernel.Outcome {
	if f.stalled {
		return kernel.Stalled(f.reason, f.err)
	}
	return kernel.Failed(f.reason, f.err).RetryAfter(f.after).Backoff()
}

// newScan checks what no repetition would mend.
func (c *controller) newScan(req *request) (*scan, *failure) {
	obj := req.Object
	s := &scan{controller: c, req: req, obj: obj}
	var err error
	if s.canonical, err = spec.CheckImage(obj.Spec.Image); err != nil {
		return nil, &failure{reason: imagev1.ImageURLInvalidReason, err: err, stalled: true}
	}
	if err := obj.Spec.Interval.Err(); err != nil {
		return nil, &failure{reason: imagev1.FailureReason, err: fmt.Errorf("spec.interval: %w", err), stalled: true}
	}
	if err := obj.Spec.Timeout.Err(); err != nil {
		return nil, &failure{reason: imagev1.FailureReason, err: fmt.Errorf("spec.timeout: %w", err), stalled: true}
	}
	for i, pattern := range obj.Spec.ExclusionList {
		expression, err := regexp.Compile(pattern)
		if err != nil {
			return nil, &failure{reason: imagev1.FailureReason, stalled: true,
				err: fmt.Errorf("failed to compile regex '%s': %w; correct spec.exclusionList[%d]", pattern, err, i)}
		}
		s.exclude = append(s.exclude, expression)
	}
	return s, nil
}

// run is the job. The value is a *found, the error a *failure.
func (s *scan) run(ctx context.Context) (any, error) {
	f, fail := s.look(ctx)
	if fail == nil {
		return f, nil
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), kernel.ErrSuperseded) {
		return nil, context.Cause(ctx)
	}
	return nil, fail
}

func (s *scan) look(ctx context.Context) (*found, *failure) {
	list, err := s.Tags.Get(keyOf(s.obj))
	if err != nil && !errors.Is(err, tags.ErrNone) {
		return nil, &failure{reason: imagev1.FailureReason, err: fmt.Errorf("failed to determine if it's scan time: %w", err)}
	}
	why, next := due(s.obj, s.req.Requested() != "", s.canonical, list, err == nil, time.Now())
	if why == "" {
		return &found{list: list, next: next}, nil
	}
	progress := kernel.Progress{Message: "scanning: " + why}
	if why == dueNoTags {
		progress.Ready = progress.Message
	}
	s.req.Progress(progress)
	repo, err := s.Registries.Open(ctx, s.obj)
	if err != nil {
		return nil, opening(err)
	}
	names, err := s.list(ctx, repo)
	if err != nil {
		s.Registries.Forget(keyOf(s.obj))
		f := &failure{reason: imagev1.ReadOperationFailedReason, err: fmt.Errorf("scan failed: %w", access.Explain(s.obj, err)), after: access.Throttled(err)}
		if errors.Is(err, registry.ErrPlain) {
			f.reason = imagev1.AuthenticationFailedReason
		}
		return nil, f
	}
	if list, err = s.Tags.Put(keyOf(s.obj), names, time.Now()); err != nil {
		return nil, &failure{reason: imagev1.ReadOperationFailedReason, err: fmt.Errorf("scan failed: %w", err)}
	}
	return &found{list: list, due: why, next: s.obj.GetInterval()}, nil
}

// opening is the failure of what comes before the first request to the registry.
func opening(err error) *failure {
	var gate *kernel.GateDisabledError
	switch {
	case errors.As(err, &gate):
		return &failure{reason: kernel.FeatureGateDisabledReason, err: err, stalled: true}
	case errors.Is(err, spec.ErrImage):
		return &failure{reason: imagev1.ImageURLInvalidReason, err: err, stalled: true}
	}
	return &failure{reason: imagev1.AuthenticationFailedReason, err: fmt.Errorf("failed to configure authentication options: %w", err)}
}

// list asks the registry for all tags but the excluded ones.
func (s *scan) list(ctx context.Context, repo *registry.Repository) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.obj.GetTimeout())
	defer cancel()
	names := []string{}
	err := repo.Tags(ctx, func(tag string) {
		for _, x := range s.exclude {
			if x.MatchString(tag) {
				return
			}
		}
		names = append(names, tag)
	})
	return names, err
}

// latest is how many tags the status shows.
const latest = 10

// conclude turns the result of the job into status and events.
func (s *scan) conclude() kernel.Outcome {
	if err := s.req.Job.Err; err != nil {
		var fail *failure
		if errors.As(err, &fail) {
			return fail.outcome()
		}
		return kernel.Failed(imagev1.FailureReason, err).Backoff() // A panic of the job.
	}
	f := s.req.Job.Value.(*found)
	before := s.obj.Status.LastScanResult
	s.observe(f)
	message := fmt.Sprintf("successful scan: found %d tags with checksum %s", len(f.list.Tags), f.list.Revision)
	o := kernel.Done(meta.SucceededReason, message).RetryAfter(max(f.next, time.Millisecond))
	switch {
	case f.due == "":
		told := fmt.Sprintf("no change in repository configuration since last scan, next scan in %s", f.next)
		return o.WithLog(told).WithEvents(onChange(told))
	case before != nil && before.Revision == f.list.Revision && before.TagCount == len(f.list.Tags) && ready(s.obj, message):
		told := fmt.Sprintf("tags did not change, next scan in %s", f.next)
		return o.WithLog(told).WithEvents(onChange(told))
	}
	return o.WithLog(fmt.Sprintf("successful scan, next scan in %s", f.next)).WithEvents(kernel.Normal(meta.SucceededReason, message, nil))
}

// onChange is a line for who asked, or for whom PeriodicEvents sends.
func onChange(message string) kernel.Event {
	e := kernel.Trace(meta.SucceededReason, message, nil)
	e.OnChange = true
	return e
}

func ready(o *imagev1.ImageRepository, message string) bool {
	c := o.Status.Conditions.Get(meta.ReadyCondition)
	return c != nil && c.Status == "True" && c.Message == message
}

// observe records a scan. One that found what the status says already leaves it alone, but for somebody who asked.
func (s *scan) observe(f *found) {
	st := &s.obj.Status
	if f.due == "" {
		return
	}
	old := st.LastScanResult
	st.CanonicalImageName = s.canonical
	st.ObservedExclusionList = s.obj.Spec.ExclusionList
	now := &imagev1.ScanResult{Revision: f.list.Revision, TagCount: len(f.list.Tags)}
	at := meta.NewTime(f.list.Scanned)
	now.ScanTime = &at
	if len(f.list.Tags) > 0 {
		now.LatestTags = f.list.Tags[:min(latest, len(f.list.Tags))]
	}
	if old != nil && old.Revision == now.Revision && old.TagCount == now.TagCount && f.due == dueInterval {
		now.ScanTime = old.ScanTime
	}
	st.LastScanResult = now
}
