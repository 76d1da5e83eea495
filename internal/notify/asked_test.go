package notify

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/push"
)

// A push asks an object once, however many Receivers hear of it, and the next push asks again.
func TestAsked(t *testing.T) {
	t.Parallel()
	commit := func(after string) *push.Push {
		return &push.Push{Repositories: []string{"https://h/r"}, Refs: []string{"refs/heads/main"}, Revision: after}
	}
	tag := &push.Push{Repositories: []string{"quay.io/o/a"}, Refs: []string{"latest"}}
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		for i, step := range []struct {
			reason   string
			push     *push.Push
			receiver string
			want     bool
			later    time.Duration
		}{
			{"a push", commit("1"), "a", true, 0},
			{"through another Receiver", commit("1"), "b", false, 0},
			{"delivered twice", commit("1"), "a", false, 0},
			{"the next push", commit("2"), "a", true, 0},
			{"a push to a tag", tag, "a", true, 0},
			{"through another Receiver, without a digest", tag, "b", false, 0},
			{"the next push to the tag", tag, "a", true, 0},
			{"and that through another Receiver", tag, "b", false, 0},
			{"what is no push", nil, "a", true, 0},
			{"what is no push, again", nil, "a", true, 0},
			{"long after", commit("2"), "a", true, askedFor + time.Second},
		} {
			time.Sleep(step.later)
			if got := a.first("GitRepository/ns/x", step.push, types.UID(step.receiver)); got != step.want {
				t.Errorf("%d, %s: %v", i, step.reason, got)
			}
		}
		if !a.first("GitRepository/ns/y", commit("2"), "a") {
			t.Error("another object is not asked")
		}
		a.again("GitRepository/ns/y", commit("2"))
		if !a.first("GitRepository/ns/y", commit("2"), "b") {
			t.Error("an object that could not be asked is not asked again")
		}
		time.Sleep(time.Minute)
		a.first("GitRepository/ns/z", commit("3"), "a")
		if len(a.told) != 1 {
			t.Errorf("%d pushes are remembered", len(a.told))
		}
	})
}

// Calls about the references of one push are one request; what comes after it was made is another.
func TestSettling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSettling(settleFor)
		var calls atomic.Int32
		ask := func(context.Context) error {
			if calls.Add(1) == 2 {
				return errors.New("forbidden")
			}
			return nil
		}
		round := func() (failed int32) {
			var all sync.WaitGroup
			var errs atomic.Int32
			for i := range 5 {
				all.Go(func() {
					time.Sleep(time.Duration(i) * 50 * time.Millisecond)
					if s.do(t.Context(), "x", ask) != nil {
						errs.Add(1)
					}
				})
			}
			all.Wait()
			return errs.Load()
		}
		if failed := round(); failed != 0 || calls.Load() != 1 {
			t.Errorf("%d calls, %d failed", calls.Load(), failed)
		}
		if failed := round(); failed != 5 || calls.Load() != 2 {
			t.Errorf("%d calls, %d failed", calls.Load(), failed)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if err := s.do(gone, "x", ask); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that left: %v", err)
		}
		time.Sleep(time.Second)
		if calls.Load() != 3 {
			t.Error("a request goes with its caller")
		}
	})
}
