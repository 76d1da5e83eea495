package tracker

import (
	"strings"
	"testing"
	"time"
)

const target = `apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: $NS, labels: {tier: front}, annotations: {note: git}}
data: {k: git, l: git}
---
apiVersion: v1
kind: Secret
metadata: {name: app, namespace: $NS}
stringData: {password: git}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: $NS}
spec: {selector: {app: app}, ports: [{name: a, port: 80}, {name: b, port: 81}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: $NS}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: c, image: "example.com/app:1", args: [a, b], env: [{name: A, value: a}, {name: B, value: b}]}]}`

// edit is one thing that another client does to an owned object.
type edit struct {
	reason string
	// upstream is what upstream does about it at its next interval, checked by the rule of the tables.
	upstream string
	do       func(b *bench)
	// state is what the watch makes of it, or InStep.
	state State
	// requests and changes are those of the pass that follows: at once for Taken, Gone and Moved, at
	// the interval for the others.
	requests, changes string
}

const none = ""

// What upstream does at its interval.
const (
	leftAlone   = "left alone"
	putBack     = "put back"
	takenOut    = "taken out"
	createdAnew = "created anew"
)

var edits = []edit{
	// Values of owned fields.
	{"merge patch of a value", putBack, func(b *bench) { b.patch("cm", "someone", `{"data":{"k":"x"}}`) }, Taken, "1 apply", "configured: .data.k taken by someone at TIME"},
	{"JSON patch of a value", putBack, func(b *bench) { b.jsonPatch("cm", "someone", `[{"op":"replace","path":"/data/k","value":"x"}]`) }, Taken, "1 apply", "configured: .data.k taken by someone at TIME"},
	{"kubectl edit of a value", putBack, func(b *bench) { b.patch("cm", "kubectl-edit", `{"data":{"k":"x"}}`) }, Taken, "1 dry-run, 1 apply", "configured: .data.k taken by kubectl-edit at TIME"},
	{"two values", putBack, func(b *bench) { b.patch("cm", "someone", `{"data":{"k":"x","l":"y"}}`) }, Taken, "1 apply", "configured: .data.k, .data.l taken by someone at TIME"},
	{"a key removed", putBack, func(b *bench) { b.patch("cm", "someone", `{"data":{"k":null}}`) }, Taken, "1 apply", "configured: .data.k removed"},
	{"all data removed", putBack, func(b *bench) { b.patch("cm", "someone", `{"data":null}`) }, Taken, "1 apply", "configured: .data.k, .data.l removed"},
	{"a value changed and changed back", leftAlone, func(b *bench) {
		b.patch("cm", "someone", `{"data":{"k":"x"}}`)
		b.patch("cm", "someone", `{"data":{"k":"git"}}`)
	}, Taken, "1 apply", "configured: .data.k taken by someone at TIME"},
	{"forced apply by another manager", putBack, func(b *bench) {
		b.applyAs("cm", "someone", "{apiVersion: v1, kind: ConfigMap, metadata: {name: app, namespace: $NS}, data: {k: x}}")
	}, Taken, "1 apply", "configured: .data.k taken by someone at TIME"},
	{"co-ownership by an equal apply", leftAlone, func(b *bench) {
		b.applyAs("cm", "someone", "{apiVersion: v1, kind: ConfigMap, metadata: {name: app, namespace: $NS}, data: {k: git}}")
	}, InStep, none, none},
	{"another apply under our own name", putBack, func(b *bench) {
		nextSecond()
		b.applyAs("cm", manager, "{apiVersion: v1, kind: ConfigMap, metadata: {name: app, namespace: $NS, labels: {GROUP/name: app, GROUP/namespace: $NS}}, data: {k: x}}")
	}, Taken, "1 apply", "ANY"},
	{"managedFields cleared", leftAlone, func(b *bench) { b.patch("cm", "someone", `{"metadata":{"managedFields":[{}]}}`) }, Taken, "1 dry-run, 1 apply, 1 get, 1 patch", "ANY"},
	{"kubectl replace of a value", putBack, func(b *bench) { b.update("cm", "kubectl-replace", "x", "data", "k") }, Taken, "1 dry-run, 1 apply", "configured: .data.k taken by kubectl-replace at TIME"},
	{"kubectl apply of another value", putBack, func(b *bench) {
		b.patch("cm", "kubectl-client-side-apply", `{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"data":{"k":"x"}}`)
	}, Taken, "1 dry-run, 1 apply, 1 get, 1 patch", "configured: .data.k taken by kubectl-client-side-apply at TIME"},
	// Secrets.
	{"a Secret's value", putBack, func(b *bench) { b.patch("secret", "someone", `{"stringData":{"password":"x"}}`) }, Taken, "1 apply", "configured: .data.password taken by someone at TIME"},
	{"a key added to a Secret", leftAlone, func(b *bench) { b.patch("secret", "someone", `{"stringData":{"other":"x"}}`) }, InStep, none, none},
	// Labels and annotations.
	{"an owned label changed", putBack, func(b *bench) { b.patch("cm", "someone", `{"metadata":{"labels":{"tier":"x"}}}`) }, Taken, "1 apply", "configured: .metadata.labels.tier taken by someone at TIME"},
	{"an owned label removed", putBack, func(b *bench) { b.patch("cm", "someone", `{"metadata":{"labels":{"tier":null}}}`) }, Taken, "1 apply", "configured: .metadata.labels.tier removed"},
	{"an owned annotation changed", putBack, func(b *bench) { b.patch("cm", "someone", `{"metadata":{"annotations":{"note":"x"}}}`) }, Taken, "1 apply", "configured: .metadata.annotations.note taken by someone at TIME"},
	{"a label added", leftAlone, func(b *bench) { b.patch("cm", "someone", `{"metadata":{"labels":{"other":"x"}}}`) }, InStep, none, none},
	{"an annotation added", leftAlone, func(b *bench) { b.patch("svc", "someone", `{"metadata":{"annotations":{"other":"x"}}}`) }, InStep, none, none},
	{"an annotation added to a Deployment", leftAlone, func(b *bench) { b.patch("deploy", "someone", `{"metadata":{"annotations":{"other":"x"}}}`) }, Moved, "1 dry-run", none},
	{"the owner label removed", putBack, func(b *bench) { b.patch("cm", "someone", `{"metadata":{"labels":{"GROUP/name":null}}}`) }, Gone, "1 dry-run, 1 apply", "ANY"},
	{"another owner's labels", putBack, func(b *bench) { b.patch("cm", "someone", `{"metadata":{"labels":{"GROUP/name":"other"}}}`) }, Elsewhere, "1 dry-run, 1 apply", "ANY"},
	// Fields that are not ours.
	{"a key added", leftAlone, func(b *bench) { b.patch("cm", "someone", `{"data":{"other":"x"}}`) }, InStep, none, none},
	{"kubectl edit adds a key", takenOut, func(b *bench) { b.patch("cm", "kubectl-edit", `{"data":{"other":"x"}}`) }, Foreign, "1 dry-run, 1 apply, 1 get, 1 patch", "configured"},
	{"a finalizer added", leftAlone, func(b *bench) {
		b.patch("cm", "someone", `{"metadata":{"finalizers":["example.com/x"]}}`)
		b.t.Cleanup(func() { b.patch("cm", "someone", `{"metadata":{"finalizers":null}}`) })
	}, InStep, none, none},
	{"status of a workload", leftAlone, func(b *bench) {
		b.patch("deploy", "someone", `{"status":{"conditions":[{"type":"X","status":"True","lastTransitionTime":null,"lastUpdateTime":null}]}}`, "status")
	}, InStep, none, none},
	// Deletion.
	{"deleted", createdAnew, func(b *bench) { b.del("cm") }, Gone, "1 dry-run, 1 apply", "created"},
	{"deleted Deployment", createdAnew, func(b *bench) { b.del("deploy") }, Gone, "1 dry-run, 1 apply", "created"},
	{"replaced by another of the same name", putBack, func(b *bench) {
		b.del("cm")
		b.applyAs("cm", "someone", "{apiVersion: v1, kind: ConfigMap, metadata: {name: app, namespace: $NS, labels: {GROUP/name: app, GROUP/namespace: $NS}}, data: {k: git}}")
	}, Taken, "1 dry-run, 1 apply", "ANY"},
	// Workloads and lists.
	{"scale by subresource", putBack, func(b *bench) { b.patch("deploy", "someone", `{"spec":{"replicas":5}}`, "scale") }, Taken, "1 apply", "configured: .spec.replicas taken by someone"},
	// A Scale leaves a zero out, so the server notes no new owner.
	{"scale to zero", putBack, func(b *bench) { b.patch("deploy", "someone", `{"spec":{"replicas":0}}`, "scale") }, Taken, "1 apply", "configured: .spec.replicas removed"},
	{"an image", putBack, func(b *bench) {
		b.jsonPatch("deploy", "someone", `[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"x"}]`)
	}, Taken, "1 apply", `configured: .spec.template.spec.containers[name="c"].image taken by someone at TIME`},
	{"an item of an atomic list", putBack, func(b *bench) {
		b.jsonPatch("deploy", "someone", `[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"x"}]`)
	}, Taken, "1 apply", `configured: .spec.template.spec.containers[name="c"].args taken by someone at TIME`},
	{"an atomic list reordered", putBack, func(b *bench) {
		b.jsonPatch("deploy", "someone", `[{"op":"replace","path":"/spec/template/spec/containers/0/args","value":["b","a"]}]`)
	}, Taken, "1 apply", `configured: .spec.template.spec.containers[name="c"].args taken by someone at TIME`},
	{"an associative list reordered", putBack, func(b *bench) {
		nextSecond() // only the second of the server's stamp tells
		b.jsonPatch("deploy", "someone", `[{"op":"replace","path":"/spec/template/spec/containers/0/env","value":[{"name":"B","value":"b"},{"name":"A","value":"a"}]}]`)
	}, Moved, "1 dry-run, 1 apply, 1 get", "configured"},
	{"an item removed from an associative list", putBack, func(b *bench) {
		b.jsonPatch("deploy", "someone", `[{"op":"remove","path":"/spec/template/spec/containers/0/env/0"}]`)
	}, Taken, "1 apply", "ANY"},
	{"an item added to an associative list", leftAlone, func(b *bench) {
		b.jsonPatch("deploy", "someone", `[{"op":"add","path":"/spec/template/spec/containers/0/env/-","value":{"name":"C","value":"c"}}]`)
	}, Moved, "1 dry-run", none},
	{"a sidecar injected", leftAlone, func(b *bench) {
		b.jsonPatch("deploy", "injector", `[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"side","image":"s"}}]`)
	}, Moved, "1 dry-run", none},
	{"kubectl edit adds a sidecar", takenOut, func(b *bench) {
		b.jsonPatch("deploy", "kubectl-edit", `[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"side","image":"s"}}]`)
	}, Foreign, "ANY", "configured"}, // the rollout changes the object while it is cleaned up
	{"kubectl rollout restart", takenOut, func(b *bench) {
		b.patch("deploy", "kubectl-rollout", `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"now"}}}}}`)
	}, Moved, "1 dry-run", none},
	{"an unset field set", leftAlone, func(b *bench) { b.patch("deploy", "someone", `{"spec":{"minReadySeconds":1}}`) }, Moved, "1 dry-run", none},
	{"a port changed", putBack, func(b *bench) {
		b.jsonPatch("svc", "someone", `[{"op":"replace","path":"/spec/ports/0/targetPort","value":90}]`)
	}, Taken, "1 apply", "ANY"},
	{"a selector added to a Service", putBack, func(b *bench) { b.patch("svc", "someone", `{"spec":{"selector":{"x":"y"}}}`) }, Taken, "1 apply", "configured: .spec.selector taken by someone at TIME"},
	{"a Service's type", leftAlone, func(b *bench) { b.patch("svc", "someone", `{"spec":{"type":"NodePort"}}`) }, InStep, none, none},
}

// TestEdits makes each edit and shows what the watch makes of it, what the pass that follows puts
// back, and what that costs.
func TestEdits(t *testing.T) {
	t.Parallel()
	for _, e := range edits {
		t.Run(e.reason, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.install(target)
			b.age()
			editOn(b, &e)
		})
	}
}

func editOn(b *bench, e *edit) { editIn(b, target, e) }

// editIn makes the edit on one of the documents that were installed.
func editIn(b *bench, docs string, e *edit) {
	b.t.Helper()
	e.do(b)
	if e.state == InStep {
		b.patchMarker()
	} else {
		b.await("the watch shows the edit as "+e.state.String(), func() bool {
			d := b.owner.Drifts()
			return len(d) == 1 && d[0].State == e.state
		})
	}
	if got := b.upstream(docs); got != e.upstream {
		b.t.Errorf("upstream: %s, want %s", got, e.upstream)
	}
	view := b.owner.AtRevision()
	if e.now() {
		b.awaitNotify()
	} else {
		before := b.owner.Drifts()
		if changes, requests := b.pass(docs, view); changes != none || requests != none {
			b.t.Errorf("before the interval: %s with %s for %v", changes, requests, before)
		}
		view = b.owner.AtInterval()
	}
	changes, requests := b.pass(docs, view)
	// A controller that writes the object at the same moment makes the first apply, which names the version, fail.
	overtaken := e.requests == "1 apply" && requests == "1 dry-run, 2 apply"
	if e.requests != "ANY" && requests != e.requests && !overtaken {
		b.t.Errorf("requests %q, want %q", requests, e.requests)
	}
	if e.changes != "ANY" && stamp(changes) != e.changes {
		b.t.Errorf("changes %q, want %q", stamp(changes), e.changes)
	}
	b.await("all is in step again", func() bool { return len(b.owner.Drifts()) == 0 })
	if changes, requests := b.pass(docs, b.owner.AtInterval()); changes+requests != "" {
		b.t.Errorf("the next interval: %s with %s", changes, requests)
	}
}

// now says that the edit is looked at when it happens.
func (e *edit) now() bool { return e.state == Taken || e.state == Gone || e.state == Moved }

// patchMarker makes the watch move on: what happened before it was seen when it is.
func (b *bench) patchMarker() {
	b.t.Helper()
	for _, kind := range b.kinds {
		b.patch(kind, "marker", `{"metadata":{"labels":{"marker":"x"}}}`)
	}
	b.await("the watch is up to date", func() bool {
		b.tracker.mu.Lock()
		defer b.tracker.mu.Unlock()
		for id, obj := range b.owner.objects {
			l := b.tracker.kinds[obj.kind].live[id]
			if l == nil || l.version == obj.record.ResourceVersion {
				return false
			}
		}
		return true
	})
}

// age makes the records older than the resolution of the server's clock.
func (b *bench) age() {
	b.tracker.mu.Lock()
	defer b.tracker.mu.Unlock()
	for _, obj := range b.owner.objects {
		obj.record.At = obj.record.At.Add(-time.Minute)
	}
}

// stamp replaces the time in an explanation.
func stamp(text string) string {
	for {
		i := strings.Index(text, " at 20")
		if i < 0 {
			return text
		}
		text = text[:i] + " @TIME" + text[i+len(" at 2006-01-02T15:04:05Z"):]
		text = strings.Replace(text, "@TIME", "at TIME", 1)
	}
}
