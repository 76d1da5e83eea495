package apply

import (
	"fmt"
	"strings"
	"testing"
)

// TestBigSet counts the requests of a big set; bench/ measures the 2,000 of DESIGN section 7.
func TestBigSet(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 300 objects")
	}
	t.Parallel()
	b := newBench(t)
	var docs []string
	for i := range 300 {
		docs = append(docs, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d, namespace: $NS}\ndata: {k: v}", i))
	}
	all := strings.Join(docs, "\n---\n")
	b.mustApply(all, func(o *Options) { o.Concurrency = 8 })
	want(t, "requests of the install", b.count.take(), "2 discovery, 300 dry-run, 300 apply")
	b.mustApply(all, nil)
	want(t, "requests when nothing changed", b.count.take(), "")
	b.mustApply(strings.Replace(all, "{k: v}", "{k: w}", 1), nil)
	want(t, "requests when one changed", b.count.take(), "1 dry-run, 1 apply")
}
