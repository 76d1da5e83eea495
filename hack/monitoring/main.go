// Command monitoring writes manifests/monitoring: what a Prometheus, kube-state-metrics and Grafana
// need to look after the controllers.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/kernel/info"
)

func main() {
	out := flag.String("out", "manifests/monitoring", "directory to write to")
	flag.Parse()
	if err := write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "monitoring:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	files := map[string]any{
		"kube-state-metrics.yaml":       kubeStateMetrics(),
		"prometheusrule.yaml":           prometheusRule(),
		"dashboards/control-plane.json": controlPlane(),
		"dashboards/cluster.json":       cluster(),
		"dashboards/logs.json":          logs(),
	}
	for name, content := range files {
		var text []byte
		var err error
		if filepath.Ext(name) == ".json" {
			var b bytes.Buffer
			encoder := json.NewEncoder(&b)
			encoder.SetEscapeHTML(false)
			encoder.SetIndent("", "  ")
			err, text = encoder.Encode(content), b.Bytes()
		} else {
			text, err = yaml.Marshal(content)
			text = append([]byte("# Made by hack/monitoring; make generate writes it anew.\n"), text...)
		}
		if err != nil {
			return err
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// kubeStateMetrics are values of the Helm chart of kube-state-metrics: what it makes of our objects
// and the right to read them.
func kubeStateMetrics() any {
	var resources, rules []any
	byGroup := map[string][]string{}
	var groups []string
	for _, k := range info.Kinds {
		labels := map[string]any{}
		for _, l := range k.Labels {
			if l.Name != "name" {
				labels[l.Name] = l.Path
			}
		}
		resources = append(resources, map[string]any{
			"groupVersionKind": map[string]any{"group": k.Group, "version": k.Version, "kind": k.Kind},
			"metricNamePrefix": "gotk",
			"metrics": []any{map[string]any{
				"name": "resource_info", "help": "The current state of a GitOps Toolkit resource.",
				"each":           map[string]any{"type": "Info", "info": map[string]any{"labelsFromPath": map[string]any{"name": k.Labels[0].Path}}},
				"labelsFromPath": labels,
			}},
		})
		if byGroup[k.Group] == nil {
			groups = append(groups, k.Group)
		}
		byGroup[k.Group] = append(byGroup[k.Group], k.Plural)
	}
	for _, group := range groups {
		rules = append(rules, map[string]any{"apiGroups": []string{group}, "resources": byGroup[group], "verbs": []string{"list", "watch"}})
	}
	return map[string]any{
		"collectors": []string{}, "extraArgs": []string{"--custom-resource-state-only=true"},
		"rbac":                map[string]any{"extraRules": rules},
		"customResourceState": map[string]any{"enabled": true, "config": map[string]any{"kind": "CustomResourceStateMetrics", "spec": map[string]any{"resources": resources}}},
	}
}
