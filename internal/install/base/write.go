package base

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/controllers"
)

// Files returns the manifests by file name.
func Files() (map[string][]byte, error) {
	contents := map[string][]any{
		"rbac.yaml":          fullAccess(),
		"rbac-minimal.yaml":  leastAccess(),
		"policies.yaml":      policies(),
		SingleName + ".yaml": {account(SingleName), single().deployment()},
	}
	var list []Component
	for _, p := range pods {
		c, ok := controllers.Find(p.name)
		if !ok {
			return nil, fmt.Errorf("no controller is called %s", p.name)
		}
		list = append(list, component(c))
		contents[p.name+".yaml"] = slices.Concat([]any{account(p.name)}, services(p.name), []any{p.deployment()})
	}
	files := map[string][]byte{}
	for name, objects := range contents {
		data, err := encode(objects)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files[name] = data
	}
	index, err := yaml.Marshal(list)
	if err != nil {
		return nil, err
	}
	files["components.yaml"] = append([]byte(notice), index...)
	return files, nil
}

const notice = "# Made by `make generate` from internal/install/base; do not edit.\n"

// Component is a row of components.yaml.
type Component struct {
	Name string `json:"name"`
	// Prefix of its flags in the single topology.
	Prefix string `json:"prefix"`
	// CRDs are the names of the definitions that come with it.
	CRDs []string `json:"crds"`
	// AppliesAs says that it impersonates accounts and takes a default for that.
	AppliesAs bool `json:"appliesAs,omitempty"`
}

func component(c controllers.Controller) Component {
	out := Component{Name: c.Name, Prefix: c.Short, AppliesAs: c.ImpersonatesDefault}
	for _, r := range c.Serves {
		out.CRDs = append(out.CRDs, r.Plural+"."+r.Group)
	}
	if c.Name == "source-controller" {
		// A kind that others write and read; it comes with the sources.
		out.CRDs = append(out.CRDs, "externalartifacts."+source)
	}
	slices.Sort(out.CRDs)
	return out
}

func encode(objects []any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(notice)
	for i, obj := range objects {
		tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		if err != nil {
			return nil, err
		}
		spellOut(tree)
		data, err := yaml.Marshal(tidied(tree))
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteString("---\n")
		}
		b.Write(data)
	}
	return b.Bytes(), nil
}

// spellOut writes quantities as upstream does, which Go types shorten to 1 and 1k.
func spellOut(tree map[string]any) {
	switch tree["kind"] {
	case "ResourceQuota":
		_ = unstructured.SetNestedField(tree, "1000", "spec", "hard", "pods")
	case "Deployment":
		containers, _, _ := unstructured.NestedSlice(tree, "spec", "template", "spec", "containers")
		for _, c := range containers {
			_ = unstructured.SetNestedField(c.(map[string]any), cpuLimit, "resources", "limits", "cpu")
		}
		_ = unstructured.SetNestedSlice(tree, containers, "spec", "template", "spec", "containers")
	}
}

// tidied removes what Go types write although nobody set it: the status, divisors, and members that
// are null or the empty strategy, resources or labels. It returns its argument.
func tidied(object map[string]any) map[string]any {
	delete(object, "status")
	tidy(object)
	return object
}

func tidy(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			tidy(member)
			empty, isMap := member.(map[string]any)
			if member == nil || key == "divisor" && member == "0" || isMap && len(empty) == 0 && (key == "strategy" || key == "resources" || key == "labels") {
				delete(v, key)
			}
		}
	case []any:
		for _, member := range v {
			tidy(member)
		}
	}
}

// Write puts the manifests into a directory and removes others that an earlier version left there.
func Write(dir string) error {
	files, err := Files()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if files[filepath.Base(path)] == nil {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
