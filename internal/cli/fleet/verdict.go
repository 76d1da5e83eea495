package fleet

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// Verdict is what became of an object.
type Verdict string

// The verdicts.
const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped"
)

// judged is the verdict on an object and why.
type judged struct {
	verdict Verdict
	message string
}

// jury decides over all objects at once, because one may excuse another.
type jury struct {
	states map[kinds.Ref]*state
	// missing are the kinds whose controllers do not run, with the component that is missing.
	missing map[string]string
	// local are the sources that lie in the repository.
	local func(*state) bool
	done  map[kinds.Ref]judged
	busy  map[kinds.Ref]bool
}

func newJury(all []*state, missing map[string]string, local func(*state) bool) *jury {
	return &jury{states: byRef(all), missing: missing, local: local, done: map[kinds.Ref]judged{}, busy: map[kinds.Ref]bool{}}
}

// decide gives the verdict on one object.
func (j *jury) decide(s *state) judged {
	if v, ok := j.done[s.ref]; ok {
		return v
	}
	if j.busy[s.ref] {
		return judged{Failed, s.text()} // a circle: its members say so themselves
	}
	j.busy[s.ref] = true
	v := j.verdict(s)
	j.done[s.ref] = v
	return v
}

func (j *jury) verdict(s *state) judged {
	component, homeless := j.missing[s.ref.Kind]
	switch {
	case s.phase == ready:
		return judged{Passed, s.message}
	case s.phase == asleep:
		return judged{Skipped, s.message}
	case homeless:
		return judged{Failed, fmt.Sprintf("no controller looks after it: %s is not among the components of the repository", component)}
	case s.phase == stalled && s.reason != "RetriesExceeded":
		return judged{Failed, s.text()}
	}
	if excuse, ok := j.excuse(s); ok {
		return judged{Skipped, excuse}
	}
	if s.phase == working {
		return judged{Failed, "not finished in time; it said last: " + s.text()}
	}
	return judged{Failed, s.text()}
}

// excuse finds what an object cannot be blamed for: a source beyond reach, a need that did not pass, a
// webhook that no simulated pod answers.
func (j *jury) excuse(s *state) (string, bool) {
	if fetches(s.kind) && s.ref.Kind != kinds.HelmChart.Kind && !j.local(s) {
		return "it cannot be reached from here: " + s.text() + s.hint(), true
	}
	if strings.Contains(s.message, "failed calling webhook") {
		return "its admission webhook runs in a pod that is only simulated: " + s.message, true
	}
	for _, ref := range s.needs() {
		need, ok := j.states[ref]
		if !ok {
			continue // the object says itself what it misses
		}
		if v := j.decide(need); v.verdict != Passed {
			return fmt.Sprintf("it needs %s, which %s", ref, ended[v.verdict]), true
		}
	}
	if text, ok := j.unhealthy(s); ok {
		return text, true
	}
	if source, ok := j.states[s.source()]; ok && s.ref.Kind == kinds.HelmChart.Kind && !j.local(source) {
		return "its chart cannot be reached from here: " + s.text(), true
	}
	return "", false
}

var notHealthy = regexp.MustCompile(`([A-Z]\w*)/([^\s/,\[]+)/([^\s/,]+) status: '`)

// unhealthy excuses a Kustomization that waits for nothing but objects which have a verdict of their own.
func (j *jury) unhealthy(s *state) (string, bool) {
	var refs []kinds.Ref
	switch {
	case s.held(j.states):
		refs = s.owned
	case s.reason == "HealthCheckFailed":
		for _, m := range notHealthy.FindAllStringSubmatch(s.message, -1) {
			ref := kinds.Ref{Kind: m[1], Namespace: m[2], Name: m[3]}
			if j.states[ref] == nil {
				return "", false
			}
			refs = append(refs, ref)
		}
	}
	var texts []string
	for _, ref := range refs {
		if other := j.states[ref]; other != nil {
			if v := j.decide(other); v.verdict != Passed {
				texts = append(texts, fmt.Sprintf("%s, which %s", ref, ended[v.verdict]))
			}
		}
	}
	if len(texts) == 0 {
		return "", false
	}
	return "it was applied, and waits for the health of " + strings.Join(texts, ", and of "), true
}

var ended = map[Verdict]string{Failed: "failed", Skipped: "was skipped"}

// fetches tells whether objects of the kind reach out of the cluster.
// hint says how a source that is far away can be had.
func (s *state) hint() string {
	if !servable(s.ref.Kind) {
		return ""
	}
	return fmt.Sprintf("; a directory stands for it with --source %s=<directory>", s.ref)
}

func fetches(k *kinds.Kind) bool {
	return slices.Contains(kinds.Sources(), k) && k != kinds.ExternalArtifact || k == kinds.ImageRepository
}

func (s *state) text() string {
	switch {
	case s.reason == "" && s.message == "":
		return "no controller has looked at it"
	case s.reason == "":
		return s.message
	}
	return s.reason + ": " + s.message
}
