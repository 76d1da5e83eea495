package kernel

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
)

// state is what the process remembers of one object between passes. Passes over one object
// never overlap; its job may run beside them, so mu guards all fields.
type state struct {
	mu      sync.Mutex
	uid     types.UID
	trigger Trigger
	// due is when the next scheduled pass is to come; zero: any pass counts as scheduled.
	due time.Time
	// interval is how often the object asks to be looked at, after a failure.
	interval time.Duration
	memory   any
	job      *run
	result   *JobResult
	attempt  *attempt
	// written is our last write until the cache has caught up with it.
	written meta.Object
	// rewound says that the API server was set back: what is remembered is of another time.
	rewound bool
	// writing serialises our writes to the object's status.
	writing sync.Mutex
}

// run is a job under way or waiting for a slot.
type run struct {
	// key is generation and jobKey in one, jobKey what the kind called it.
	key        string
	jobKey     string
	generation int64
	requested  string
	finalizing bool
	started    time.Time
	cancel     context.CancelCauseFunc
	superseded bool
	// void is a job of another time: what it says it did is not so any more.
	void bool
	// begun is when the job got its turn, nil: not yet.
	begun atomic.Pointer[time.Time]
	// outdated says that a referent changed after the job may have read it.
	outdated bool
}

// attempt spans the passes and jobs from the first pass to the verdict.
type attempt struct {
	started time.Time
	// requested is the value of the request annotation that the verdict will answer.
	requested string
	trigger   Trigger
	// before is Ready as it was when the attempt began, nil when it was not there.
	before   *metav1.Condition
	progress *Progress
	// flushed is when progress was last written, zero: not yet; flushes how often by the clock.
	flushed time.Time
	flushes int
	timer   *time.Timer
	closed  bool
}

// states holds the state of every object of a kind.
type states struct {
	mu sync.Mutex
	m  map[types.NamespacedName]*state
}

func (s *states) get(name types.NamespacedName) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[types.NamespacedName]*state{}
	}
	st := s.m[name]
	if st == nil {
		st = &state{trigger: TriggerNew}
		s.m[name] = st
	}
	return st
}

// schedule is how long the object may wait for its next attempt.
func (st *state) schedule() time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.interval
}

// seen tells that the cache holds this version of an object: our copy of an older or the same
// one is not needed any more.
func (s *states) seen(name types.NamespacedName, cached meta.Object) {
	s.mu.Lock()
	st := s.m[name]
	s.mu.Unlock()
	if st == nil {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.written != nil && !newer(st.written.GetResourceVersion(), cached.GetResourceVersion()) {
		st.written = nil
	}
}

// rewind forgets our last write, which the API server does not have any more; the next pass begins
// with nothing remembered.
func (s *states) rewind(name types.NamespacedName) {
	st := s.get(name)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.written, st.rewound = nil, true
}

// drop forgets the object; a job of its is cancelled.
func (s *states) drop(name types.NamespacedName) {
	s.mu.Lock()
	st := s.m[name]
	delete(s.m, name)
	s.mu.Unlock()
	if st == nil {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.supersede()
	st.closeAttempt()
}

// supersede cancels the running job, if any. The caller holds mu.
func (st *state) supersede() {
	if st.job != nil && !st.job.superseded {
		st.job.superseded = true
		st.job.cancel(ErrSuperseded)
	}
}

// outdate notes that a referent changed while the object's job ran, or after it: the verdict that rests on its
// result is followed by another look. The caller holds mu.
func (st *state) outdate(ended *JobResult) {
	if st.job != nil && st.job.begun.Load() != nil { // one that waits for its turn has read nothing yet
		st.job.outdated = true
	}
	if ended != nil {
		ended.outdated = true
	}
}

// closeAttempt ends the attempt: no progress is written from now on. The caller holds mu.
func (st *state) closeAttempt() {
	if st.attempt == nil {
		return
	}
	st.attempt.closed = true
	if st.attempt.timer != nil {
		st.attempt.timer.Stop()
	}
	st.attempt = nil
}

// reset starts anew for another object of the same name. The caller holds mu.
func (st *state) reset(uid types.UID) {
	st.supersede()
	st.closeAttempt()
	st.uid, st.due, st.memory, st.result, st.written = uid, time.Time{}, nil, nil, nil
	st.trigger |= TriggerNew
	if st.rewound && st.job != nil {
		st.job.void = true
	}
	st.rewound = false
}
