package tracker

import (
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/apply"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	me, other := Key{"flux-system", "app"}, Key{"flux-system", "other"}
	record := apply.Record{
		UID: "u", ResourceVersion: "100", Generation: 3,
		Entry: apply.Hash{1}, Meta: apply.Hash{2}, At: now.Add(-time.Minute), Watchable: true,
	}
	base := live{uid: "u", version: "120", generation: 3, entry: apply.Hash{1}, meta: apply.Hash{2}, owner: me, seen: now}
	with := func(f func(*live)) *live { l := base; f(&l); return &l }
	young := record
	young.At, young.Generation = now.Add(-time.Second), 0
	for _, tc := range []struct {
		reason string
		r      apply.Record
		l      *live
		upTo   string
		want   State
	}{
		{"our own answer came by", record, with(func(l *live) { l.version = "100" }), "100", InStep},
		{"status, unowned fields, co-owners", record, with(func(*live) {}), "120", InStep},
		{"an event from before our write", record, with(func(l *live) { l.version = "90"; l.entry = apply.Hash{9} }), "90", InStep},
		{"versions compare as numbers", record, with(func(l *live) { l.version = "99"; l.entry = apply.Hash{9} }), "99", InStep},
		{"our entry changed", record, with(func(l *live) { l.entry = apply.Hash{9} }), "120", Taken},
		{"our entry was cleared", record, with(func(l *live) { l.entry = apply.Hash{} }), "120", Taken},
		{"an owned label or annotation changed", record, with(func(l *live) { l.meta = apply.Hash{9} }), "120", Taken},
		{"another object of the same name", record, with(func(l *live) { l.uid = "v" }), "120", Taken},
		{"another owner's labels", record, with(func(l *live) { l.owner = other; l.meta = apply.Hash{9} }), "120", Elsewhere},
		{"generation only", record, with(func(l *live) { l.generation = 4 }), "120", Moved},
		{"kubectl edit", record, with(func(l *live) { l.foreign = "kubectl-edit"; l.generation = 4 }), "120", Foreign},
		{"kubectl edit of an owned field is drift first", record, with(func(l *live) { l.foreign = "kubectl-edit"; l.entry = apply.Hash{9} }), "120", Taken},
		{"no generation, in the second of our write", young, with(func(l *live) { l.generation = 0 }), "120", Moved},
		{"no generation, later", young, with(func(l *live) { l.generation = 0; l.seen = now.Add(time.Minute) }), "120", InStep},
		{"on its way out", record, with(func(l *live) { l.leaving = true; l.generation = 4; l.entry = apply.Hash{9} }), "120", Leaving},
		{"deleted or unlabelled", record, nil, "120", Gone},
		{"our creation has not come by yet", record, nil, "90", InStep},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			if got := judge(tc.r, tc.l, me, tc.upTo); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
