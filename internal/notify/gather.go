package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

const (
	// defaultDigestWindow is how long the first event of a revision waits for the others.
	defaultDigestWindow = time.Minute
	// maxDigestItems is how many events one digest gathers.
	maxDigestItems = 1000
	// rememberEvery is how often the memory is written while it changes.
	rememberEvery = 5 * time.Second
)

// digests gathers the events of one revision for the Alerts that want one message about it.
type digests struct {
	mu   sync.Mutex
	open map[string]*digest
	wake chan struct{}
}

type digest struct {
	due   time.Time
	alert corev1.ObjectReference
	items []dispatch.Item
}

// add puts an item into the digest of its revision.
func (d *digests) add(a *notificationv1.Alert, item dispatch.Item) {
	window := defaultDigestWindow
	if w := a.Spec.Digest.Window; w != nil && w.Duration > 0 {
		window = w.Duration
	}
	key := item.Provider.String() + "/" + item.Alert.String() + "/" + item.Event.Metadata[event.KeyRevision]
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.open[key]
	if g == nil {
		g = &digest{due: item.Received.Add(window), alert: corev1.ObjectReference{
			APIVersion: alertKind.GroupVersion().String(), Kind: alertKind.Kind, Namespace: a.Namespace, Name: a.Name, UID: a.UID,
		}}
		d.open[key] = g
	}
	g.items = append(g.items, item)
	if len(g.items) >= maxDigestItems {
		g.due = item.Received
	}
	poke(d.wake)
}

// takeDue returns the digests whose time has come, and when that of the next one comes.
func (d *digests) takeDue(now time.Time) (out []dispatch.Item, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, g := range d.open {
		if g.due.After(now) {
			if next.IsZero() || g.due.Before(next) {
				next = g.due
			}
			continue
		}
		delete(d.open, key)
		events := make([]*event.Event, len(g.items))
		for i := range g.items {
			events[i] = g.items[i].Event
		}
		item := g.items[len(g.items)-1]
		item.Event, item.Received = alert.Digest(g.alert, events), time.Now() // it is news only now
		out = append(out, item)
	}
	return out, next
}

// memory is what should outlive the process: of which failures people have heard.
type memory struct {
	path        string
	Transitions *alert.Transitions `json:"transitions"`
	Mails       *providers.Mails   `json:"mails"`
}

// read takes what an earlier process left.
func (m *memory) read() error {
	data, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, m)
	}
	if err != nil {
		return fmt.Errorf("read the memory of notifications: %w", err)
	}
	return nil
}

// write replaces the file if there is something new.
func (m *memory) write() error {
	transitions, mails := m.Transitions.Changed(), m.Mails.Changed()
	if m.path == "" || !transitions && !mails {
		return nil
	}
	data, err := json.Marshal(m)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(m.path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(m.path+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(m.path+".new", m.path)
	}
	if err != nil {
		return fmt.Errorf("write the memory of notifications: %w", err)
	}
	return nil
}

// gatherer sends what had to wait: failures that have lasted long enough, and digests.
type gatherer struct {
	digests *digests
	memory  *memory
	// fire sends a failure to the Provider of the Alert that it names.
	fire func(ctx context.Context, key types.NamespacedName, e *event.Event)
	put  func(dispatch.Item)
	// prune forgets Alerts that are gone.
	prune func(ctx context.Context)
	wake  chan struct{}
	log   logr.Logger
}

func newGatherer(r *router, mails *providers.Mails, path string) *gatherer {
	wake := make(chan struct{}, 1)
	return &gatherer{
		digests: &digests{open: map[string]*digest{}, wake: wake},
		memory:  &memory{path: path, Transitions: &alert.Transitions{}, Mails: mails},
		fire:    r.fire, put: r.outbox.put, prune: r.pruneTransitions, wake: wake, log: r.log,
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run works until ctx ends; then it sends all digests at once.
func (g *gatherer) run(ctx context.Context) error {
	if err := g.memory.read(); err != nil {
		g.log.Error(err, "failures that people know of may be told once more")
	}
	written := time.Now()
	for {
		next := g.due(ctx)
		if remember := written.Add(rememberEvery); next.IsZero() || remember.Before(next) {
			next = remember
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			g.stop()
			return nil
		case <-g.wake:
		case <-timer.C:
		}
		timer.Stop()
		if time.Since(written) >= rememberEvery {
			written = time.Now()
			g.prune(ctx)
			if err := g.memory.write(); err != nil {
				g.log.Error(err, "after a restart some failures may be told once more")
			}
		}
	}
}

func (g *gatherer) due(ctx context.Context) time.Time {
	now := time.Now()
	failures, next := g.memory.Transitions.TakeDue(now)
	for _, f := range failures {
		g.fire(ctx, f.Alert, f.Event)
	}
	items, then := g.digests.takeDue(now)
	for _, item := range items {
		g.put(item)
	}
	if next.IsZero() || !then.IsZero() && then.Before(next) {
		return then
	}
	return next
}

func (g *gatherer) stop() {
	items, _ := g.digests.takeDue(time.Now().Add(365 * 24 * time.Hour))
	for _, item := range items {
		g.put(item)
	}
	if err := g.memory.write(); err != nil {
		g.log.Error(err, "after a restart some failures may be told once more")
	}
}
