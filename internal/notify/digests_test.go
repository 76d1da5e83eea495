package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// Digests of events with large annotations go before their time when they take too much.
func TestLargeDigestsGoEarly(t *testing.T) {
	t.Parallel()
	early := 0
	d := newDigests(make(chan struct{}, 1), func(digest) { early++ })
	a := &notificationv1.Alert{Spec: notificationv1.AlertSpec{Digest: &notificationv1.Digest{}}}
	now, sent := time.Now(), 0
	for i := range 400 {
		now = now.Add(time.Millisecond)
		d.add(a, dispatch.Item{
			Alert: types.NamespacedName{Name: fmt.Sprint(i / 20)}, Received: now,
			Event: &event.Event{Metadata: map[string]string{event.AnnotationPrefix + "notes": strings.Repeat("x", 256<<10)}},
		})
		out, _ := d.takeDue(now)
		sent += len(out)
		if d.bytes > maxHeldBytes {
			t.Fatalf("%d bytes are held", d.bytes)
		}
	}
	if early == 0 || sent != early {
		t.Errorf("%d digests went early, %d were sent", early, sent)
	}
	if _, _ = d.takeDue(now.Add(time.Hour)); d.bytes != 0 || d.held != 0 {
		t.Errorf("%d bytes and %d events are held at the end", d.bytes, d.held)
	}
}
