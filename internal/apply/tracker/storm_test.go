package tracker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// TestStorm edits and deletes owned objects at random while the owner corrects what it is told of:
// in the end everything is as desired, and no pass looked at more than had drifted.
func TestStorm(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("hundreds of requests")
	}
	const objects, operations = 40, 200
	b := newBench(t, nil)
	var docs []string
	for i := range objects {
		docs = append(docs, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d, namespace: $NS}\ndata: {a: git, b: git, c: git, d: git}", i))
	}
	all := strings.Join(docs, "\n---\n")
	b.install(all)
	b.owner.Configure(0, true) // no damping: every edit is to be put back

	done := make(chan struct{})
	go func() {
		defer close(done)
		for range operations {
			b.disturb(fmt.Sprintf("c%d", rand.N(objects)))
		}
	}()
	passes, total := 0, map[string]int{}
	for running := true; running || len(b.owner.Drifts()) > 0; {
		select {
		case <-b.notified:
			_, requests := b.pass(all, b.owner.AtRevision())
			passes++
			tally(total, requests)
		case <-done:
			running, done = false, nil
		case <-time.After(10 * time.Second):
			t.Fatalf("drifts are left that nobody was told of: %v", b.owner.Drifts())
		}
	}
	t.Logf("%d operations, %d passes, %v", operations, passes, total)
	if total["dry-run"] > 2*operations || total["apply"] > 2*operations {
		t.Errorf("more requests than twice the edits: %v", total)
	}
	if changes, _ := b.pass(all, &View{o: &Owner{t: b.tracker, key: b.key, objects: map[apply.ID]*object{}}}); changes != "" {
		t.Errorf("not everything was put back:\n%s", changes)
	}
}

// disturb deletes an object or changes one of its fields; it may be gone already.
func (b *bench) disturb(name string) {
	ctx := context.Background()
	if rand.N(4) == 0 {
		_ = b.of("cm").Delete(ctx, name, metav1.DeleteOptions{})
		return
	}
	key := string("abcd"[rand.N(4)])
	patch := fmt.Sprintf(`{"data":{%q:"%d"}}`, key, rand.N(1000))
	_, _ = b.of("cm").Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: fmt.Sprintf("m%d", rand.N(3))})
}

func tally(total map[string]int, requests string) {
	for part := range strings.SplitSeq(requests, ", ") {
		var n int
		var class string
		if _, err := fmt.Sscan(part, &n, &class); err == nil {
			total[class] += n
		}
	}
}
