package providers

import (
	"context"
	"crypto/sha1" // a name of fixed length, not a proof
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gitops-toolkit/flux/internal/cel"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// maxDescription is the longest that all hosts take.
const maxDescription = 140

// status of a commit under one id, which hosts also call context, name or key.
type status struct {
	ID, State, Description string
	// Object is kind/name in lower case; Summary what the Alert says.
	Object, Summary string
}

// key names the status where ids must be short.
func (s status) key() string {
	sum := sha1.Sum([]byte(s.ID))
	return hex.EncodeToString(sum[:])
}

// statusHost is a Git host that shows statuses at commits.
type statusHost interface {
	// current returns state and description that the commit has under the id; not found is no error.
	current(ctx context.Context, commit string, s status) (state, description string, found bool, err error)
	write(ctx context.Context, commit string, s status) error
}

// states are what a host calls success and failure, and work under way where it wants to know.
type states struct{ success, failure, pending string }

// commitStatus keeps the status of commits as the last event said, and never goes back to what an
// older one says.
type commitStatus struct {
	*Config
	host   statusHost
	states states
	id     *cel.Value
	latest *latest
}

// registerStatus registers a type of commit status.
func registerStatus(name string, s states, open func(c *Config) (statusHost, error)) {
	register(Type{Name: name, Class: alert.CommitStatus, Patient: true, New: func(c *Config) (Sender, error) {
		host, err := open(c)
		if err != nil {
			return nil, err
		}
		return newCommitStatus(c, host, s)
	}})
}

func newCommitStatus(c *Config, host statusHost, s states) (Sender, error) {
	out := &commitStatus{Config: c, host: host, states: s, latest: newLatest()}
	if expr := c.Provider.Spec.CommitStatusExpr; expr != "" {
		var err error
		if out.id, err = cel.CompileString(expr, "event", "provider", "alert"); err != nil {
			return nil, fmt.Errorf("spec.commitStatusExpr: %w", err)
		}
	}
	return out, nil
}

func (c *commitStatus) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	state := pick(e, c.states.success, c.states.failure)
	if e.Reason == event.ReasonProgressing {
		if c.states.pending == "" {
			return nil
		}
		state = c.states.pending
	}
	commit, err := commitOf(e)
	if err != nil {
		return err
	}
	id, err := c.statusID(ctx, n)
	if err != nil {
		return err
	}
	slot := commit + "/" + id
	if !c.latest.admits(slot, e.Timestamp.Time) {
		return nil
	}
	s := status{
		ID: id, State: state, Description: cut(words(e.Reason), maxDescription), Summary: e.Metadata[event.KeySummary],
		Object: strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name,
	}
	now, description, found, err := c.host.current(ctx, commit, s)
	if err != nil {
		return fmt.Errorf("could not list commit statuses: %w", err)
	}
	if !found || now != s.State || description != s.Description {
		if err := c.host.write(ctx, commit, s); err != nil {
			return fmt.Errorf("could not create commit status: %w", err)
		}
	}
	c.latest.set(slot, e.Timestamp.Time)
	return nil
}

// statusID is by default what branch protection rules have always named: kind, name and the first
// group of the Provider's UID.
func (c *commitStatus) statusID(ctx context.Context, n *Notification) (string, error) {
	if c.id == nil {
		o := n.Event.InvolvedObject
		uid, _, _ := strings.Cut(string(c.Provider.UID), "-")
		return strings.ToLower(o.Kind + "/" + o.Name + "/" + uid), nil
	}
	variables := map[string]any{}
	for name, v := range map[string]any{"event": n.Event, "provider": c.Provider, "alert": n.Alert} {
		m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(v)
		if err != nil {
			return "", refused("spec.commitStatusExpr: %s cannot be shown to it: %v", name, err)
		}
		variables[name] = m
	}
	id, err := c.id.String(ctx, variables)
	if err != nil {
		return "", refused("spec.commitStatusExpr: %v", err)
	}
	return id, nil
}

// latest remembers the time of the last event that was told in each slot. An event with an earlier
// time, from a spool or a retry, comes too late.
type latest struct {
	mu    sync.Mutex
	times map[string]time.Time
}

// maxSlots bounds the memory; what is forgotten is looked up at the host.
const maxSlots = 4096

func newLatest() *latest {
	return &latest{times: map[string]time.Time{}}
}

func (l *latest) admits(slot string, at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, ok := l.times[slot]
	return !ok || !at.Before(last)
}

func (l *latest) set(slot string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.times[slot]; !ok && len(l.times) >= maxSlots {
		for old := range l.times {
			delete(l.times, old)
			break
		}
	}
	l.times[slot] = at
}
