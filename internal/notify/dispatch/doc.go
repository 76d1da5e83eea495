// Package dispatch brings events to providers, each at its own pace.
//
// Every provider has a line of its own, so that one that is dead or slow delays no other. A line has
// a few lanes; events of one object share a lane, so they keep their order, and another object's
// event does not wait behind a slow one. Lanes are bounded: a full lane drops its oldest event, whose
// news is the oldest. So are the bytes of a line, and of all lines: then the longest drops. A lane is a
// goroutine only while it has work.
//
// A delivery that failed for a reason that may pass is repeated with back-off, and after that given
// up. While a provider fails, each of the events behind gets one attempt, until one succeeds or a
// minute has passed without any. Items that must arrive are repeated for as long as they are news, and
// those behind them wait.
//
// Items of a group, such as all failures of one revision for one mail, go together: the first of them waits a while
// for the others. The groups of one Alert share a lane, so a recovery never arrives before what it ends.
//
// A stop lets the lanes finish for a while. What is left then, retries included, is written to a
// spool, and enqueued before anything else at the next start: deliveries are at least once.
package dispatch

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// Item is one event on its way to one provider.
type Item struct {
	Provider types.NamespacedName `json:"provider"`
	// Type of the provider, for metrics.
	Type  string               `json:"type"`
	Alert types.NamespacedName `json:"alert"`
	Event *event.Event         `json:"event"`
	// Received is when the event came in.
	Received time.Time `json:"received"`

	bytes int // its size when it was queued
}

// Deliver makes one attempt for one item, or for all those of a group.
type Deliver func(ctx context.Context, items []Item) error

// Group tells which items are gathered, and for how long after the first of them came. Without a
// window an item goes by itself.
type Group func(item Item) (key string, window time.Duration)

// Failed is told of an item that will not be delivered.
type Failed func(item Item, err error)

// Patient tells whether an item must arrive: nothing later says again what it says.
type Patient func(item Item) bool

// ErrOverflow is the fate of the oldest item of a full lane, or line.
var ErrOverflow = errors.New("the queue of the provider is full, its oldest event was dropped")

// ErrExpired is the fate of an item that was never delivered while it was news.
var ErrExpired = errors.New("the provider did not take the event in time")

// Spool keeps items from one process to the next.
type Spool interface {
	// Read takes what is there, in order.
	Read() ([]Item, error)
	// Write replaces it.
	Write(items []Item) error
}

// Retryable is implemented by errors that know whether another attempt may help, and after how long;
// zero means the usual back-off. Other errors are not retried.
type Retryable interface {
	error
	Retry() (after time.Duration, ok bool)
}

// Options of a Dispatcher; zero values take the defaults.
type Options struct {
	// Deliver and Failed are required.
	Deliver Deliver
	Failed  Failed
	// Group gathers items; nil gathers none.
	Group Group
	// Patient items are not given up before MaxAge; nil: none is patient.
	Patient Patient
	// Capacity of a lane, 250 events.
	Capacity int
	// Lanes of a line, 4.
	Lanes int
	// LineBytes wait in a line, 16 MiB; Bytes wait or are on their way in all lines, 128 MiB.
	LineBytes, Bytes int
	// Attempts for one event, 5.
	Attempts int
	// MinWait and MaxWait bound the back-off, 2 s and 30 s.
	MinWait, MaxWait time.Duration
	// MaxPause is the longest that a provider can ask us to wait, 5 min.
	MaxPause time.Duration
	// MaxAge of an event that is still sent, 1 h.
	MaxAge time.Duration
	// Spool keeps what a stop leaves; nil: it is lost.
	Spool Spool
}

func (o Options) withDefaults() Options {
	if o.Group == nil {
		o.Group = func(Item) (string, time.Duration) { return "", 0 }
	}
	if o.Patient == nil {
		o.Patient = func(Item) bool { return false }
	}
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	after := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.Capacity, 250)
	def(&o.Lanes, 4)
	def(&o.LineBytes, 16<<20)
	def(&o.Bytes, 128<<20)
	def(&o.Attempts, 5)
	after(&o.MinWait, 2*time.Second)
	after(&o.MaxWait, 30*time.Second)
	after(&o.MaxPause, 5*time.Minute)
	after(&o.MaxAge, time.Hour)
	return o
}
