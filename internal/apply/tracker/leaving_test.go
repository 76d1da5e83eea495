package tracker

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// TestLeaving plays a deletion in the foreground, as the TTL of a Job makes it: the deletion timestamp moves the
// generation before the object goes. A look in between would find it gone and create it anew.
func TestLeaving(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason     string
		vanishes   bool
		backAtOnce bool
	}{
		{"a finished Job waits for the interval", true, false},
		{"anything else comes back when it is gone", false, true},
	} {
		x := newFixture("a")
		id := apply.NewID("ns", "a", "", "ConfigMap")
		live := item("a", 10)
		live.Generation = 1
		x.f.replace([]metav1.PartialObjectMetadata{live}, "10")
		x.f.open()
		x.wrote(live)
		x.o.objects[id].record.Generation = 1
		x.o.objects[id].record.VanishesWhenDone = tt.vanishes
		x.notified() // of the first list

		gone := metav1.NewTime(x.now)
		live.ResourceVersion, live.Generation, live.DeletionTimestamp = "11", 2, &gone
		x.saw(x.f.k, id, &live, "11")
		if _, asked := x.pending[x.o.key]; asked || x.o.Due() {
			t.Errorf("%s: looked at while it goes", tt.reason)
		}
		if drifts := x.o.Drifts(); len(drifts) != 1 || drifts[0].State != Leaving {
			t.Errorf("%s: drifts %v", tt.reason, drifts)
		}
		x.now = x.now.Add(time.Minute)
		x.saw(x.f.k, id, nil, "12")
		if _, asked := x.pending[x.o.key]; asked != tt.backAtOnce || x.o.Due() != tt.backAtOnce {
			t.Errorf("%s: asked for at once: %t", tt.reason, asked)
		}
	}
}
