package notify

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

const (
	// defaultDigestWindow is how long the first event of a revision waits for the others.
	defaultDigestWindow = time.Minute
	// maxDigestItems is how many events one digest gathers.
	maxDigestItems = 1000
	// maxDigests, maxHeld and maxHeldBytes are how many digests wait at a time, how many events in them, and
	// how large these are together.
	maxDigests   = 1000
	maxHeld      = 20_000
	maxHeldBytes = 32 << 20
)

var (
	digestsOpen = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gotk_notification_digests_open",
		Help: "Digests that wait for the end of their window.",
	})
	digestsEarly = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gotk_notification_digests_early_total",
		Help: "Digests that were sent before the end of their window, because too much waited.",
	})
)

func init() { metrics.Registry.MustRegister(digestsOpen, digestsEarly) }

// digests gathers the events of one revision for the Alerts that want one message about it.
type digests struct {
	mu   sync.Mutex
	open map[string]*digest
	wake chan struct{}
	// held is how many events the open digests hold, and bytes what they take.
	held, bytes int
	// early is told of a digest that is sent before its time, to make room.
	early func(digest)
}

func newDigests(wake chan struct{}, early func(digest)) *digests {
	return &digests{open: map[string]*digest{}, wake: wake, early: early}
}

type digest struct {
	due   time.Time
	alert corev1.ObjectReference
	items []dispatch.Item
	bytes int
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
	size := item.Size()
	g.bytes += size
	d.held, d.bytes = d.held+1, d.bytes+size
	if len(g.items) >= maxDigestItems {
		g.due = item.Received
	}
	if len(d.open) > maxDigests || d.held > maxHeld || d.bytes > maxHeldBytes {
		d.makeRoom(item.Received)
	}
	digestsOpen.Set(float64(len(d.open)))
	poke(d.wake)
}

// makeRoom lets the oldest of the digests that still wait go before its time.
func (d *digests) makeRoom(now time.Time) {
	var oldest *digest
	for _, g := range d.open {
		if g.due.After(now) && (oldest == nil || g.due.Before(oldest.due)) {
			oldest = g
		}
	}
	if oldest == nil {
		return // all are on their way
	}
	oldest.due = now
	digestsEarly.Inc()
	d.early(*oldest)
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
		d.held, d.bytes = d.held-len(g.items), d.bytes-g.bytes
		events := make([]*event.Event, len(g.items))
		for i := range g.items {
			events[i] = g.items[i].Event
		}
		item := g.items[len(g.items)-1]
		item.Event, item.Received = alert.Digest(g.alert, events), time.Now() // it is news only now
		out = append(out, item)
	}
	digestsOpen.Set(float64(len(d.open)))
	return out, next
}
