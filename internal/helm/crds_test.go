package helm_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"sigs.k8s.io/yaml"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
)

// definition is one in crds/ of a chart, of a group of its own.
type definition struct {
	*lab
	group string
}

func (l *lab) definition(name string) *definition {
	d := &definition{l, strings.ReplaceAll(name+"-"+l.namespace, "-", "") + ".example.com"}
	l.t.Cleanup(func() { _ = l.client.Delete(context.Background(), d.object()) })
	return d
}

func (d *definition) object() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetAPIVersion("apiextensions.k8s.io/v1")
	u.SetKind("CustomResourceDefinition")
	u.SetName("gadgets." + d.group)
	return u
}

// text is the definition with a note, by which its versions are told apart.
func (d *definition) text(note string) string {
	return fmt.Sprintf("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.%[1]s, annotations: {note: %[2]s}}\nspec:\n  group: %[1]s\n  scope: Namespaced\n"+
		"  names: {kind: Gadget, plural: gadgets}\n  versions:\n  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}\n", d.group, note)
}

// note is that of the definition in the cluster, "" when it is not there.
func (d *definition) note() string {
	u := d.object()
	_ = d.client.Get(d.t.Context(), types.NamespacedName{Name: u.GetName()}, u)
	return u.GetAnnotations()["note"]
}

// What an install and an upgrade do with definitions, by policy and by the side that applies.
func TestPoliciesOfDefinitions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for name, c := range map[string]struct {
		install, upgrade string
		skip             bool   // the older way to say Skip
		there            bool   // a definition is there before
		client           bool   // applied from the client's side
		first, then      string // the notes after the install and after the upgrade
	}{
		"by default":               {first: "one", then: "two"},
		"skipped":                  {install: "Skip", upgrade: "Skip"},
		"skipped, older field":     {skip: true, upgrade: "Skip"},
		"skipped by the upgrade":   {upgrade: "Skip", first: "one", then: "one"},
		"made by the upgrade":      {install: "Skip", upgrade: "Create", then: "two"},
		"there, on the server":     {install: "Create", upgrade: "Skip", there: true, first: "one", then: "one"},
		"there, from the client":   {install: "Create", upgrade: "Create", there: true, client: true, first: "zero", then: "zero"},
		"replaced from the client": {install: "CreateReplace", upgrade: "CreateReplace", there: true, client: true, first: "one", then: "two"},
		"replaced on the server":   {install: "CreateReplace", upgrade: "CreateReplace", there: true, first: "one", then: "two"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.with(t)
			name := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			d := l.definition(name)
			if c.there {
				d.apply(d.text("zero"))
			}
			l.source(name, "1.0.0", demo("1.0.0", map[string]string{"crds/gadgets.yaml": d.text("one"), "crds/README.md": "nothing"}))
			l.create(name, func(s *spec) {
				s.ChartRef.Name = name
				s.Install = &helmv2.Install{CRDs: c.install, SkipCRDs: c.skip, ServerSideApply: new(!c.client)}
				s.Upgrade = &helmv2.Upgrade{CRDs: c.upgrade}
			})
			l.ready(name, 1)
			if got := d.note(); got != c.first {
				t.Errorf("after the install it is %q, want %q", got, c.first)
			}
			l.source(name, "1.1.0", demo("1.1.0", map[string]string{"crds/gadgets.yaml": d.text("two")}))
			l.ready(name, 2)
			if got := d.note(); got != c.then {
				t.Errorf("after the upgrade it is %q, want %q", got, c.then)
			}
			l.delete(name)
			l.gone(name)
			if got := d.note(); got != c.then {
				t.Errorf("the uninstall made it %q", got)
			}
		})
	}
}

// apply brings a document to the cluster as a person would.
func (l *lab) apply(text string) {
	l.t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		l.t.Fatal(err)
	}
	if err := l.client.Create(l.t.Context(), u); err != nil {
		l.t.Fatal(err)
	}
}

// A definition that is removed under a release is told with what to do, and doing it is enough.
func TestDefinitionRemovedUnderRelease(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	d := l.definition("app")
	l.source("demo", "1.0.0", demo("1.0.0", map[string]string{
		"crds/gadgets.yaml":     d.text("one"),
		"templates/gadget.yaml": "apiVersion: " + d.group + "/v1\nkind: Gadget\nmetadata: {name: {{ .Release.Name }}}\nspec: {size: 1}\n",
	}))
	// The server may take an object while it removes the definition, and delete it again: then the interval decides.
	l.create("app", func(s *spec) { s.DriftDetection, s.Interval = &helmv2.DriftDetection{Mode: "enabled"}, *shortly() })
	l.ready("app", 1)
	if err := l.client.Delete(t.Context(), d.object()); err != nil {
		t.Fatal(err)
	}
	l.waitFor("the definition to go", func(context.Context) bool { return d.note() == "" })
	l.until("app", "told that the definition is gone", func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, "Ready")
		return c != nil && strings.Contains(c.Message, "the definition of the kind Gadget in "+d.group+" is gone")
	})
	l.request("app", "reconcile.fluxcd.io/forceAt")
	l.ready("app", 2)
}
