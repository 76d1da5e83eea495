package tracker

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRelistIsOneStep lists anew, after a write that only the new list shows, while the owner asks how things stand:
// at no moment may its object seem to be gone. A proof that could not be made at such a moment costs the next restart
// a look at every object.
func TestRelistIsOneStep(t *testing.T) {
	t.Parallel()
	const n = 2000
	items := make([]metav1.PartialObjectMetadata, n)
	for i := range items {
		items[i] = item(fmt.Sprint("o", i), 10+i)
	}
	last := items[n-1]
	for range 10 {
		x := newFixture(last.Name)
		x.f.replace(nil, "5")
		x.f.open()
		x.wrote(last)
		x.notified() // of the first list
		relisted := make(chan struct{})
		go func() {
			defer close(relisted)
			x.f.replace(items, "5000")
		}()
		for running := true; running; {
			select {
			case <-relisted:
				running = false
			default:
			}
			if x.o.Digest() == "" {
				t.Fatalf("while the list is taken in, %s", x.states())
			}
		}
		if x.notified() {
			t.Errorf("the owner was told of a drift: %s", x.states())
		}
	}
}
