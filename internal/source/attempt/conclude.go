package attempt

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Progress of an attempt that makes an artifact.
const (
	building    = "building artifact"
	disappeared = "building artifact: disappeared from storage"
)

// Describe is what Reconciling says of an attempt that failed before it had come to its artifact.
func Describe[T meta.Source](obj T) string {
	if obj.GetArtifact() == nil {
		return building
	}
	return kernel.Processing(obj)
}

// Outdate notes why the artifact of before is not what is wanted, and tells that another is on its way, for the case that
// it takes long.
func (f *Found) Outdate(req Request, reason, message string) {
	f.Outdated = []metav1.Condition{{
		Type: sourcev1.ArtifactOutdatedCondition, Status: metav1.ConditionTrue, Reason: reason, Message: message,
	}}
	text := building + ": " + message
	req.Progress(kernel.Progress{Message: text, Ready: text, Conditions: f.Outdated})
}

// Settle writes what holds after a success and after a failure alike: the artifact that is there.
func (f *Found) Settle(req Request, artifact **meta.Artifact) {
	if *artifact = f.Artifact; f.Artifact == nil {
		f.URL = ""
		req.RemoveCondition(sourcev1.ArtifactInStorageCondition)
	}
}

// Failed concludes an attempt that came to nothing. before is what the status advertised.
func (f *Found) Failed(req Request, before *meta.Artifact, fail *Failure, owned []string) kernel.Outcome {
	for _, c := range f.Outdated {
		req.SetCondition(c.Type, c.Status, c.Reason, c.Message)
	}
	req.Progress(kernel.Progress{Message: f.attempted(before)})
	return fail.Outcome(req, owned)
}

// attempted is what Reconciling says after a failure, empty where the artifact is as it was.
func (f *Found) attempted(before *meta.Artifact) string {
	switch {
	case len(f.Outdated) > 0:
		return building + ": " + f.Outdated[0].Message
	case f.Artifact != nil:
		return ""
	case before != nil:
		return disappeared
	}
	return building
}

// Cure removes the conditions of failures, and tells whether there was one.
func Cure(req Request, owned []string) (recovered bool) {
	for _, c := range owned {
		recovered = recovered || req.Condition(c) != nil
		req.RemoveCondition(c)
	}
	req.RemoveCondition(sourcev1.ArtifactOutdatedCondition)
	return recovered
}

// Words are what a kind says of a success.
type Words struct {
	// Reason and Message of ArtifactInStorage, and so of Ready.
	Reason, Message string
	// News is the event about another content, with NewsReason, "NewArtifact" if that is empty; also told, with
	// RecoveredReason, "Succeeded" if that is empty, of the content of before after a failure.
	News, NewsReason, RecoveredReason string
	// Same is what is told, in Kubernetes only and to somebody who asked, when nothing is new.
	Same, SameReason string
}

// Done concludes an attempt that succeeded:
//
//   - another content is news;
//   - the same content after a failure is a recovery, told in the same way;
//   - the same content, made again because it was lost, is nobody's business: other bytes for the same revision wake no
//     consumer;
//   - nothing new is told in Kubernetes only, and only to somebody who asked.
func (f *Found) Done(req Request, w Words, news, recovered bool) kernel.Outcome {
	req.SetCondition(sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, w.Reason, w.Message)
	o := kernel.Done(w.Reason, w.Message).WithMetadata(map[string]string{"revision": f.Artifact.Revision, "digest": f.Artifact.Digest})
	switch {
	case f.Stored && news:
		return o.WithLog(w.News).WithEvents(kernel.Normal(or(w.NewsReason, "NewArtifact"), w.News, nil))
	case recovered:
		return o.WithLog(w.News).WithEvents(kernel.Normal(or(w.RecoveredReason, meta.SucceededReason), w.News, nil))
	case f.Stored:
		return o.WithLog(w.News)
	}
	same := or(w.Same, fmt.Sprintf("artifact up-to-date with remote revision: '%s'", f.Artifact.Revision))
	e := kernel.Trace(or(w.SameReason, sourcev1.ArtifactUpToDateReason), same, nil)
	e.OnChange = true
	return o.WithLog(same).WithEvents(e)
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}
