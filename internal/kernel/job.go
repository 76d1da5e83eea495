package kernel

import (
	"context"
	"errors"
	"time"
)

// ErrSuperseded is the cause (context.Cause) of a job's cancelled context when a newer desire,
// suspend or deletion overtook it. A job that ends because of it has not failed.
var ErrSuperseded = errors.New("superseded by a newer desire")

// ErrJobTimeout is the cause of a job's cancelled context when its own timeout passed.
var ErrJobTimeout = errors.New("timed out")

// Job is blocking work for one object. The pool runs at most one for each object.
type Job struct {
	// Key names the desire that the job serves, for example the source revision. The
	// generation of the spec is part of it by itself; a request by annotation must not be.
	Key string
	// Run does the work. It returns soon after ctx is cancelled, at a point that is safe. The
	// request may be used for Progress, Checkpoint, Event and its readers until Run returns;
	// Request.Object must not be changed. A panic becomes an error.
	Run func(ctx context.Context) (any, error)
	// Timeout limits Run; zero means no limit but those that Run sets itself.
	Timeout time.Duration
	// Lane names whom the job may have to wait for, such as a host. Together with the object's
	// namespace it says which jobs share the pool: those of one lane cannot stop the others.
	Lane string
	// Waits marks a job that hardly does anything but wait, such as for health: it runs beside
	// the bounded pool and takes no slot from those that work.
	Waits bool
}

// JobResult is what an ended job hands to the next Reconcile of its object.
type JobResult struct {
	// Key of the job.
	Key string
	// desire is the key with what the kernel adds to it.
	desire string
	// Generation of the spec for which the job ran.
	Generation int64
	// Requested is the value of the request annotation when the job started.
	Requested string
	// Value and Err are what Run returned; Err is a *PanicError when it panicked.
	Value any
	Err   error
	// Superseded says that the job was cancelled before it ended. What it did before is in Value.
	Superseded bool
	// outdated says that a referent changed after the job may have read it.
	outdated bool
	// Started and Duration of the run.
	Started  time.Time
	Duration time.Duration
}
