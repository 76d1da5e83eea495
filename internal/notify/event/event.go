// Package event is what controllers post and providers deliver: one thing that happened to one
// object, with metadata.
//
// An event travels in three shapes. As posted, metadata keys carry the group of the object
// ("kustomize.toolkit.fluxcd.io/revision") or the prefix of event annotations. Clean leaves only
// those. Merge lays them, together with what an Alert adds, under plain keys ("revision"): that is
// what a provider sees.
package event

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Values of Event.Severity.
const (
	SeverityInfo  = "info"
	SeverityError = "error"
)

// ReasonProgressing is the reason of events that only say that work goes on.
const ReasonProgressing = "Progressing"

// ReasonDeleted is the reason of events that an object which failed is no more.
const ReasonDeleted = "Deleted"

// AnnotationPrefix of metadata that comes from annotations of the object.
const AnnotationPrefix = "event.toolkit.fluxcd.io/"

// Keys of metadata that mean something to this controller, without their prefix.
const (
	KeyRevision       = "revision"
	KeyOriginRevision = "originRevision"
	KeyCommit         = "commit"
	KeyCommitStatus   = "commit_status"
	KeyChangeRequest  = "change_request"
	KeySummary        = "summary"
	KeyOCIDigest      = "oci-digest"
	KeyAppVersion     = "app-version"
	keyToken          = "token"
	keyChecksum       = "checksum"
	keyDigest         = "digest"
)

// CommitStatusUpdate is the value of KeyCommitStatus that keeps an event away from chats.
const CommitStatusUpdate = "update"

// Event is the payload that controllers post, in the JSON of the fact tables.
type Event struct {
	InvolvedObject      corev1.ObjectReference `json:"involvedObject"`
	Severity            string                 `json:"severity"`
	Timestamp           metav1.Time            `json:"timestamp"`
	Message             string                 `json:"message"`
	Reason              string                 `json:"reason"`
	Metadata            map[string]string      `json:"metadata,omitempty"`
	ReportingController string                 `json:"reportingController"`
	ReportingInstance   string                 `json:"reportingInstance,omitempty"`
}

// Decode reads an event as posted.
func Decode(data []byte) (*Event, error) {
	e := &Event{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("the event is not JSON of the expected form: %w", err)
	}
	return e, nil
}

// Group of the object, which is the prefix of its controller's metadata.
func (e *Event) Group() string {
	return schema.FromAPIVersionAndKind(e.InvolvedObject.APIVersion, e.InvolvedObject.Kind).Group
}

// Own returns metadata that the controller gave under its object's group.
func (e *Event) Own(key string) string { return e.Metadata[e.Group()+"/"+key] }

// Annotated returns metadata that comes from an annotation of the object, and whether it is there.
func (e *Event) Annotated(key string) (string, bool) {
	v, ok := e.Metadata[AnnotationPrefix+key]
	return v, ok
}

// IsError tells whether the event reports a failure.
func (e *Event) IsError() bool { return e.Severity == SeverityError }

// Object returns Kind/namespace/name, as errors name it.
func (e *Event) Object() string {
	o := e.InvolvedObject
	return o.Kind + "/" + o.Namespace + "/" + o.Name
}

// Clean drops metadata that is neither of the object's group nor from its annotations, and what
// only controllers need. It returns the token that sets apart events which look the same.
func (e *Event) Clean() (token string) {
	own := e.Group() + "/"
	token = e.Metadata[own+keyToken]
	for k := range e.Metadata {
		foreign := !strings.HasPrefix(k, own) && !strings.HasPrefix(k, AnnotationPrefix)
		if foreign || k == own+keyToken || k == own+keyChecksum || k == own+keyDigest {
			delete(e.Metadata, k)
		}
	}
	return token
}

// Key is what two events have in common when one is a repetition of the other.
func (e *Event) Key(token string) string {
	h := sha256.New()
	o := e.InvolvedObject
	fmt.Fprintf(h, "event/name=%s/namespace=%s/kind=%s/message=%s", o.Name, o.Namespace, o.Kind, e.Message)
	for _, part := range []struct{ name, value string }{
		{KeyOriginRevision, e.Own(KeyOriginRevision)}, {KeyRevision, e.Own(KeyRevision)}, {keyToken, token},
	} {
		if part.value != "" {
			fmt.Fprintf(h, "/%s=%s", part.name, part.value)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Succeeded tells whether the event says that all is well with its object, as opposed to news of a
// step on the way, or of what was done about a failure.
func (e *Event) Succeeded() bool {
	switch e.Reason {
	case "RollbackSucceeded", "UninstallSucceeded":
		return false
	case "NewArtifact", "ArtifactUpToDate", "Ready":
		return !e.IsError()
	}
	return !e.IsError() && (strings.HasSuffix(e.Reason, "Succeeded") || strings.HasSuffix(e.Reason, "Succeed"))
}

// Brief is what has to be kept of a failure that was told: about whom, by whom, and what people wrote on the object.
func (e *Event) Brief() *Event {
	out := &Event{
		InvolvedObject: e.InvolvedObject, Severity: e.Severity, Timestamp: e.Timestamp, Reason: e.Reason,
		ReportingController: e.ReportingController, ReportingInstance: e.ReportingInstance,
	}
	for k, v := range e.Metadata {
		if strings.HasPrefix(k, AnnotationPrefix) {
			if out.Metadata == nil {
				out.Metadata = map[string]string{}
			}
			out.Metadata[k] = v
		}
	}
	return out
}

// Recovered is the event that an object of which e says that it fails works again, or is no more, in the words of
// its condition.
func (e *Event) Recovered(now time.Time, reason, message, revision string) *Event {
	out := e.Brief()
	out.Severity, out.Timestamp, out.Reason, out.Message = SeverityInfo, metav1.NewTime(now), reason, message
	if revision != "" {
		if out.Metadata == nil {
			out.Metadata = map[string]string{}
		}
		out.Metadata[e.Group()+"/"+KeyRevision] = revision
	}
	return out
}
