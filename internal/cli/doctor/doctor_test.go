package doctor

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/clitest"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

// newDoctor serves the objects of a YAML stream. This server answers no access reviews, so that a
// refusal that was told counts as one that still holds; TestInstallOnAProcessNode of cli/install
// has the real ones.
func newDoctor(t *testing.T, objects string) (d *Doctor, said, roles *bytes.Buffer) {
	t.Helper()
	server := clitest.New(t)
	for _, r := range []cluster.Resource{kinds.Namespaces, kinds.Events, kinds.CRDs, validating, mutating, slicesOf, quotas, apiServices} {
		server.Serve(clitest.Served{Group: r.Group, Version: r.Version, Plural: r.Plural, Kind: r.Kind, Clusters: r.Clusters})
	}
	for _, k := range kinds.All() {
		server.Serve(clitest.Served{Group: k.Group, Version: k.Version, Plural: k.Plural, Kind: k.Kind})
	}
	for doc := range strings.SplitSeq(objects, "---\n") {
		obj := &clitest.Object{}
		if err := yaml.Unmarshal([]byte(doc), &obj.Object); err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		server.Add(t, obj)
	}
	flags := cluster.Flags{Kubeconfig: server.Kubeconfig(t), QPS: 100, Burst: 100}
	cfg, err := flags.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := cluster.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	said, roles = &bytes.Buffer{}, &bytes.Buffer{}
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	return &Doctor{Client: client, Discovery: cluster.NewDiscovery(client, ""), Log: ui.NewLog(said), Out: roles, Now: now}, said, roles
}

// TestFindings holds every finding against testdata: an unwell cluster, what is said of it, and the
// roles that mend it.
func TestFindings(t *testing.T) {
	t.Parallel()
	d, said, roles := newDoctor(t, read(t, "unwell.yaml"))
	controller := appsv1.Deployment{}
	controller.Name, controller.Namespace = "kustomize-controller", "flux-system"
	controller.Spec.Template.Spec.ServiceAccountName = "kustomize-controller"
	ok, err := d.Examine(context.Background(), []appsv1.Deployment{controller})
	if err != nil || !ok {
		t.Errorf("ok %t, %v", ok, err)
	}
	compare(t, "said.txt", said.String())
	compare(t, "roles.yaml", roles.String())
}

// TestNothingToSay: a cluster that is well is not talked about.
func TestNothingToSay(t *testing.T) {
	t.Parallel()
	d, said, roles := newDoctor(t, read(t, "well.yaml"))
	if ok, err := d.Examine(context.Background(), []appsv1.Deployment{{}}); err != nil || !ok {
		t.Errorf("ok %t, %v", ok, err)
	}
	if said.Len()+roles.Len() > 0 {
		t.Errorf("it says:\n%s%s", said, roles)
	}
}

// TestNeeds: every controller says what it needs, a namespace's lease among it.
func TestNeeds(t *testing.T) {
	t.Parallel()
	all, err := needs()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds.All() {
		name := controllerOf(k.Group, k.Kind)
		list := all[name]
		if len(list) < 4 {
			t.Errorf("%s, the controller of %s, needs %d things", name, k.Kind, len(list))
		}
		lease := false
		for _, n := range list {
			lease = lease || n.here && n.Resources[0] == "leases"
		}
		if !lease {
			t.Errorf("%s needs no lease", name)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("testdata/"+name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want := read(t, name); got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}
