package install

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gitops-toolkit/flux/manifests"
)

// everything is the default installation with all components.
func everything() Options {
	o := Defaults("v1.2.3")
	o.Components = append(o.Components, ExtraComponents...)
	return o
}

func build(t *testing.T, o Options) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Build(manifests.Files(), o)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// get returns the object of a type by kind and name.
func get[T any](t *testing.T, objects []*unstructured.Unstructured, kind, name string) *T {
	t.Helper()
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind && o.GetName() == name })
	if i < 0 {
		t.Fatalf("no %s %s", kind, name)
	}
	into := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects[i].Object, into); err != nil {
		t.Fatalf("%s %s: %v", kind, name, err)
	}
	return into
}

// table returns the lines of a section of the table of controllers; without the table the test
// is skipped.
func table(t *testing.T, heading string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "facts", "controllers.txt"))
	if err != nil {
		t.Skipf("the tables are not on this machine: %v", err)
	}
	var lines []string
	inside := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if title, ok := strings.CutPrefix(line, "## "); ok {
			inside = strings.HasPrefix(title, heading)
			if inside {
				lines = append(lines, title)
			}
			continue
		}
		if inside && line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("the table has no section %q", heading)
	}
	return lines
}

// row returns the columns of the line of a section that begins with name, divided by |.
func row(t *testing.T, lines []string, name string) []string {
	t.Helper()
	for _, line := range lines {
		columns := strings.Split(line, " | ")
		if columns[0] == name && len(columns) > 1 {
			return columns
		}
	}
	t.Fatalf("the table has no row %s", name)
	return nil
}

// TestDeploymentsEqualTheTable reads the rows that describe the pods.
func TestDeploymentsEqualTheTable(t *testing.T) {
	t.Parallel()
	lines := table(t, "Deployment facts")
	for _, fact := range []string{
		"replicas 1", "container name manager", "imagePullPolicy IfNotPresent", "metadata label control-plane: controller",
		"selector/template label app: <name>", `prometheus.io/scrape "true" + prometheus.io/port "8080"`, "fsGroup 1337",
		"allowPrivilegeEscalation=false readOnlyRootFilesystem=true runAsNonRoot=true capabilities.drop=[ALL] seccompProfile RuntimeDefault",
		"volumes emptyDir", "limits cpu 1000m memory 1Gi",
	} {
		if !strings.Contains(lines[0], fact) {
			t.Fatalf("the table no longer says %q: read it again and change this test", fact)
		}
	}
	objects := build(t, everything())
	for _, name := range everything().Components {
		d := get[appsv1.Deployment](t, objects, "Deployment", name)
		columns := row(t, lines, name)
		check := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %s is %q, the table says %q", name, what, got, want)
			}
		}
		strategy := "Recreate"
		if columns[1] != "Recreate" {
			strategy = ""
		}
		pod, c := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
		check("strategy", string(d.Spec.Strategy.Type), strategy)
		check("termination grace", fmt.Sprintf("%ds", *pod.TerminationGracePeriodSeconds), columns[2])
		check("requests", c.Resources.Requests.Cpu().String()+"/"+c.Resources.Requests.Memory().String(), columns[3])
		check("limits", c.Resources.Limits.Cpu().String()+" "+c.Resources.Limits.Memory().String(), "1 1Gi")
		check("liveness", probeText(c.LivenessProbe), columns[4])
		check("readiness", probeText(c.ReadinessProbe), columns[5])
		var mounts []string
		for i, m := range c.VolumeMounts {
			mounts = append(mounts, m.Name+":"+m.MountPath)
			if pod.Volumes[i].Name != m.Name || pod.Volumes[i].EmptyDir == nil {
				t.Errorf("%s: volume %d is not an emptyDir called %s", name, i, m.Name)
			}
		}
		check("mounts", strings.Join(mounts, " "), columns[6])
		check("replicas", fmt.Sprint(*d.Spec.Replicas), "1")
		check("container", c.Name, "manager")
		check("pull policy", string(c.ImagePullPolicy), "IfNotPresent")
		check("label", d.Labels["control-plane"], "controller")
		check("selector", fmt.Sprint(d.Spec.Selector.MatchLabels), fmt.Sprint(map[string]string{"app": name}))
		check("template label", d.Spec.Template.Labels["app"], name)
		check("annotations", fmt.Sprint(d.Spec.Template.Annotations), "map[prometheus.io/port:8080 prometheus.io/scrape:true]")
		check("fsGroup", fmt.Sprint(*pod.SecurityContext.FSGroup), "1337")
		check("image", c.Image, "ghcr.io/gitops-toolkit/"+name+":v1.2.3")
		check("account", pod.ServiceAccountName, name)
		sc := c.SecurityContext
		check("security context", fmt.Sprintf("%t %t %t %v %s", *sc.AllowPrivilegeEscalation, *sc.ReadOnlyRootFilesystem, *sc.RunAsNonRoot, sc.Capabilities.Drop, sc.SeccompProfile.Type),
			"false true true [ALL] RuntimeDefault")
	}
}

func probeText(p *corev1.Probe) string { return p.HTTPGet.Port.String() + " " + p.HTTPGet.Path }

// numbered finds "0 --flag=value" in a row of arguments.
var numbered = regexp.MustCompile(`(\d+) (--\S+)`)

// TestArgumentsEqualTheTable compares the base with the bundle's arguments, and the installation
// with what the overlay replaces.
func TestArgumentsEqualTheTable(t *testing.T) {
	t.Parallel()
	b, err := readBundle(manifests.Files())
	if err != nil {
		t.Fatal(err)
	}
	lines := table(t, "container args in the bundle")
	seen := 0
	for _, line := range lines[1:] {
		names, args, ok := strings.Cut(line, ": 0 ")
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(names, ", ") {
			if strings.HasSuffix(name, "-") {
				name += "controller"
			}
			seen++
			objects, err := b.read(name)
			if err != nil {
				t.Fatal(err)
			}
			got := get[appsv1.Deployment](t, objects, "Deployment", name).Spec.Template.Spec.Containers[0].Args
			var want []string
			for _, m := range numbered.FindAllStringSubmatch("0 "+args, -1) {
				arg := strings.ReplaceAll(m[2], "<name>", name)
				arg = strings.Replace(arg, "--events-addr=…", "--events-addr=http://notification-controller.flux-system.svc.cluster.local./", 1)
				want = append(want, arg)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s:\n got %v\nwant %v", name, got, want)
			}
		}
	}
	if seen != 7 {
		t.Errorf("the table has the arguments of %d controllers, want 7", seen)
	}
}

// TestOverlayEqualsTheTable: what `flux install` replaces, adds and names.
func TestOverlayEqualsTheTable(t *testing.T) {
	t.Parallel()
	text := strings.Join(table(t, "`flux install`"), "\n")
	for _, fact := range []string{
		"events-addr value: http://notification-controller.$(RUNTIME_NAMESPACE).svc.<cluster-domain>./ ; empty when notification-controller is not among components",
		"kustomize-controller and helm-controller get --feature-gates=ExternalArtifact=true appended",
		"storage-adv-addr (<component>.$(RUNTIME_NAMESPACE).svc.<cluster-domain>.)",
		"app.kubernetes.io/instance=<namespace>, app.kubernetes.io/version=<version>, app.kubernetes.io/part-of=flux",
		"pod-security.kubernetes.io/warn=restricted, pod-security.kubernetes.io/warn-version=latest",
	} {
		if !strings.Contains(text, fact) {
			t.Fatalf("the table no longer says %q: read it again and change this test", fact)
		}
	}
	o := everything()
	o.Namespace, o.ClusterDomain, o.LogLevel, o.WatchAllNamespaces = "gitops", "corp.example", "debug", false
	o.ImagePullSecret, o.TolerationKeys, o.Registry = "pull", []string{"node.example.com/ci"}, "registry.example.com:5000/flux"
	objects := build(t, o)
	for _, obj := range objects {
		labels := obj.GetLabels()
		if labels[InstanceLabel] != "gitops" || labels[VersionLabel] != "v1.2.3" || labels[PartOfLabel] != "flux" {
			t.Errorf("%s: labels %v", subject(obj), labels)
		}
		if obj.GetNamespace() != "gitops" && !slices.Contains(clusterKinds, obj.GetKind()) {
			t.Errorf("%s is not in the namespace", subject(obj))
		}
		switch obj.GetKind() {
		case "CustomResourceDefinition", "Deployment", "Service", "ServiceAccount":
			if labels[componentLabel] == "" {
				t.Errorf("%s belongs to no component", subject(obj))
			}
		}
	}
	want := map[string][]string{
		"source-controller": {
			"--events-addr=http://notification-controller.$(RUNTIME_NAMESPACE).svc.corp.example./", "--watch-all-namespaces=false", "--log-level=debug",
			"--log-encoding=json", "--enable-leader-election", "--storage-path=/data", "--storage-adv-addr=source-controller.$(RUNTIME_NAMESPACE).svc.corp.example.",
		},
		"helm-controller": {
			"--events-addr=http://notification-controller.$(RUNTIME_NAMESPACE).svc.corp.example./", "--watch-all-namespaces=false", "--log-level=debug",
			"--log-encoding=json", "--enable-leader-election", "--feature-gates=ExternalArtifact=true",
		},
		"notification-controller": {"--watch-all-namespaces=false", "--log-level=debug", "--log-encoding=json", "--enable-leader-election"},
	}
	for name, args := range want {
		pod := get[appsv1.Deployment](t, objects, "Deployment", name).Spec.Template.Spec
		if !slices.Equal(pod.Containers[0].Args, args) {
			t.Errorf("%s:\n got %v\nwant %v", name, pod.Containers[0].Args, args)
		}
		if pod.NodeSelector["kubernetes.io/os"] != "linux" || pod.ImagePullSecrets[0].Name != "pull" ||
			pod.Tolerations[0].Key != "node.example.com/ci" || pod.Tolerations[0].Operator != corev1.TolerationOpExists {
			t.Errorf("%s: scheduling %v %v %v", name, pod.NodeSelector, pod.ImagePullSecrets, pod.Tolerations)
		}
		if want := "registry.example.com:5000/flux/" + name + ":v1.2.3"; pod.Containers[0].Image != want {
			t.Errorf("%s: image %s, want %s", name, pod.Containers[0].Image, want)
		}
	}
	ns := get[corev1.Namespace](t, objects, "Namespace", "gitops")
	if ns.Labels["pod-security.kubernetes.io/warn"] != "restricted" || ns.Labels["pod-security.kubernetes.io/warn-version"] != "latest" {
		t.Errorf("namespace labels %v", ns.Labels)
	}
}

func TestPriorityAndEnvironmentEqualTheTable(t *testing.T) {
	t.Parallel()
	line := strings.Join(table(t, "container args in the bundle"), "\n")
	if !strings.Contains(line, "priorityClassName system-cluster-critical on source-, kustomize-, helm-controller and source-watcher only") {
		t.Fatal("the table no longer says who is critical")
	}
	critical := []string{"source-controller", "kustomize-controller", "helm-controller", "source-watcher"}
	objects := build(t, everything())
	for _, name := range everything().Components {
		pod := get[appsv1.Deployment](t, objects, "Deployment", name).Spec.Template.Spec
		if got := pod.PriorityClassName == "system-cluster-critical"; got != slices.Contains(critical, name) {
			t.Errorf("%s: priority class %q", name, pod.PriorityClassName)
		}
		env := map[string]corev1.EnvVar{}
		for _, e := range pod.Containers[0].Env {
			env[e.Name] = e
		}
		if e := env["RUNTIME_NAMESPACE"]; e.ValueFrom == nil || e.ValueFrom.FieldRef.FieldPath != "metadata.namespace" {
			t.Errorf("%s: RUNTIME_NAMESPACE is %v", name, e)
		}
		if e := env["GOMEMLIMIT"]; e.ValueFrom == nil || e.ValueFrom.ResourceFieldRef.Resource != "limits.memory" || e.ValueFrom.ResourceFieldRef.ContainerName != "manager" {
			t.Errorf("%s: GOMEMLIMIT is %v", name, e)
		}
		if got := env["TUF_ROOT"].Value == "/tmp/.sigstore"; got != (name == "source-controller") {
			t.Errorf("%s: TUF_ROOT is %q", name, env["TUF_ROOT"].Value)
		}
	}
}
