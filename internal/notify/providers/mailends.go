package providers

import (
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
)

// mailKey is where an object's failure is remembered. A Provider or an Alert that was made anew has told of nothing.
func mailKey(provider, alert types.UID, object string) string {
	return string(provider) + "/" + string(alert) + "/" + object
}

// Failing lists the objects whose failure was mailed, and whose end nobody has put into words yet.
func (m *Mails) Failing() []alert.Failing {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []alert.Failing
	for _, b := range m.broken {
		if b.Event != nil && !b.ending {
			out = append(out, alert.Failing{Alert: b.Alert, At: b.At, Event: b.Event})
		}
	}
	return out
}

// Told tells whether a mail of this Provider, for this Alert, told of an object's failure whose end nobody has put into
// words yet.
func (m *Mails) Told(provider, alert types.UID, object string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, broken := m.broken[mailKey(provider, alert, object)]
	return broken && !b.ending
}

// Ending notes that the end of an object's failure is on its way to the mails of an Alert.
func (m *Mails) Ending(provider, alert types.UID, object string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := mailKey(provider, alert, object)
	if b, broken := m.broken[key]; broken {
		b.ending = true
		m.broken[key] = b
	}
}

// Settle forgets that an object fails, for all Providers to which an Alert of this name has sent, unless its end is
// on its way: whoever calls knows that the failure is over, and has told whom it could.
func (m *Mails) Settle(name types.NamespacedName, object string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, b := range m.broken {
		if b.Event != nil && !b.ending && b.Alert == name && b.Event.Object() == object {
			delete(m.broken, key)
			m.changed = true
		}
	}
}

// Forget drops what was told by Providers, for Alerts, that do not belong together any more.
func (m *Mails) Forget(current func(provider, alert types.UID) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.broken {
		provider, rest, _ := strings.Cut(key, "/")
		alert, _, _ := strings.Cut(rest, "/")
		if !current(types.UID(provider), types.UID(alert)) {
			delete(m.broken, key)
			m.changed = true
		}
	}
}
