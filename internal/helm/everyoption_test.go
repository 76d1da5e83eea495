package helm_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
)

// choices is a chart whose values bring about what the options are about.
func choices() map[string]string {
	stuckPod := `
    spec:
      restartPolicy: %s
      nodeSelector: {no: such}
      containers: [{name: c, image: "none:1"}]
`
	return demo("1.0.0", map[string]string{
		"values.schema.json":   `{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"message":{"type":"string"}}}`,
		"templates/hook.yaml":  "{{ if .Values.hooks }}\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-hook\n  annotations: {helm.sh/hook: \"{{ .Values.hooks }}\"}\ndata: {ran: \"yes\"}\n{{ end }}\n",
		"templates/fresh.yaml": "{{ if .Values.fresh }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-fresh}\ndata: {fresh: \"yes\"}\n{{ end }}\n",
		"templates/odd.yaml":   "{{ if .Values.odd }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-odd}\ndata: {odd: \"yes\"}\ndatum: {a: b}\n{{ end }}\n",
		"templates/bad.yaml":   "{{ if .Values.invalid }}\napiVersion: v1\nkind: Service\nmetadata: {name: {{ .Release.Name }}}\nspec: {ports: [{port: 99999}]}\n{{ end }}\n",
		"templates/held.yaml":  "{{ if .Values.held }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-held, finalizers: [example.com/held]}\ndata: {held: \"yes\"}\n{{ end }}\n",
		// Hooks: a Deployment with the name of that of the release, and then a mistake.
		"templates/rival.yaml": "{{ if .Values.rival }}\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\n  annotations: {helm.sh/hook: \"{{ .Values.rival }}\"}\nspec:\n  replicas: 0\n" +
			"  selector: {matchLabels: {app: rival}}\n  template:\n    metadata: {labels: {app: rival}}" + fmt.Sprintf(stuckPod, "Always") +
			"---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}-rival\n  annotations: {helm.sh/hook: \"{{ .Values.rival }}\", helm.sh/hook-weight: \"1\"}\nspec: {ports: [{port: 99999}]}\n{{ end }}\n",
		"templates/deployment.yaml": "{{ if .Values.deployment }}\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n  replicas: {{ .Values.deployment }}\n" +
			"{{- if .Values.mayMiss }}\n  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}\n{{- end }}\n" +
			"  selector: {matchLabels: {app: {{ .Values.app | default \"a\" }}}}\n  template:\n    metadata: {labels: {app: {{ .Values.app | default \"a\" }}}}" + fmt.Sprintf(stuckPod, "Always") + "{{ end }}\n",
		"templates/job.yaml": "{{ if .Values.job }}\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {{ .Release.Name }}\n" +
			"{{- if ne .Values.job \"plain\" }}\n  annotations: {helm.sh/hook: \"{{ .Values.job }}\"}\n{{- end }}\nspec:\n  template:" + fmt.Sprintf(stuckPod, "Never") + "{{ end }}\n",
	})
}

type (
	spec = helmv2.HelmReleaseSpec
	// choice is an option and what shows that it is honoured.
	choice struct {
		// before is done before anything else.
		before func(l *lab, name string)
		// set sets the option, values are what the release begins with.
		set    func(*spec)
		values string
		// fails is part of the message with which the first action fails, for the reason; it succeeds where empty.
		fails, reason string
		// then changes the spec after the first action; thenFails is part of the message with which the upgrade fails.
		then      func(*spec)
		thenFails string
		// check looks after the last action, and is told whether the option was set.
		check func(t *testing.T, l *lab, name string)
	}
)

func shortly() *meta.Duration { return meta.DurationPtr(time.Second) }

// patient is for tests of shorter times: it does not end while a test waits.
func patient() *meta.Duration { return meta.DurationPtr(10 * time.Minute) }

// foreign makes a ConfigMap that no release owns.
func foreign(suffix string) func(*lab, string) {
	return func(l *lab, name string) {
		l.t.Helper()
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name + suffix}}
		if err := l.client.Create(l.t.Context(), cm); err != nil {
			l.t.Fatal(err)
		}
	}
}

func present(suffix string, want bool) func(*testing.T, *lab, string) {
	return func(t *testing.T, l *lab, name string) {
		if got := l.configMap(name+suffix) != nil; got != want {
			t.Errorf("the ConfigMap %s%s is there: %t, want %t", name, suffix, got, want)
		}
	}
}

func to(t *testing.T, text string) func(*spec) {
	return func(s *spec) { s.Values = values(t, text) }
}

// Each option does what it says; beside it stands the same without the option where that is not tested elsewhere.
func TestEveryOption(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", choices())
	elsewhere := l.namespace + "-records"
	l.makeNamespace(elsewhere)
	fresh := func(t *testing.T, l *lab, name string) {
		if l.configMap(name + "-fresh")["fresh"] != "yes" {
			t.Error("what was there was not taken over")
		}
	}
	for name, c := range map[string]choice{
		"hooks":           {values: `{"hooks":"pre-install"}`, check: present("-hook", true)},
		"install-nohooks": {values: `{"hooks":"pre-install"}`, set: func(s *spec) { s.Install = &helmv2.Install{DisableHooks: true} }, check: present("-hook", false)},
		"install-timeout": {values: `{"deployment":1}`, set: func(s *spec) { s.Timeout, s.Install = patient(), &helmv2.Install{Timeout: shortly()} }, fails: "timeout"},
		"install-nowait":  {values: `{"deployment":1}`, set: func(s *spec) { s.Install = &helmv2.Install{DisableWait: true} }},
		"install-jobs":    {values: `{"job":"plain"}`, set: func(s *spec) { s.Install = &helmv2.Install{Timeout: shortly()} }, fails: "Job"},
		"install-nojobs":  {values: `{"job":"plain"}`, set: func(s *spec) { s.Install = &helmv2.Install{DisableWaitForJobs: true} }},
		"install-noschema": {values: `{"message":5}`, set: func(s *spec) { s.Install = &helmv2.Install{DisableSchemaValidation: true} }, check: func(t *testing.T, l *lab, name string) {
			if l.configMap(name)["message"] != "5" {
				t.Error("not released as it was given")
			}
		}},
		"install-fields": {values: `{"odd":true}`, fails: "datum"},
		"install-nofields": {values: `{"odd":true}`, set: func(s *spec) {
			// A server-side apply of a field that is not declared is refused by the server in any case.
			s.Install = &helmv2.Install{DisableOpenAPIValidation: true, ServerSideApply: new(false)}
		}, check: present("-odd", true)},
		"install-client": {values: `{}`, set: func(s *spec) { s.Install = &helmv2.Install{ServerSideApply: new(false)} }, check: func(t *testing.T, l *lab, name string) {
			if m := l.readRevision(t, name, 1).ApplyMethod; m == "ssa" {
				t.Error("applied on the server")
			}
		}},
		"install-hook-never-ends": {values: `{"job":"pre-install"}`, set: func(s *spec) { s.Timeout = shortly() }, fails: "pre-install", check: func(t *testing.T, l *lab, name string) {
			if got := l.storedRevisions(name)["1"]; got != "failed" {
				t.Errorf("the release is %s", got)
			}
		}},
		"install-adopts": {values: `{"fresh":true}`, before: foreign("-fresh"), check: fresh},
		"install-own":    {values: `{"fresh":true}`, before: foreign("-fresh"), set: func(s *spec) { s.Install = &helmv2.Install{DisableTakeOwnership: true} }, fails: "invalid ownership metadata"},
		"upgrade-adopts": {values: `{}`, before: foreign("-fresh"), then: to(t, `{"fresh":true}`), check: fresh},
		"upgrade-own": {values: `{}`, before: foreign("-fresh"), then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{DisableTakeOwnership: true}
			s.Values = values(t, `{"fresh":true}`)
		}, thenFails: "invalid ownership metadata"},
		"upgrade-timeout": {values: `{}`, set: func(s *spec) { s.Timeout = patient() }, then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{Timeout: shortly()}
			s.Values = values(t, `{"deployment":1}`)
		}, thenFails: "timeout"},
		"upgrade-jobs": {values: `{}`, then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{Timeout: shortly()}
			s.Values = values(t, `{"job":"plain"}`)
		}, thenFails: "Job"},
		"wait-poller": {values: `{"deployment":1,"mayMiss":true}`, set: func(s *spec) { s.Timeout = shortly() }, fails: "timeout"},
		"wait-legacy": {values: `{"deployment":1,"mayMiss":true}`, set: func(s *spec) { s.WaitStrategy = &helmv2.WaitStrategy{Name: "legacy"} }},
		"test-timeout": {values: `{"job":"test"}`, set: func(s *spec) {
			s.Timeout, s.Test = patient(), &helmv2.Test{Enable: true, Timeout: shortly()}
		}, fails: "Helm test failed for release", reason: "TestFailed"},
		"test-some": {values: `{"job":"test","hooks":"test"}`, set: func(s *spec) {
			s.Timeout, s.Test = patient(), &helmv2.Test{Enable: true, Filters: &[]helmv2.TestFilter{{Name: "test-some-hook"}}}
		}},
		"records": {values: `{}`, set: func(s *spec) { s.StorageNamespace = elsewhere }, check: func(t *testing.T, l *lab, name string) {
			if there, here := l.revisionsIn(elsewhere, name), l.storedRevisions(name); there["1"] != "deployed" || len(here) > 0 {
				t.Errorf("records: %v there, %v here", there, here)
			}
		}},
		"upgrade-nohooks": {values: `{}`, then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{DisableHooks: true}
			s.Values = values(t, `{"hooks":"pre-upgrade"}`)
		}, check: present("-hook", false)},
		"upgrade-hooks": {values: `{}`, then: to(t, `{"hooks":"pre-upgrade"}`), check: present("-hook", true)},
		"upgrade-nowait": {values: `{}`, then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{DisableWait: true}
			s.Values = values(t, `{"deployment":1}`)
		}},
		"upgrade-nojobs": {values: `{}`, then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{DisableWaitForJobs: true}
			s.Values = values(t, `{"job":"plain"}`)
		}},
		"upgrade-noschema": {values: `{}`, then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{DisableSchemaValidation: true}
			s.Values = values(t, `{"message":5}`)
		}},
		"upgrade-nofields": {values: `{}`, set: func(s *spec) { s.Install = &helmv2.Install{ServerSideApply: new(false)} }, then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{DisableOpenAPIValidation: true}
			s.Values = values(t, `{"odd":true}`)
		}, check: present("-odd", true)},
		"upgrade-preserve": {values: `{"message":"kept"}`, then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{PreserveValues: true}
			s.Values = values(t, `{"fresh":true}`)
		}, check: func(t *testing.T, l *lab, name string) {
			if l.configMap(name)["message"] != "kept" {
				t.Error("the values were reset")
			}
		}},
		"upgrade-server": {values: `{}`, set: func(s *spec) { s.Install = &helmv2.Install{ServerSideApply: new(false)} }, then: func(s *spec) {
			s.Upgrade = &helmv2.Upgrade{ServerSideApply: "enabled"}
			s.Values = values(t, `{"fresh":true}`)
		}, check: func(t *testing.T, l *lab, name string) {
			if m := l.readRevision(t, name, 2).ApplyMethod; m != "ssa" {
				t.Errorf("applied by %q", m)
			}
		}},
		"max-history": {values: `{}`, set: func(s *spec) { s.MaxHistory = new(1) }, then: to(t, `{"fresh":true}`), check: func(t *testing.T, l *lab, name string) {
			// Helm keeps the revision that is deployed beside the new one.
			l.update(name, func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"third"}`) })
			l.ready(name, 3)
			if got := l.storedRevisions(name); got["1"] != "" || got["3"] != "deployed" {
				t.Errorf("storage holds %v", got)
			}
		}},
		"client-not-kept": {values: `{}`, set: func(s *spec) { s.PersistentClient = new(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.run(t, l.with(t), name)
		})
	}
	for name, force := range map[string]bool{"upgrade-force": true, "upgrade-noforce": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.with(t)
			l.create(name, func(s *spec) { s.Install = &helmv2.Install{ServerSideApply: new(false)} })
			l.ready(name, 1)
			l.edit(name, "foreign", "yes")
			l.update(name, func(hr *helmv2.HelmRelease) {
				hr.Spec.Upgrade, hr.Spec.Values = &helmv2.Upgrade{Force: force}, values(t, `{"message":"forced"}`)
			})
			l.ready(name, 2)
			if kept := l.configMap(name)["foreign"] == "yes"; kept == force {
				t.Errorf("force is %t, and what others wrote is kept: %t", force, kept)
			}
		})
	}
}

func (c *choice) run(t *testing.T, l *lab, name string) {
	if c.before != nil {
		c.before(l, name)
	}
	l.create(name, func(s *spec) {
		s.Values = values(t, c.values)
		if c.set != nil {
			c.set(s)
		}
	})
	switch {
	case c.fails != "":
		if _, message := l.failed(name, cmp.Or(c.reason, "InstallFailed")); !strings.Contains(message, c.fails) {
			t.Errorf("Ready says %q, want %q in it", message, c.fails)
		}
	default:
		l.ready(name, 1)
	}
	if c.then != nil {
		l.update(name, func(hr *helmv2.HelmRelease) { c.then(&hr.Spec) })
		if c.thenFails == "" {
			l.ready(name, 2)
		} else if _, message := l.failed(name, "UpgradeFailed"); !strings.Contains(message, c.thenFails) {
			t.Errorf("Ready says %q, want %q in it", message, c.thenFails)
		}
	}
	if c.check != nil {
		c.check(t, l, name)
	}
}

// waitFor waits until something is so.
func (l *lab) waitFor(what string, so func(context.Context) bool) {
	l.t.Helper()
	for begun := time.Now(); !so(l.t.Context()); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > patience {
			l.t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// A namespace that is being deleted takes no release and lets the object go.
func TestTerminatingNamespace(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	target := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: l.namespace + "-ending"}}
	if err := l.client.Create(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	hold := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: target.Name, Name: "hold", Finalizers: []string{"example.com/hold"}}}
	if err := l.client.Create(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.client.Patch(context.Background(), hold, mergePatch(`{"metadata":{"finalizers":null}}`))
	})
	if err := l.client.Delete(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	l.create("app", func(s *spec) { s.TargetNamespace = target.Name })
	if _, message := l.failed("app", "InstallFailed"); !strings.Contains(message, "because it is being terminated") {
		t.Errorf("Ready says %q", message)
	}
	l.delete("app")
	l.gone("app")
}

// A field that must not change fails the upgrade, names object and field, and what was released stays as it was.
func TestImmutableField(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", choices())
	l.create("app", func(s *spec) {
		s.Install, s.Upgrade = &helmv2.Install{DisableWait: true}, &helmv2.Upgrade{DisableWait: true}
		s.Values = values(t, `{"deployment":1,"app":"first"}`)
	})
	l.ready("app", 1)
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"deployment":1,"app":"second"}`) })
	hr, message := l.failed("app", "UpgradeFailed")
	if !strings.Contains(message, "app") || !strings.Contains(message, "field is immutable") {
		t.Errorf("Ready says %q", message)
	}
	if h := hr.Status.History; len(h) != 2 || h[0].Status != "failed" || h[1].Status != "deployed" {
		t.Errorf("history %+v", h)
	}
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"deployment":1,"app":"first"}`) })
	l.ready("app", 3)
}
