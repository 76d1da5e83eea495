package providers

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// Mails remembers what mails have said, so that a failure which lasts is told once for each revision,
// and its end is told too. As JSON it survives a restart.
type Mails struct {
	mu     sync.Mutex
	broken map[string]brokenObject
	// threads are those whose first mail was sent.
	threads map[string]time.Time
	changed bool
}

// mailsOnDisk is Mails as JSON.
type mailsOnDisk struct {
	Broken  map[string]brokenObject `json:"broken"`
	Threads map[string]time.Time    `json:"threads"`
}

// Changed tells whether there is something new to write since it was last called.
func (m *Mails) Changed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.changed
	m.changed = false
	return was
}

// Snapshot is what to write of the memory, as JSON: what broke last, and the newest threads.
func (m *Mails) Snapshot(most int) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	return mailsOnDisk{
		newest(m.broken, most, func(b brokenObject) time.Time { return b.At }),
		newest(m.threads, most, func(at time.Time) time.Time { return at }),
	}
}

// newest copies the entries of the latest times.
func newest[V any](in map[string]V, most int, at func(V) time.Time) map[string]V {
	out := maps.Clone(in)
	if len(out) <= most {
		return out
	}
	keys := slices.SortedFunc(maps.Keys(in), func(a, b string) int { return at(in[b]).Compare(at(in[a])) })
	for _, old := range keys[most:] {
		delete(out, old)
	}
	return out
}

// UnmarshalJSON reads it back. What happened since comes on top.
func (m *Mails) UnmarshalJSON(data []byte) error {
	var read mailsOnDisk
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, b := range read.Broken {
		if _, newer := m.broken[key]; !newer {
			m.broken[key] = b
		}
	}
	for key, at := range read.Threads {
		if _, newer := m.threads[key]; !newer {
			m.threads[key] = at
		}
	}
	return nil
}

// brokenObject is one whose failure was mailed.
type brokenObject struct {
	Revision string `json:"revision"`
	Reason   string `json:"reason"`
	// Thread is the mail that told first.
	Thread string    `json:"thread"`
	At     time.Time `json:"at"`
	// Alert that it was mailed for, and the event, in brief.
	Alert types.NamespacedName `json:"alert"`
	Event *event.Event         `json:"event,omitempty"`
	// ending says that a mail about its end is on its way.
	ending bool
}

// maxBroken bounds the memory of Mails.
const maxBroken = 10_000

// NewMails returns an empty memory.
func NewMails() *Mails {
	return &Mails{broken: map[string]brokenObject{}, threads: map[string]time.Time{}}
}

// unsaid are the keys of metadata that a mail says elsewhere, or not at all.
var unsaid = map[string]bool{event.KeySummary: true, event.KeyCommitStatus: true, alert.KeyTransition: true}

// letter is what a mail says.
type letter struct {
	Subject, Intro string
	Failure        bool
	Alert          string
	Revision, Link string
	Summary        string
	Entries        []entry

	id, thread string
	first      *Notification
	broke      map[string]brokenObject
	healed     []string
}

// entry is what a mail says about one object.
type entry struct {
	Object, Reason, Message string
	At                      time.Time
	// Recovered says that the object's failure has ended, Gone that this is because it was deleted.
	Failure, Recovered, Gone bool
	Fields                   []event.Field
}

// compose writes a letter about the events that are news; nil: none is.
func (m *Mails) compose(provider types.UID, all []*Notification) *letter {
	if m == nil {
		m = NewMails()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &letter{broke: map[string]brokenObject{}}
	for _, n := range all {
		e := n.Event
		key := mailKey(provider, n.Alert.UID, e.Object())
		was, broken := m.broken[key]
		if again, ok := l.broke[key]; ok {
			was, broken = again, true
		}
		entry := entry{
			Object: e.Object(), Reason: e.Reason, Message: e.Message, At: e.Timestamp.Time, Failure: e.IsError(),
			Fields: slices.DeleteFunc(e.Fields(), func(f event.Field) bool { return unsaid[f.Key] }),
		}
		revision := revisionOf(e)
		switch {
		case e.IsError():
			if broken && was.Revision == revision && was.Reason == e.Reason {
				continue
			}
			l.broke[key] = brokenObject{Revision: revision, Reason: e.Reason, Thread: was.Thread, At: e.Timestamp.Time,
				Alert: types.NamespacedName{Namespace: n.Alert.Namespace, Name: n.Alert.Name}, Event: e.Brief().Redacted()}
		case broken && (e.Succeeded() || e.Metadata[alert.KeyTransition] == alert.Resolved):
			entry.Recovered, entry.Gone = true, e.Reason == event.ReasonDeleted
			l.healed = append(l.healed, key)
			l.thread = cmp.Or(l.thread, was.Thread)
		case !news(e):
			continue
		}
		l.add(n, entry, revision)
	}
	if l.first == nil {
		return nil
	}
	l.finish(provider, m.threads)
	return l
}

// news tells whether an informative event is worth a mail by itself.
func news(e *event.Event) bool {
	waits := e.Reason == event.ReasonProgressing || strings.HasSuffix(e.Reason, "NotReady")
	return !waits && e.Metadata[event.KeyCommitStatus] == ""
}

func (l *letter) add(n *Notification, e entry, revision string) {
	if l.first == nil {
		l.first, l.Revision = n, revision
		l.Alert = n.Alert.Namespace + "/" + n.Alert.Name
		l.Summary = n.Event.Metadata[event.KeySummary]
	}
	l.Failure = l.Failure || e.Failure
	l.Entries = append(l.Entries, e)
}

// finish gives the letter its subject and its place in a thread: what one revision breaks for one
// Alert is one thread, and recoveries join it.
func (l *letter) finish(provider types.UID, begun map[string]time.Time) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%s", provider, l.Alert, l.Revision))
	thread := hex.EncodeToString(sum[:12])
	if l.Failure {
		l.thread = thread
		for key, b := range l.broke {
			b.Thread = cmp.Or(b.Thread, thread)
			l.broke[key] = b
		}
	}
	l.id = thread
	if _, again := begun[thread]; again || !l.Failure {
		l.id = randomHex(12)
	}
	l.Subject, l.Intro = l.words()
}

func (l *letter) words() (subject, intro string) {
	names := map[string]bool{}
	recovered, works := len(l.healed) > 0, false
	for _, e := range l.Entries {
		works = works || e.Recovered && !e.Gone
		if !recovered || e.Recovered {
			names[e.Object] = true
		}
	}
	what := slices.Sorted(maps.Keys(names))[0]
	if len(names) > 1 {
		what = fmt.Sprintf("%d objects", len(names))
	}
	at := ""
	if l.Revision != "unknown" {
		at = " at " + shortRevision(l.Revision)
	}
	verb := func(one, many string) string {
		if len(names) > 1 {
			return many
		}
		return one
	}
	switch {
	case l.Failure:
		return fmt.Sprintf("[Flux] %s %s%s", what, verb("fails", "fail"), at), "This does not work:"
	case recovered && !works:
		return fmt.Sprintf("[Flux] %s %s deleted%s", what, verb("was", "were"), at), "This failed, and was deleted:"
	case recovered:
		return fmt.Sprintf("[Flux] %s %s again%s", what, verb("works", "work"), at), "This works again:"
	default:
		return fmt.Sprintf("[Flux] %s changed%s", what, at), "This has changed:"
	}
}

// shortRevision cuts a hash to what people compare.
func shortRevision(revision string) string {
	name, hash, ok := strings.Cut(revision, ":")
	if !ok || len(hash) <= 12 {
		return revision
	}
	return name + ":" + hash[:12]
}

// sent remembers what a letter has told.
func (m *Mails) sent(l *letter) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed = m.changed || l.Failure || len(l.healed) > 0
	for _, key := range l.healed {
		delete(m.broken, key)
	}
	if l.Failure {
		if len(m.threads) >= maxBroken {
			clear(m.threads)
		}
		m.threads[l.thread] = time.Now()
	}
	for key, b := range l.broke {
		if len(m.broken) >= maxBroken {
			m.forgetOldest()
		}
		m.broken[key] = b
	}
}

func (m *Mails) forgetOldest() {
	oldest, at := "", time.Time{}
	for key, b := range m.broken {
		if oldest == "" || b.At.Before(at) {
			oldest, at = key, b.At
		}
	}
	delete(m.broken, oldest)
}
