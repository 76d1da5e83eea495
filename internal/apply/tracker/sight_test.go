package tracker

import (
	"strings"
	"testing"
)

// TestExempt annotates an owned object to be left alone, changes it, and takes the annotation off again: nothing is
// asked while it stands, and all is put back when it goes.
func TestExempt(t *testing.T) {
	t.Parallel()
	for name, manager := range map[string]string{"by a client": "someone", "by kubectl": "kubectl-annotate"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.kinds = []string{"cm"}
			b.install(oneMap)
			b.age()
			b.patch("cm", manager, `{"metadata":{"annotations":{"GROUP/reconcile":"Disabled"}}}`)
			b.patch("cm", "someone", `{"data":{"k":"x"}}`)
			b.patchMarker()
			b.quietPass(oneMap, "it is exempt")
			if changes, requests := b.pass(oneMap, b.owner.AtInterval()); changes+requests != "" {
				t.Errorf("the interval: %s with %s", changes, requests)
			}
			b.drain()
			b.patch("cm", manager, `{"metadata":{"annotations":{"GROUP/reconcile":null}}}`)
			b.awaitNotify()
			if changes, _ := b.pass(oneMap, b.owner.AtRevision()); !strings.HasPrefix(changes, "configured: .data.k taken by someone") {
				t.Errorf("afterwards: %s", changes)
			}
		})
	}
}

// TestSeenTooLate corrects what the watch has shown while the object has changed once more: the server says so, and a
// dry-run finds out what to do.
func TestSeenTooLate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason, patch, changes, requests string
	}{
		{"nothing", "", "configured: .data.k taken by someone at TIME", "1 apply"},
		{"another edit", `{"data":{"l":"x"}}`, "configured: .data.k taken by someone at TIME", "1 dry-run, 2 apply"},
		{"it is to be left alone", `{"metadata":{"annotations":{"GROUP/reconcile":"disabled"}}}`, "", "1 dry-run, 1 apply"},
		{"it cannot be changed any more", `{"immutable":true}`, "", "1 dry-run, 1 apply, 1 get"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			l := newWire()
			b := newBench(t, l.tracker(t))
			b.install(oneMap)
			b.age()
			b.patch("cm", "someone", `{"data":{"k":"x"}}`)
			b.awaitNotify()
			l.set(false, true)
			defer l.set(false, false)
			if tt.patch != "" {
				b.patch("cm", "late", tt.patch)
			}
			changes, requests := b.tryPass(oneMap, b.owner.AtRevision())
			if strings.Contains(tt.patch, "immutable") {
				if !strings.Contains(changes, "dry-run failed (Invalid)") {
					t.Errorf("refused with %q", changes)
				}
				changes = ""
			}
			if stamp(changes) != tt.changes || requests != tt.requests {
				t.Errorf("%q with %s, want %q with %s", stamp(changes), requests, tt.changes, tt.requests)
			}
		})
	}
}

// TestOnlyCreated owns an object that was there before and is only to be created: once it is known to be there, it costs
// nothing before the interval, and comes back when it is deleted.
func TestOnlyCreated(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.applyAs("cm", "someone", "{apiVersion: v1, kind: ConfigMap, metadata: {name: app, namespace: $NS}, data: {k: theirs}}")
	docs := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app, namespace: $NS, annotations: {" + b.group + "/ssa: IfNotPresent}}\ndata: {k: git}"
	if changes, requests := b.pass(docs, b.owner.AtRevision()); changes != "" || requests != "1 dry-run" {
		t.Errorf("the first look: %s with %s", changes, requests)
	}
	b.quietPass(docs, "it is there")
	if changes, requests := b.pass(docs, b.owner.AtInterval()); changes != "" || requests != "1 dry-run" {
		t.Errorf("the interval: %s with %s", changes, requests)
	}
	b.del("cm")
	if changes, requests := b.pass(docs, b.owner.AtInterval()); changes != "created" || requests != "1 dry-run, 1 apply" {
		t.Errorf("the interval after it was deleted: %s with %s", changes, requests)
	}
}
