package alert

import (
	"strings"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// Compose returns the event as a provider sees it: metadata of the object, of the Alert and of the
// controller under plain keys. The note is about keys that more than one of them sets.
func Compose(a *notificationv1.Alert, e *event.Event) (*event.Event, []Note) {
	object, controller := e.Layers()
	layers := []event.Layer{object, {Name: event.LayerAlert, Values: a.Spec.EventMetadata}}
	if a.Spec.Summary != "" {
		layers = append(layers, event.Layer{Name: event.LayerSummary, Values: map[string]string{event.KeySummary: a.Spec.Summary}})
	}
	merged, conflicts := event.Merge(append(layers, controller)...)
	out := e.With(merged)
	if len(conflicts) == 0 {
		return out, nil
	}
	metadata := make(map[string]string, len(conflicts))
	for key, names := range conflicts {
		metadata[key] = strings.Join(names, ", ")
	}
	return out, []Note{{
		Reason:   ReasonMetadata,
		Message:  "metadata key conflicts detected (please refer to the Alert API docs and Flux RFC 0008 for more information)",
		Metadata: metadata,
	}}
}

// Class of a provider type, as far as it decides which events it gets.
type Class int

// The classes.
const (
	// Message is a chat, an alerting service or a queue.
	Message Class = iota
	// Raw passes events on as they are, those for commit statuses included.
	Raw
	// CommitStatus sets the status of the commit that an event is about.
	CommitStatus
	// ChangeRequest comments on the pull or merge request that an event names.
	ChangeRequest
)

// Refusal says why a provider does not get an event; empty: it does.
type Refusal string

// The refusals.
const (
	NoCommit        Refusal = "event dropped for commit status providers due to missing commit metadata key"
	NoChangeRequest Refusal = "event dropped for change request providers due to missing change request metadata key"
	OnlyStatus      Refusal = "event is for commit status providers only"
)

// Admit decides whether a provider of a class gets an event, which still has its metadata as posted.
func Admit(class Class, e *event.Event) Refusal {
	update := e.Own(event.KeyCommitStatus) == event.CommitStatusUpdate
	switch class {
	case CommitStatus:
		if _, named := e.Annotated(event.KeyCommit); !named && !update && !e.IsError() {
			return NoCommit
		}
	case ChangeRequest:
		if update {
			return OnlyStatus
		}
		if number, _ := e.Annotated(event.KeyChangeRequest); number == "" {
			return NoChangeRequest
		}
	case Message:
		if update {
			return OnlyStatus
		}
	}
	return ""
}
