package tracker

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/testenv"
)

// wire is the tracker's way to the server: it can be cut, and what watches say can be held up.
type wire struct {
	mu      sync.Mutex
	changed *sync.Cond
	cut     bool
	held    bool
	open    []io.Closer
}

func newWire() *wire {
	l := &wire{}
	l.changed = sync.NewCond(&l.mu)
	return l
}

func (l *wire) tracker(t *testing.T) func(*Options) {
	return func(o *Options) {
		o.Client = connect(t, func(c *rest.Config) {
			c.Wrap(func(rt http.RoundTripper) http.RoundTripper {
				return testenv.RoundTrip(func(r *http.Request) (*http.Response, error) { return l.send(rt, r) })
			})
		})
	}
}

func (l *wire) send(rt http.RoundTripper, r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	cut := l.cut
	l.mu.Unlock()
	if cut {
		return nil, errors.New("no route to host")
	}
	resp, err := rt.RoundTrip(r)
	if err != nil || !strings.Contains(r.URL.RawQuery, "watch=") {
		return resp, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, resp.Body)
	resp.Body = &slow{ReadCloser: resp.Body, wire: l}
	return resp, nil
}

// set changes the weather; a cut ends the watches that are open.
func (l *wire) set(cut, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut, l.held = cut, held; cut {
		for _, body := range l.open {
			body.Close()
		}
		l.open = nil
	}
	l.changed.Broadcast()
}

// slow is the body of a watch.
type slow struct {
	io.ReadCloser
	wire *wire
}

func (s *slow) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.wire.mu.Lock()
	defer s.wire.mu.Unlock()
	for s.wire.held {
		s.wire.changed.Wait()
	}
	return n, err
}

// What happens while the watch is cut is found when it is back.
func TestWatchIsCut(t *testing.T) {
	t.Parallel()
	l := newWire()
	b := newBench(t, l.tracker(t))
	b.install(target)
	l.set(true, false)
	b.patch("cm", "someone", `{"data":{"k":"x"}}`)
	b.del("svc")
	if drifts := b.owner.Drifts(); len(drifts) != 0 {
		t.Errorf("known while nothing can be known: %v", drifts)
	}
	l.set(false, false)
	b.await("both drifts", func() bool { return len(b.owner.Drifts()) == 2 })
	b.awaitNotify()
	if changes, requests := b.pass(target, b.owner.AtRevision()); requests != "1 dry-run, 2 apply" || !strings.Contains(changes, "taken by someone") {
		t.Errorf("%s with %s", changes, requests)
	}
}

// A watch that lags shows objects as they were before our writes: none of that is drift.
func TestWatchLags(t *testing.T) {
	t.Parallel()
	l := newWire()
	b := newBench(t, l.tracker(t))
	b.install(oneMap)
	l.set(false, true)
	docs := oneMap
	for _, value := range []string{"one", "two", "three"} {
		docs = strings.Replace(oneMap, "k: git", "k: "+value, 1)
		if changes, requests := b.pass(docs, b.owner.AtRevision()); changes != "configured" || requests != "1 dry-run, 1 apply" {
			t.Errorf("%s: %s with %s", value, changes, requests)
		}
		if changes, requests := b.pass(docs, b.owner.AtInterval()); changes+requests != "" {
			t.Errorf("%s, the interval: %s with %s", value, changes, requests)
		}
	}
	l.set(false, false)
	b.age() // what follows our write within its second is looked at
	b.kinds = []string{"cm"}
	b.patchMarker()
	b.quietPass(docs, "the watch has only caught up")
	if drifts := b.owner.Drifts(); len(drifts) != 0 {
		t.Errorf("drifts %v", drifts)
	}
}

// A clock that jumps neither invents drift nor keeps one back.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	for name, jump := range map[string]time.Duration{"forward": 48 * time.Hour, "back": -48 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newFixture("a", "b")
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 11)}, "11", x.now)
			x.f.open()
			x.wrote(item("a", 10))
			x.wrote(item("b", 11))
			x.notified()
			x.now = x.now.Add(jump)
			same := item("a", 12)
			x.f.event("MODIFIED", &same)
			if x.states() != "" || x.notified() {
				t.Errorf("in step before the jump, now %s", x.states())
			}
			gone := item("b", 13)
			x.f.event("DELETED", &gone)
			if when, told := x.pending[x.o.key]; !told || when.Sub(x.now) > time.Second {
				t.Errorf("a deletion after the jump: told %v, in %s", told, when.Sub(x.now))
			}
		})
	}
}
