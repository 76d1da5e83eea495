package kernel

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestIndexWakesWhoReadsAllOfANamespace(t *testing.T) {
	t.Parallel()
	x := newIndex("g", "K")
	name := func(ns, n string) types.NamespacedName { return types.NamespacedName{Namespace: ns, Name: n} }
	x.set(name("a", "all"), []Reference{{Group: "g", Kind: "P", Name: AnyName, Wake: OnRevision}, {Group: "g", Kind: "P", Name: "one"}})
	x.set(name("a", "one"), []Reference{{Group: "g", Kind: "P", Name: "one"}})
	for _, tc := range []struct {
		reason string
		who    types.NamespacedName
		change Change
		want   int
	}{
		{"by name and with all others: once each", name("a", "one"), OnRevision, 2},
		{"with all others", name("a", "two"), OnRevision, 1},
		{"a change that all others do not wake for", name("a", "two"), OnReady, 0},
		{"another namespace", name("b", "one"), OnAny, 0},
	} {
		if got := x.referrers(refKey{"g", "P", tc.who}, tc.change); len(got) != tc.want {
			t.Errorf("%s: %v", tc.reason, got)
		}
	}
	x.remove(name("a", "all"))
	if got := x.referrers(refKey{"g", "P", name("a", "two")}, OnAny); len(got) != 0 {
		t.Errorf("gone, but still woken: %v", got)
	}
}
