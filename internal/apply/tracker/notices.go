package tracker

import (
	"fmt"
	"sync"
	"time"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Notices keep what owners are to be told until they ask; Drift and Fight serve as those of Options. It is safe for
// concurrent use.
type Notices struct {
	// Wake makes an owner ask; it is set before the tracker is made.
	Wake func(Key)

	mu     sync.Mutex
	drift  map[Key]bool
	fights map[Key][]Drift
}

// Drift notes that an owner should look at its objects.
func (n *Notices) Drift(key Key) {
	n.mu.Lock()
	if n.drift == nil {
		n.drift = map[Key]bool{}
	}
	n.drift[key] = true
	n.mu.Unlock()
	n.Wake(key)
}

// Fight notes that somebody takes back what an owner has put back.
func (n *Notices) Fight(key Key, d Drift) {
	n.mu.Lock()
	if n.fights == nil {
		n.fights = map[Key][]Drift{}
	}
	n.fights[key] = append(n.fights[key], d)
	n.mu.Unlock()
	n.Wake(key)
}

// Take returns what there is to be told, once.
func (n *Notices) Take(key Key) (drift bool, fights []Drift) {
	n.mu.Lock()
	defer n.mu.Unlock()
	drift, fights = n.drift[key], n.fights[key]
	delete(n.drift, key)
	delete(n.fights, key)
	return drift, fights
}

// ContestedReason is that of events about fights.
const ContestedReason = "DriftContested"

// Contested says of a fight who takes back what the field manager has put back, and what to do about it; it is empty where
// the object has no name.
func (d Drift) Contested(manager string, interval time.Duration) string {
	ref, ok := apply.Entry{ID: d.ID}.Ref()
	if !ok {
		return ""
	}
	if d.State == Gone {
		return fmt.Sprintf("%s is deleted again and again right after %s has created it anew; it comes back ever more slowly, at the latest at the interval of %s. Take it out of the source, or stop who deletes it",
			ref.Subject(), manager, interval)
	}
	who := d.Manager
	if who == "" {
		who = "somebody"
	}
	return fmt.Sprintf("%s: %s changes what %s has put back; the next correction waits for the interval of %s. Take the field out of the source, or stop the other writer",
		ref.Subject(), who, manager, interval)
}
