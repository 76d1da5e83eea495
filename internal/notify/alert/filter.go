// Package alert decides, without side effects, which events an Alert sends and what it adds to them.
//
// A Filter is compiled once for each generation of an Alert. What it needs from the cluster, the
// labels of an object, it asks for through a function; what it finds wrong with the Alert, it
// returns as notes, which become Kubernetes events on the Alert.
package alert

import (
	"context"
	"fmt"
	"regexp"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// Reasons of notes.
const (
	ReasonInvalidConfig     = "InvalidConfig"
	ReasonSourceFetchFailed = "SourceFetchFailed"
	ReasonMetadata          = "MetadataAppendFailed"
)

// Note is something that the owner of an Alert should know.
type Note struct {
	Reason, Message string
	// Metadata of the Kubernetes event.
	Metadata map[string]string
}

// Labels reads the labels of an object that an event is about.
type Labels func(ctx context.Context, e *event.Event) (map[string]string, error)

// Filter is a compiled Alert.
type Filter struct {
	alert                      *notificationv1.Alert
	inclusion                  []*regexp.Regexp
	exclusion                  []*regexp.Regexp
	badInclusion, badExclusion []Note
}

// Compile prepares an Alert for matching. Expressions that do not compile become notes at each
// match, as an inclusion that nothing meets and an exclusion that nothing is subject to.
func Compile(a *notificationv1.Alert) *Filter {
	f := &Filter{alert: a}
	f.inclusion, f.badInclusion = compile("inclusion", a.Spec.InclusionList)
	f.exclusion, f.badExclusion = compile("exclusion", a.Spec.ExclusionList)
	return f
}

func compile(list string, expressions []string) (out []*regexp.Regexp, bad []Note) {
	for _, expression := range expressions {
		re, err := regexp.Compile(expression)
		if err != nil {
			bad = append(bad, Note{Reason: ReasonInvalidConfig, Message: fmt.Sprintf("failed to compile %s regex: %s", list, expression)})
			continue
		}
		out = append(out, re)
	}
	return out, bad
}

// Alert that the filter was compiled from.
func (f *Filter) Alert() *notificationv1.Alert { return f.alert }

// Match tells whether the Alert wants the event.
func (f *Filter) Match(ctx context.Context, e *event.Event, labels Labels) (bool, []Note) {
	if f.alert.Spec.Suspend {
		return false, nil
	}
	wanted, notes := f.matchSources(ctx, e, labels)
	if !wanted {
		return false, notes
	}
	if f.alert.Spec.Transitions != nil && !e.IsError() {
		return true, notes // the lists are about failures; what ends one must not be kept back
	}
	if len(f.alert.Spec.InclusionList) > 0 {
		notes = append(notes, f.badInclusion...)
		if !matchesAny(f.inclusion, e.Message) {
			return false, notes
		}
	}
	notes = append(notes, f.badExclusion...)
	return !matchesAny(f.exclusion, e.Message), notes
}

func matchesAny(expressions []*regexp.Regexp, message string) bool {
	for _, re := range expressions {
		if re.MatchString(message) {
			return true
		}
	}
	return false
}

func (f *Filter) matchSources(ctx context.Context, e *event.Event, labels Labels) (bool, []Note) {
	if f.alert.Spec.EventSeverity == notificationv1.SeverityError && !e.IsError() && f.alert.Spec.Transitions == nil {
		return false, nil
	}
	var notes []Note
	for _, source := range f.alert.Spec.EventSources {
		if !f.names(source, e) {
			continue
		}
		if len(source.MatchLabels) == 0 {
			return true, notes
		}
		have, err := labels(ctx, e)
		if err != nil {
			return false, append(notes, Note{Reason: ReasonSourceFetchFailed, Message: "error getting source object " + e.Object()})
		}
		if includes(have, source.MatchLabels) {
			return true, notes
		}
	}
	return false, notes
}

// names tells whether kind, namespace and name of a source are those of the event's object.
func (f *Filter) names(source notificationv1.CrossNamespaceObjectReference, e *event.Event) bool {
	namespace := source.Namespace
	if namespace == "" {
		namespace = f.alert.Namespace
	}
	o := e.InvolvedObject
	return source.Kind == o.Kind && namespace == o.Namespace && (source.Name == "*" || source.Name == o.Name)
}

func includes(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// CheckNamespace enforces --no-cross-namespace-refs.
func CheckNamespace(a *notificationv1.Alert, e *event.Event) error {
	if e.InvolvedObject.Namespace == a.Namespace {
		return nil
	}
	return fmt.Errorf("discarding event, access denied to cross-namespace sources: alert '%s/%s' can't process event from '%s', cross-namespace references have been blocked",
		a.Namespace, a.Name, e.Object())
}
