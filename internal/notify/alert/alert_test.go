package alert

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

const group = "kustomize.toolkit.fluxcd.io"

func sample(change func(*event.Event)) *event.Event {
	e := &event.Event{
		InvolvedObject: corev1.ObjectReference{APIVersion: group + "/v1", Kind: "Kustomization", Namespace: "apps", Name: "web"},
		Severity:       "info", Message: "ConfigMap/apps/web created", Metadata: map[string]string{},
	}
	if change != nil {
		change(e)
	}
	return e
}

func source(kind, namespace, name string, labels ...string) notificationv1.CrossNamespaceObjectReference {
	ref := notificationv1.CrossNamespaceObjectReference{Kind: kind, Namespace: namespace, Name: name}
	for i := 0; i+1 < len(labels); i += 2 {
		if ref.MatchLabels == nil {
			ref.MatchLabels = map[string]string{}
		}
		ref.MatchLabels[labels[i]] = labels[i+1]
	}
	return ref
}

func TestMatch(t *testing.T) {
	t.Parallel()
	all := []notificationv1.CrossNamespaceObjectReference{source("Kustomization", "", "*")}
	tests := []struct {
		reason string
		spec   notificationv1.AlertSpec
		event  func(*event.Event)
		labels Labels
		want   bool
		notes  string
	}{
		{reason: "a wildcard takes all names", spec: notificationv1.AlertSpec{EventSources: all}, want: true},
		{reason: "a suspended alert takes none", spec: notificationv1.AlertSpec{Suspend: true, EventSources: all}},
		{reason: "a name must be equal", spec: notificationv1.AlertSpec{EventSources: []notificationv1.CrossNamespaceObjectReference{source("Kustomization", "", "we")}}},
		{reason: "a kind must be equal", spec: notificationv1.AlertSpec{EventSources: []notificationv1.CrossNamespaceObjectReference{source("HelmRelease", "", "*")}}},
		{reason: "a namespace must be equal", spec: notificationv1.AlertSpec{EventSources: []notificationv1.CrossNamespaceObjectReference{source("Kustomization", "other", "*")}}},
		{reason: "one of several sources is enough", spec: notificationv1.AlertSpec{EventSources: []notificationv1.CrossNamespaceObjectReference{
			source("Kustomization", "other", "*"), source("Kustomization", "apps", "web")}}, want: true},
		{reason: "severity error drops information", spec: notificationv1.AlertSpec{EventSeverity: "error", EventSources: all}},
		{reason: "severity error takes errors", spec: notificationv1.AlertSpec{EventSeverity: "error", EventSources: all},
			event: func(e *event.Event) { e.Severity = "error" }, want: true},
		{reason: "severity info takes errors too", spec: notificationv1.AlertSpec{EventSeverity: "info", EventSources: all},
			event: func(e *event.Event) { e.Severity = "error" }, want: true},
		{reason: "labels must be there", spec: notificationv1.AlertSpec{EventSources: []notificationv1.CrossNamespaceObjectReference{source("Kustomization", "", "*", "team", "a")}},
			labels: func(context.Context, *event.Event) (map[string]string, error) {
				return map[string]string{"team": "b"}, nil
			}},
		{reason: "labels that are there match", spec: notificationv1.AlertSpec{EventSources: []notificationv1.CrossNamespaceObjectReference{source("Kustomization", "", "web", "team", "a")}},
			labels: func(context.Context, *event.Event) (map[string]string, error) {
				return map[string]string{"team": "a", "x": "y"}, nil
			}, want: true},
		{reason: "labels that cannot be read match nothing and are told", spec: notificationv1.AlertSpec{EventSources: []notificationv1.CrossNamespaceObjectReference{source("Kustomization", "", "*", "team", "a")}},
			labels: func(context.Context, *event.Event) (map[string]string, error) { return nil, errors.New("gone") },
			notes:  "SourceFetchFailed: error getting source object Kustomization/apps/web"},
		{reason: "an inclusion must match", spec: notificationv1.AlertSpec{EventSources: all, InclusionList: []string{"deleted", "created$"}}, want: true},
		{reason: "an inclusion that does not match drops", spec: notificationv1.AlertSpec{EventSources: all, InclusionList: []string{"^deleted"}}},
		{reason: "a bad inclusion matches nothing", spec: notificationv1.AlertSpec{EventSources: all, InclusionList: []string{"("}},
			notes: "InvalidConfig: failed to compile inclusion regex: ("},
		{reason: "an exclusion beats an inclusion", spec: notificationv1.AlertSpec{EventSources: all, InclusionList: []string{"created"}, ExclusionList: []string{"^ConfigMap"}}},
		{reason: "a bad exclusion is ignored", spec: notificationv1.AlertSpec{EventSources: all, ExclusionList: []string{"["}}, want: true,
			notes: "InvalidConfig: failed to compile exclusion regex: ["},
	}
	for _, tt := range tests {
		a := &notificationv1.Alert{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "all"}, Spec: tt.spec}
		got, notes := Compile(a).Match(t.Context(), sample(tt.event), tt.labels)
		var said []string
		for _, n := range notes {
			said = append(said, n.Reason+": "+n.Message)
		}
		if got != tt.want || strings.Join(said, "\n") != tt.notes {
			t.Errorf("%s: matched %v, notes %q", tt.reason, got, said)
		}
	}
}

func TestCheckNamespace(t *testing.T) {
	t.Parallel()
	a := &notificationv1.Alert{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "all"}}
	want := "discarding event, access denied to cross-namespace sources: alert 'flux-system/all' can't process event from 'Kustomization/apps/web', cross-namespace references have been blocked"
	if err := CheckNamespace(a, sample(nil)); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	a.Namespace = "apps"
	if err := CheckNamespace(a, sample(nil)); err != nil {
		t.Errorf("the own namespace is refused: %v", err)
	}
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	own := func(k, v string) func(*event.Event) { return func(e *event.Event) { e.Metadata[group+"/"+k] = v } }
	noted := func(k, v string) func(*event.Event) {
		return func(e *event.Event) { e.Metadata[event.AnnotationPrefix+k] = v }
	}
	failed := func(e *event.Event) { e.Severity = "error" }
	tests := []struct {
		reason string
		class  Class
		event  func(*event.Event)
		want   Refusal
	}{
		{"chats get ordinary events", Message, nil, ""},
		{"status updates stay away from chats", Message, own("commit_status", "update"), OnlyStatus},
		{"status updates reach generic providers", Raw, own("commit_status", "update"), ""},
		{"status updates reach commit statuses", CommitStatus, own("commit_status", "update"), ""},
		{"errors reach commit statuses", CommitStatus, failed, ""},
		{"events that name a commit reach commit statuses", CommitStatus, noted("commit", ""), ""},
		{"ordinary events do not reach commit statuses", CommitStatus, nil, NoCommit},
		{"comments need a number", ChangeRequest, failed, NoChangeRequest},
		{"an empty number is none", ChangeRequest, noted("change_request", ""), NoChangeRequest},
		{"a number is enough", ChangeRequest, noted("change_request", "7"), ""},
	}
	for _, tt := range tests {
		if got := Admit(tt.class, sample(tt.event)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

// The end of a failure reaches chats, although the event is one for commit statuses.
func TestTell(t *testing.T) {
	t.Parallel()
	update := sample(func(e *event.Event) {
		e.Reason, e.Metadata[group+"/commit_status"] = "ReconciliationSucceeded", "update"
	})
	for class, want := range map[Class]Refusal{Message: "", Raw: "", CommitStatus: "", ChangeRequest: NoChangeRequest} {
		told := Tell(class, Marked(update, Resolved))
		if got := Admit(class, told); got != want {
			t.Errorf("class %d: %q, want %q", class, got, want)
		}
		if kept := told.Own(event.KeyCommitStatus) != ""; kept != (class == Raw || class == CommitStatus) {
			t.Errorf("class %d: %v", class, told.Metadata)
		}
	}
	if got := Admit(Message, Tell(Message, update)); got != OnlyStatus {
		t.Errorf("an update that ends nothing: %q", got)
	}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	a := &notificationv1.Alert{Spec: notificationv1.AlertSpec{EventMetadata: map[string]string{"env": "alert", "summary": "s1"}, Summary: "s2"}}
	e := sample(func(e *event.Event) {
		e.Metadata[group+"/revision"] = "r"
		e.Metadata[event.AnnotationPrefix+"env"] = "object"
	})
	out, notes := Compose(a, e)
	if out.Metadata["env"] != "alert" || out.Metadata["summary"] != "s2" || out.Metadata["revision"] != "r" || len(out.Metadata) != 3 {
		t.Errorf("metadata %v", out.Metadata)
	}
	if len(notes) != 1 || notes[0].Reason != ReasonMetadata || notes[0].Metadata["env"] != event.LayerObject+", "+event.LayerAlert {
		t.Errorf("notes %v", notes)
	}
	if e.Metadata[group+"/revision"] != "r" {
		t.Error("the event of the others was changed")
	}
}
