package kinds

import (
	"fmt"
	"time"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
)

func imageResource(kind, plural string) cluster.Resource {
	return cluster.Resource{Group: "image.toolkit.fluxcd.io", Version: "v1", Kind: kind, Plural: plural}
}

// Image automation.
var (
	ImageRepository = &Kind{
		Resource: imageResource("ImageRepository", "imagerepositories"),
		New:      newOf[imagev1.ImageRepository](),
		Path:     "image repository", Lists: "images repository", Human: "image repository",
		Verbs:   sourceVerbs,
		Columns: []Column{{"Last scan", on(lastScan)}, suspended},
		Outcome: on(scanned),
	}
	ImagePolicy = &Kind{
		Resource: imageResource("ImagePolicy", "imagepolicies"),
		New:      newOf[imagev1.ImagePolicy](),
		Path:     "image policy", Lists: "images policy", Human: "image policy",
		Verbs: sourceVerbs,
		Columns: []Column{
			{"Image", on(func(o *imagev1.ImagePolicy) string { return latestRef(o).Name })},
			{"Tag", on(func(o *imagev1.ImagePolicy) string { return latestRef(o).Tag })},
		},
		Outcome: on(selected),
		Related: on(func(o *imagev1.ImagePolicy) []Ref {
			ref := o.Spec.ImageRepositoryRef
			return []Ref{at("ImageRepository", ref.Name, ref.Namespace, o.Namespace)}
		}),
	}
	ImageUpdateAutomation = &Kind{
		Resource: imageResource("ImageUpdateAutomation", "imageupdateautomations"),
		New:      newOf[imagev1.ImageUpdateAutomation](),
		Path:     "image update", Lists: "images update", Human: "image update automation",
		Verbs:   sourceVerbs,
		Columns: []Column{{"Last run", on(lastRun)}, suspended},
		Outcome: on(automated),
		Related: on(func(o *imagev1.ImageUpdateAutomation) []Ref {
			ref := o.Spec.SourceRef
			return []Ref{at(ref.Kind, ref.Name, ref.Namespace, o.Namespace)}
		}),
	}
)

func lastScan(o *imagev1.ImageRepository) string {
	if o.Status.LastScanResult == nil {
		return ""
	}
	return timestamp(o.Status.LastScanResult.ScanTime)
}

func lastRun(o *imagev1.ImageUpdateAutomation) string {
	return timestamp(o.Status.LastAutomationRunTime)
}

func timestamp(t *meta.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func scanned(o *imagev1.ImageRepository) string {
	tags := 0
	if o.Status.LastScanResult != nil {
		tags = o.Status.LastScanResult.TagCount
	}
	return fmt.Sprintf("scan fetched %d tags", tags)
}

func latestRef(o *imagev1.ImagePolicy) imagev1.ImageRef {
	if o.Status.LatestRef == nil {
		return imagev1.ImageRef{}
	}
	return *o.Status.LatestRef
}

func selected(o *imagev1.ImagePolicy) string {
	if o.Status.LatestRef == nil {
		return "no image selected"
	}
	return "selected ref " + o.Status.LatestRef.String()
}

func automated(o *imagev1.ImageUpdateAutomation) string {
	if ready := Condition(o, meta.ReadyCondition); ready != nil && ready.Message != "" {
		return ready.Message
	}
	return "last run " + lastRun(o)
}

func init() { register(ImageRepository, ImagePolicy, ImageUpdateAutomation) }
