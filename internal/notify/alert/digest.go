package alert

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// maxDigest is how many objects a digest describes; the others are counted.
const maxDigest = 50

// Digest makes one event of several about one revision: the last word on each object, failures
// first. All were composed for one Alert. One event stays as it is.
func Digest(alert corev1.ObjectReference, events []*event.Event) *event.Event {
	if len(events) == 1 {
		return events[0]
	}
	last := lastWords(events)
	out := *last[0]
	out.Metadata = common(last)
	if len(last) == 1 {
		return &out
	}
	failed, other := split(last)
	if len(failed) > 0 {
		out.Severity, out.Reason = event.SeverityError, failed[0].Reason
	} else {
		out.Severity, out.Reason = event.SeverityInfo, other[0].Reason
	}
	out.InvolvedObject = alert
	out.Timestamp = events[len(events)-1].Timestamp
	out.Message = summary(failed, other)
	return &out
}

// lastWords keeps the last event about each object, in the order in which the objects came.
func lastWords(events []*event.Event) []*event.Event {
	at := map[string]int{}
	var out []*event.Event
	for _, e := range events {
		if i, ok := at[e.Object()]; ok {
			out[i] = e
			continue
		}
		at[e.Object()] = len(out)
		out = append(out, e)
	}
	return out
}

// common is the metadata that all events have with one value.
func common(events []*event.Event) map[string]string {
	out := map[string]string{}
	for k, v := range events[0].Metadata {
		out[k] = v
	}
	for _, e := range events[1:] {
		for k, v := range out {
			if e.Metadata[k] != v {
				delete(out, k)
			}
		}
	}
	return out
}

func split(events []*event.Event) (failed, other []*event.Event) {
	for _, e := range events {
		if e.IsError() {
			failed = append(failed, e)
		} else {
			other = append(other, e)
		}
	}
	return failed, other
}

func summary(failed, other []*event.Event) string {
	var b strings.Builder
	switch {
	case len(failed) == 0:
		fmt.Fprintf(&b, "%d objects", len(other))
	case len(other) == 0:
		fmt.Fprintf(&b, "%d objects, all of which fail", len(failed))
	default:
		fmt.Fprintf(&b, "%d objects, of which %d fail", len(failed)+len(other), len(failed))
	}
	for i, e := range append(failed, other...) {
		if i == maxDigest {
			fmt.Fprintf(&b, "\nand %d more", len(failed)+len(other)-maxDigest)
			break
		}
		mark := "✔"
		if e.IsError() {
			mark = "✗"
		}
		fmt.Fprintf(&b, "\n%s %s: %s", mark, e.Object(), e.Message)
	}
	return b.String()
}
