package kustomize_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
)

// posted is an event as notification-controller would get it.
type posted struct {
	InvolvedObject struct{ Kind, Name string }
	Severity       string
	Reason         string
	Message        string
	Metadata       map[string]string
}

// collector stands for notification-controller.
type collector struct {
	server *httptest.Server

	mu      sync.Mutex
	events  []posted
	changed chan struct{}
}

func newCollector(t testing.TB) *collector {
	t.Helper()
	c := &collector{changed: make(chan struct{})}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e posted
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events = append(c.events, e)
		close(c.changed)
		c.changed = make(chan struct{})
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(c.server.Close)
	return c
}

// of returns the events about one object so far.
func (c *collector) of(name string) []posted {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []posted
	for _, e := range c.events {
		if e.InvolvedObject.Name == name {
			all = append(all, e)
		}
	}
	return all
}

// until waits for an event about an object.
func (l *lab) event(name string, wanted func(posted) bool) posted {
	l.t.Helper()
	timeout := time.After(patience)
	for {
		l.events.mu.Lock()
		changed := l.events.changed
		l.events.mu.Unlock()
		events := l.events.of(name)
		if i := slices.IndexFunc(events, wanted); i >= 0 {
			return events[i]
		}
		select {
		case <-changed:
		case <-timeout:
			l.t.Fatalf("the event about %s did not come; there are %+v", name, events)
		}
	}
}

// follow reads a watch until an object is as wanted.
func (l *lab) follow(ctx context.Context, events <-chan watch.Event, name string, last *kustomizev1.Kustomization, wanted func(*kustomizev1.Kustomization) bool) (*kustomizev1.Kustomization, bool) {
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case ev, open := <-events:
			if !open {
				return nil, false
			}
			k, ok := ev.Object.(*kustomizev1.Kustomization)
			if !ok {
				return nil, false
			}
			if ev.Type == watch.Deleted {
				if wanted(nil) {
					return nil, true
				}
				continue
			}
			k.DeepCopyInto(last)
			if wanted(k) {
				return k, true
			}
		}
	}
}
