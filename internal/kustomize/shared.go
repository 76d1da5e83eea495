package kustomize

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// SharedCondition is True while another Kustomization applies some of the same objects: each takes them from the other.
const SharedCondition = "gitops-toolkit.dev/SharedObjects"

// sharedReason is the reason of that condition and of its event.
const sharedReason = "SeveralOwners"

// judgeShared sets or removes the condition about objects that another Kustomization of this process applies as well.
// The event that is due when there is news names both.
func (c *controller) judgeShared(ctx context.Context, req *request, t *target, a *applied) []kernel.Event {
	if !a.prepared {
		return nil
	}
	lines := c.sharedLines(ctx, t)
	if len(lines) == 0 {
		req.RemoveCondition(SharedCondition)
		return nil
	}
	text, before := strings.Join(lines, "\n"), req.Condition(SharedCondition)
	req.SetCondition(SharedCondition, metav1.ConditionTrue, sharedReason, text)
	if before != nil && before.Message == text {
		return nil
	}
	return []kernel.Event{kernel.Warning(sharedReason, text, t.metadata())}
}

// sharedLines has a line for each object. Those who are behind their source or spec may be about to let the object go: a
// move is no fight.
func (c *controller) sharedLines(ctx context.Context, t *target) []string {
	owners := map[apply.ID][]string{}
	for other, ids := range c.desires.rivals(t.name(), t.cluster()) {
		k := &kustomizev1.Kustomization{}
		if c.m.Client().Get(ctx, other, k) != nil || k.Spec.Suspend || !k.DeletionTimestamp.IsZero() || !c.desires.settled(other, c.expected(ctx, k)) {
			continue
		}
		for _, id := range ids {
			owners[id] = append(owners[id], "Kustomization/"+other.String())
		}
	}
	lines := make([]string, 0, len(owners))
	for id, others := range owners {
		lines = append(lines, sharedLine(id, "Kustomization/"+t.name().String(), others))
	}
	slices.Sort(lines)
	if len(lines) > maxListed {
		lines = append(lines[:maxListed], fmt.Sprintf("and %d more", len(lines)-maxListed))
	}
	return lines
}

func sharedLine(id apply.ID, self string, others []string) string {
	subject, rest := string(id), "one of them"
	if ref, ok := (apply.Entry{ID: id}).Ref(); ok {
		subject = ref.Subject()
	}
	if len(others) > 1 {
		rest = "all but one of them"
	}
	slices.Sort(others)
	return fmt.Sprintf("%s is applied by %s and by %s: take it out of %s", subject, self, strings.Join(others, ", "), rest)
}

// rivals returns what other Kustomizations want in the same cluster that one wants too, but for those who cannot apply it.
func (d *desires) rivals(self types.NamespacedName, cluster string) map[types.NamespacedName][]apply.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.of[self]
	if own == nil {
		return nil
	}
	out := map[types.NamespacedName][]apply.ID{}
	for name, e := range d.of {
		if name == self || e.cluster != cluster || e.client == nil || e.refused {
			continue
		}
		if both := common(own.ids, e.ids); len(both) > 0 {
			out[name] = both
		}
	}
	return out
}

// common returns what is in both of two sorted lists.
func common(a, b []apply.ID) []apply.ID {
	var both []apply.ID
	if len(a) == 0 || len(b) == 0 || a[len(a)-1] < b[0] || b[len(b)-1] < a[0] {
		return nil
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	for _, id := range a {
		if _, found := slices.BinarySearch(b, id); found {
			both = append(both, id)
		}
	}
	return both
}
