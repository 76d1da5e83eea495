package tracker

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// maxFields bounds how many fields an explanation names.
const maxFields = 5

// culprit is the manager that wrote last, but for ourselves and writers of status.
func culprit(entries []metav1.ManagedFieldsEntry, manager string) string {
	name, when := "", time.Time{}
	for _, e := range entries {
		own := e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply
		if own || e.Subresource == "status" || e.Time == nil || e.Time.Before(&metav1.Time{Time: when}) {
			continue
		}
		name, when = e.Manager, e.Time.Time
	}
	return name
}

// correction remembers what a write put back, as long as the interval lasts.
type correction struct {
	at time.Time
	// by is the manager that had made the drift.
	by string
	// back are the fields that were put back, full all that we own since.
	back, full *fieldpath.Set
}

// explain says which fields a correction put back, and from the managers at the time of the drift
// who had them and since when.
func explain(before []metav1.ManagedFieldsEntry, back *fieldpath.Set) string {
	if before == nil {
		return "" // the drift was found before the watch showed it
	}
	back = back.Leaves()
	if back.Empty() {
		return "the object had been applied under our name"
	}
	var parts []string
	for _, e := range before {
		taken := back.Intersection(setOf(e))
		if taken.Empty() {
			continue
		}
		back = back.Difference(taken)
		when := ""
		if e.Time != nil {
			when = " at " + e.Time.UTC().Format(time.RFC3339)
		}
		parts = append(parts, fmt.Sprintf("%s taken by %s%s", names(taken), e.Manager, when))
	}
	if !back.Empty() {
		parts = append(parts, names(back)+" removed")
	}
	return strings.Join(parts, "; ")
}

func names(set *fieldpath.Set) string {
	var out []string
	more := 0
	set.Iterate(func(p fieldpath.Path) {
		if len(out) == maxFields {
			more++
			return
		}
		out = append(out, p.String())
	})
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

func ownSet(entries []metav1.ManagedFieldsEntry, manager string) *fieldpath.Set {
	for _, e := range entries {
		if e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" {
			return setOf(e)
		}
	}
	return &fieldpath.Set{}
}

func setOf(e metav1.ManagedFieldsEntry) *fieldpath.Set {
	set := &fieldpath.Set{}
	if e.FieldsV1 == nil || set.FromJSON(e.FieldsV1.GetRawReader()) != nil {
		return &fieldpath.Set{}
	}
	return set
}
