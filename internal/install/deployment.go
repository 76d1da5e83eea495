package install

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// reconcilerAccount is the account of package base that stands in for objects that name none.
const reconcilerAccount = "flux-reconciler"

// deployment lays the options over a Deployment.
func (l *overlay) deployment(obj *unstructured.Unstructured) error {
	spec := []string{"spec", "template", "spec"}
	containers, _, err := unstructured.NestedSlice(obj.Object, append(spec, "containers")...)
	if err != nil || len(containers) == 0 {
		return fmt.Errorf("Deployment %s has no containers", obj.GetName())
	}
	container, ok := containers[0].(map[string]any)
	if !ok {
		return fmt.Errorf("Deployment %s: container 0 is no object", obj.GetName())
	}
	args, _, err := unstructured.NestedStringSlice(container, "args")
	if err != nil {
		return fmt.Errorf("Deployment %s: %w", obj.GetName(), err)
	}
	_ = unstructured.SetNestedStringSlice(container, l.args(obj.GetName(), args), "args")
	image, _, _ := unstructured.NestedString(container, "image")
	container["image"] = l.image(obj.GetName(), image)
	if obj.GetName() == singleName && !l.stores() {
		// Without artifacts nothing answers at the root of the HTTP port.
		_ = unstructured.SetNestedMap(container, map[string]any{"path": "/readyz", "port": "healthz"}, "readinessProbe", "httpGet")
	}
	for path, value := range l.scheduling() {
		_ = unstructured.SetNestedField(obj.Object, value, append(spec, path)...)
	}
	labels, _, _ := unstructured.NestedMap(obj.Object, "spec", "template", "metadata", "labels")
	if labels == nil {
		labels = map[string]any{}
	}
	for key, value := range l.labels() {
		labels[key] = value
	}
	labels[componentLabel] = obj.GetName()
	_ = unstructured.SetNestedMap(obj.Object, labels, "spec", "template", "metadata", "labels")
	return unstructured.SetNestedSlice(obj.Object, containers, append(spec, "containers")...)
}

// stores tells whether one of the chosen components serves artifacts.
func (l *overlay) stores() bool { return l.has("source-controller") || l.has("source-watcher") }

// image puts the registry before the component's name. A base that names a version keeps it:
// components of one release may differ.
func (l *overlay) image(component, base string) string {
	version := l.Version
	if _, own, ok := strings.Cut(base[strings.LastIndex(base, "/")+1:], ":"); ok {
		version = own
	}
	return strings.TrimSuffix(l.Registry, "/") + "/" + component + ":" + version
}

// scheduling are the fields of the pod that say where it may run.
func (l *overlay) scheduling() map[string]any {
	out := map[string]any{"nodeSelector": map[string]any{"kubernetes.io/os": "linux"}}
	if l.ImagePullSecret != "" {
		out["imagePullSecrets"] = []any{map[string]any{"name": l.ImagePullSecret}}
	}
	var tolerations []any
	for _, key := range l.TolerationKeys {
		tolerations = append(tolerations, map[string]any{"key": key, "operator": "Exists"})
	}
	if tolerations != nil {
		out["tolerations"] = tolerations
	}
	return out
}

// args replaces the values that options decide, and leaves the order alone: people patch by index.
func (l *overlay) args(deployment string, args []string) []string {
	var out []string
	for _, arg := range args {
		prefix, name := splitFlag(arg)
		if prefix != "" && !l.hasPrefix(prefix) {
			continue
		}
		var value string
		switch name {
		case "controllers":
			value = strings.Join(l.names(), ",")
		case "watch-all-namespaces":
			value = fmt.Sprint(l.WatchAllNamespaces)
		case "log-level":
			value = l.LogLevel
		case "events-addr":
			value = l.eventsAddr()
		case "storage-adv-addr":
			value = fmt.Sprintf("%s.$(RUNTIME_NAMESPACE).svc.%s.", l.nameOf(prefix, deployment), l.ClusterDomain)
		default:
			out = append(out, arg)
			continue
		}
		out = append(out, joinFlag(prefix, name, value))
	}
	return append(out, l.moreArgs(deployment)...)
}

// moreArgs are flags that some combinations need.
func (l *overlay) moreArgs(deployment string) []string {
	var out []string
	for _, c := range l.chosen {
		prefix := ""
		if l.Topology == Single {
			prefix = c.Prefix
		}
		if !c.AppliesAs || deployment != singleName && deployment != c.Name {
			continue
		}
		if l.has("source-watcher") {
			out = append(out, joinFlag(prefix, "feature-gates", "ExternalArtifact=true"))
		}
		if l.RBAC == Minimal {
			out = append(out, joinFlag(prefix, "default-service-account", reconcilerAccount))
		}
	}
	return out
}

// eventsAddr is where controllers post events, empty when nobody listens.
func (l *overlay) eventsAddr() string {
	if !l.has("notification-controller") {
		return ""
	}
	return fmt.Sprintf("http://notification-controller.$(RUNTIME_NAMESPACE).svc.%s./", l.ClusterDomain)
}

func (l *overlay) names() []string {
	var out []string
	for _, c := range l.chosen {
		out = append(out, c.Name)
	}
	return out
}

func (l *overlay) hasPrefix(prefix string) bool {
	for _, c := range l.chosen {
		if c.Prefix == prefix {
			return true
		}
	}
	return false
}

// nameOf returns the component that a flag's prefix stands for, the Deployment's own without one.
func (l *overlay) nameOf(prefix, deployment string) string {
	for _, c := range l.chosen {
		if prefix != "" && c.Prefix == prefix {
			return c.Name
		}
	}
	return deployment
}

// splitFlag returns prefix and name of --prefix.name=value; the prefix may be missing.
func splitFlag(arg string) (prefix, name string) {
	name, _, _ = strings.Cut(strings.TrimPrefix(arg, "--"), "=")
	if before, after, found := strings.Cut(name, "."); found {
		return before, after
	}
	return "", name
}

func joinFlag(prefix, name, value string) string {
	if prefix != "" {
		prefix += "."
	}
	return "--" + prefix + name + "=" + value
}
