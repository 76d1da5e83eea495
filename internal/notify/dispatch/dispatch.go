package dispatch

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Dispatcher has a line of events for each provider.
type Dispatcher struct {
	options Options
	// hard ends attempts; draining ends waits between them.
	hard     context.Context
	cancel   context.CancelFunc
	draining chan struct{}
	working  sync.WaitGroup

	mu      sync.Mutex
	lines   map[types.NamespacedName]*line
	bytes   int // of all lines
	swept   time.Time
	stopped bool
	rest    []Item
}

// line is what one provider has to get.
type line struct {
	lanes []lane
	// bytes of the line wait or are on their way; waiting are those that wait.
	bytes, waiting int
	// failingUntil is how long events have one attempt each; notBefore is when the provider wants to
	// be asked again.
	failingUntil, notBefore time.Time
}

type lane struct {
	items   []Item
	running bool
}

// New returns a dispatcher that works until Stop. What the last one left in the spool comes first.
func New(options Options) (*Dispatcher, error) {
	hard, cancel := context.WithCancel(context.Background())
	d := &Dispatcher{
		options: options.withDefaults(), hard: hard, cancel: cancel,
		draining: make(chan struct{}), lines: map[types.NamespacedName]*line{},
	}
	if d.options.Spool == nil {
		return d, nil
	}
	items, err := d.options.Spool.Read()
	for _, item := range items {
		d.Enqueue(item)
	}
	return d, err
}

// Enqueue puts an item into its provider's line. It never waits.
func (d *Dispatcher) Enqueue(item Item) {
	for _, dropped := range d.enqueue(item) {
		observe(dropped, resultDropped)
		depth(dropped, -1)
		d.options.Failed(dropped, ErrOverflow)
	}
}

func (d *Dispatcher) enqueue(item Item) (dropped []Item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		d.rest = append(d.rest, item)
		return nil
	}
	l := d.lines[item.Provider]
	if l == nil {
		d.sweep()
		l = &line{lanes: make([]lane, d.options.Lanes)}
		d.lines[item.Provider] = l
	}
	ln := &l.lanes[d.laneOf(item)]
	if len(ln.items) >= d.options.Capacity {
		dropped = append(dropped, d.drop(l, ln))
	}
	d.append(l, ln, item)
	dropped = append(dropped, d.makeRoom(l)...)
	depth(item, 1)
	if !ln.running {
		ln.running = true
		d.working.Add(1)
		go d.serve(item.Provider, l, ln)
	}
	return dropped
}

// laneOf keeps what has an order, or belongs together, in one lane. The groups of one Alert have an order too: the end
// of a failure must not overtake its beginning.
func (d *Dispatcher) laneOf(item Item) int {
	name := item.Event.Object()
	if _, window := d.options.Group(item); window > 0 {
		name = item.Alert.String()
	}
	h := fnv.New32a()
	_, _ = io.WriteString(h, name)
	return int(h.Sum32() % uint32(d.options.Lanes))
}

// serve works until its lane is empty.
func (d *Dispatcher) serve(provider types.NamespacedName, l *line, ln *lane) {
	defer d.working.Done()
	for {
		items := d.next(provider, l, ln)
		if len(items) == 0 {
			return
		}
		if key, window := d.options.Group(items[0]); window > 0 {
			d.wait(time.Until(items[0].Received.Add(window)))
			items = append(items, d.join(l, ln, key)...)
		}
		if !d.process(l, items) {
			d.mu.Lock()
			d.rest = append(d.rest, items...)
			d.mu.Unlock()
		}
		d.release(l, items)
	}
}

// next takes the first item of a lane. Without one the lane's goroutine ends, and the line goes with
// its last lane unless it has something to remember.
func (d *Dispatcher) next(provider types.NamespacedName, l *line, ln *lane) []Item {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(ln.items) > 0 && !d.stopped {
		return []Item{ln.first(l)}
	}
	ln.running = false
	if !d.stopped && l.idle(time.Now()) && d.lines[provider] == l {
		delete(d.lines, provider)
	}
	return nil
}

// join takes all items of a group out of a lane.
func (d *Dispatcher) join(l *line, ln *lane, key string) (out []Item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rest := ln.items[:0]
	for _, item := range ln.items {
		if k, window := d.options.Group(item); window > 0 && k == key {
			out = append(out, item)
			l.waiting -= item.bytes
		} else {
			rest = append(rest, item)
		}
	}
	clear(ln.items[len(rest):])
	ln.items = rest
	return out
}

// process delivers items or gives them up. It returns false when the dispatcher stops first.
func (d *Dispatcher) process(l *line, items []Item) bool {
	pause := d.options.MinWait
	for attempt := 1; ; attempt++ {
		if !d.wait(d.untilAllowed(l)) {
			return false
		}
		if time.Since(items[0].Received) > d.options.MaxAge {
			d.giveUp(l, items, ErrExpired, resultExpired)
			return true
		}
		began := time.Now()
		err := d.attempt(items)
		took(items[0], began)
		if err == nil {
			d.delivered(l, items)
			return true
		}
		if d.hard.Err() != nil {
			return false
		}
		after, again := retry(err)
		d.pause(l, after)
		if !again {
			d.tell(items, err, resultRefused)
			return true
		}
		if d.spent(l, items[0], attempt, pause) {
			d.giveUp(l, items, err, resultFailed)
			return true
		}
		if attempt == d.options.Attempts {
			d.warn(items, err)
		}
		if !d.wait(pause) {
			return false
		}
		pause = min(2*pause, d.options.MaxWait)
	}
}

// spent tells whether an item has had its attempts.
func (d *Dispatcher) spent(l *line, item Item, attempt int, pause time.Duration) bool {
	if d.options.Patient(item) {
		return time.Since(item.Received)+pause > d.options.MaxAge
	}
	return attempt >= d.options.Attempts || d.isFailing(l)
}

// warn tells of items that do not arrive but are not given up.
func (d *Dispatcher) warn(items []Item, err error) {
	for _, item := range items {
		d.options.Failed(item, fmt.Errorf("%w; further attempts follow", err))
	}
}

func (d *Dispatcher) delivered(l *line, items []Item) {
	d.mu.Lock()
	l.failingUntil, l.notBefore = time.Time{}, time.Time{}
	d.mu.Unlock()
	for _, item := range items {
		observe(item, resultDelivered)
	}
}

func retry(err error) (after time.Duration, again bool) {
	var r Retryable
	if errors.As(err, &r) {
		return r.Retry()
	}
	return 0, false
}

func (d *Dispatcher) giveUp(l *line, items []Item, err error, result string) {
	d.mu.Lock()
	l.failingUntil = time.Now().Add(failingFor)
	if paused := l.notBefore.Add(failingFor); paused.After(l.failingUntil) {
		l.failingUntil = paused
	}
	d.mu.Unlock()
	d.tell(items, err, result)
}

func (d *Dispatcher) tell(items []Item, err error, result string) {
	for _, item := range items {
		observe(item, result)
		d.options.Failed(item, err)
	}
}

func (d *Dispatcher) isFailing(l *line) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Before(l.failingUntil)
}

// pause holds all lanes of a line, as the provider asked.
func (d *Dispatcher) pause(l *line, after time.Duration) {
	if after <= 0 {
		return
	}
	until := time.Now().Add(min(after, d.options.MaxPause))
	d.mu.Lock()
	defer d.mu.Unlock()
	if until.After(l.notBefore) {
		l.notBefore = until
	}
}

func (d *Dispatcher) untilAllowed(l *line) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Until(l.notBefore)
}
