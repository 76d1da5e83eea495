package kernel

// EventType says where an event goes.
type EventType string

// The types of events.
const (
	// EventNormal is recorded in Kubernetes as Normal and posted with severity info.
	EventNormal EventType = "Normal"
	// EventWarning is recorded in Kubernetes as Warning and posted with severity error.
	EventWarning EventType = "Warning"
	// EventTrace is recorded in Kubernetes as Normal and never posted.
	EventTrace EventType = "Trace"
)

// Event is something that happened to an object and is worth telling.
type Event struct {
	Type EventType
	// Reason in upper camel case; empty takes the reason of the object's Ready condition at
	// that moment, or the severity where there is none.
	Reason  string
	Message string
	// Metadata keys are given without the object's group ("revision", "originRevision",
	// "commit_status"); the kernel adds "<group>/". Keys that contain a slash stay as they are.
	Metadata map[string]string
	// OnChange drops the event unless a request by annotation was handled, Ready changed, or
	// the gate PeriodicEvents asks for upstream's cadence. The finish event uses it, without it
	// for a new revision.
	OnChange bool
}

// Normal returns an event of severity info.
func Normal(reason, message string, metadata map[string]string) Event {
	return Event{Type: EventNormal, Reason: reason, Message: message, Metadata: metadata}
}

// Warning returns an event of severity error.
func Warning(reason, message string, metadata map[string]string) Event {
	return Event{Type: EventWarning, Reason: reason, Message: message, Metadata: metadata}
}

// Trace returns an event that stays in Kubernetes and is not posted.
func Trace(reason, message string, metadata map[string]string) Event {
	return Event{Type: EventTrace, Reason: reason, Message: message, Metadata: metadata}
}
