package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

const (
	glance = 300 * time.Millisecond
	// quiet is how long nothing may move before what still fails is tried again, or the run is over.
	quiet = 2 * time.Second
)

// run follows a cluster until nothing moves any more.
type run struct {
	client  *cluster.Client
	double  *double
	missing map[string]string
	local   func(*state) bool

	began time.Time
	// ended is when an object was first seen in the phase in which it stayed.
	ended map[kinds.Ref]moment
	// tried is what the world looked like when an object was tried last.
	tried map[kinds.Ref]string
}

type moment struct {
	phase phase
	at    time.Duration
}

// follow returns the last look at all objects: when nothing moves and all that fails was tried in this
// very world, or when the time is up.
func (r *run) follow(ctx context.Context) ([]*state, error) {
	r.began, r.ended, r.tried = time.Now(), map[kinds.Ref]moment{}, map[kinds.Ref]string{}
	var last []*state
	print, since := "", time.Now()
	for {
		all, err := look(ctx, r.client)
		if err == nil {
			err = r.double.cloud(ctx)
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
			return last, nil
		case err != nil:
			return nil, err
		}
		last = all
		moving := r.note(all)
		if now := fingerprint(all); moving || now != print {
			print, since = now, time.Now()
		} else if time.Since(since) >= quiet {
			again, err := r.again(ctx, all, print)
			if err != nil {
				return nil, err
			}
			if !again {
				return all, nil
			}
			since = time.Now()
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return last, nil
			}
			return nil, ctx.Err()
		case <-time.After(glance):
		}
	}
}

// note remembers when objects came to where they are, and tells whether any is still at work.
func (r *run) note(all []*state) (moving bool) {
	states, world := byRef(all), fingerprint(all)
	for _, s := range all {
		if r.ended[s.ref].phase != s.phase || r.ended[s.ref].at == 0 {
			r.ended[s.ref] = moment{s.phase, time.Since(r.began)}
			if s.slow() {
				r.tried[s.ref] = world
			}
		}
		if _, homeless := r.missing[s.ref.Kind]; s.phase == working && !homeless && !s.held(states) {
			moving = true
		}
	}
	return moving || len(all) == 0
}

// slow are failures that took their time and would again: they are worth it only in a changed world.
func (s *state) slow() bool {
	return (s.phase == failing || s.phase == stalled) && (s.reason == "HealthCheckFailed" || s.kind == kinds.HelmRelease)
}

// again makes stand-ins for what is missing, and asks for another try of what fails, unless the world is
// still what it was at the last one. Told is whether anything was asked for.
func (r *run) again(ctx context.Context, all []*state, world string) (bool, error) {
	stoodIn, err := r.double.secrets(ctx, all)
	if err != nil {
		return false, err
	}
	asked := false
	for _, s := range all {
		if !r.worth(s) || !stoodIn && r.tried[s.ref] == world {
			continue
		}
		r.tried[s.ref] = world
		if err := r.request(ctx, s); err != nil && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("ask for a reconciliation of %s: %w", s.ref, err)
		}
		asked = true
	}
	return asked, nil
}

// worth tells whether another try could help.
func (r *run) worth(s *state) bool {
	switch s.phase {
	case failing, waiting:
		return !fetches(s.kind) || r.local(s) || s.ref.Kind == kinds.HelmChart.Kind
	case stalled:
		return s.reason == "RetriesExceeded"
	}
	return false
}

func (r *run) request(ctx context.Context, s *state) error {
	token := time.Now().Format(time.RFC3339Nano)
	annotations := map[string]string{meta.ReconcileRequestAnnotation: token}
	if _, ok := s.obj.(*helmv2.HelmRelease); ok {
		annotations[meta.ResetRequestAnnotation] = token
	}
	patch := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	return r.client.MergePatch(ctx, s.kind.Resource, s.ref.Namespace, s.ref.Name, patch, nil)
}

// report gives the verdict on every object.
func (r *run) report(t *tree, cluster string, all []*state) []Outcome {
	j := newJury(all, r.missing, r.local)
	var out []Outcome
	for _, s := range all {
		v := j.decide(s)
		o := Outcome{
			Kind: s.ref.Kind, Namespace: s.ref.Namespace, Name: s.ref.Name, Verdict: v.verdict, Message: v.message,
			File: t.at(s.ref, cluster), Applied: s.applied, Seconds: r.ended[s.ref].at.Seconds(),
		}
		if s.phase != ready && s.phase != asleep {
			o.Reason = s.reason
		}
		if ks := s.path(); ks != "" {
			o.Path = ks
		}
		out = append(out, o)
	}
	slices.SortStableFunc(out, func(a, b Outcome) int { return order(a.Verdict) - order(b.Verdict) })
	return out
}

func order(v Verdict) int { return slices.Index([]Verdict{Failed, Skipped, Passed}, v) }
