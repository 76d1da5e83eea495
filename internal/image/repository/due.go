package repository

import (
	"slices"
	"time"

	"github.com/gitops-toolkit/flux/api/meta"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/image/tags"
)

// Why a scan is due.
const (
	dueFirst     = "first scan"
	dueRequested = "reconcile requested"
	dueImage     = "new image name"
	dueExclusion = "updated exclusion list"
	dueNoTags    = "no tags in database"
	dueRetry     = "retry after a failure"
	dueInterval  = "triggered by interval"
)

// slack is how much too early a scan may be.
const slack = time.Second

// due tells why a scan is due, "" and when the next one is if none is. A spec that says the same as before of what is
// scanned does not make one due; a failure does, because the spec may have been mended.
func due(o *imagev1.ImageRepository, requested bool, canonical string, list tags.List, stored bool, now time.Time) (why string, next time.Duration) {
	st := o.Status
	switch {
	case st.LastScanResult == nil:
		return dueFirst, 0
	case requested:
		return dueRequested, 0
	case st.CanonicalImageName != canonical:
		return dueImage, 0
	case !sameSet(st.ObservedExclusionList, o.Spec.ExclusionList):
		return dueExclusion, 0
	case !stored:
		return dueNoTags, 0
	case list.Revision != st.LastScanResult.Revision:
		return dueInterval, 0 // The list was kept, but its status was lost in a crash, or comes from another database.
	case failed(o):
		return dueRetry, 0
	}
	next = list.Scanned.Add(o.GetInterval()).Sub(now)
	if next < min(slack, o.GetInterval()/10) || next > o.GetInterval() {
		return dueInterval, 0
	}
	return "", next
}

func failed(o *imagev1.ImageRepository) bool {
	c := o.Status.Conditions.Get(meta.ReadyCondition)
	return c != nil && c.Status == "False"
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
