package build

import (
	"bytes"
	"fmt"
	"math"

	"go.yaml.in/yaml/v3"
)

// checkConvertible refuses a manifest or patch that cannot become JSON: a key twice or one that is no string, a
// number that is none. kustomize would refuse it as well, but on one of its ways it ends the process to do so.
// Anything else, such as a file for a ConfigMap, passes.
func checkConvertible(content []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); err != nil {
			return nil // the end, or an error that kustomize reports better
		}
		if len(doc.Content) == 0 || !isManifestOrPatch(doc.Content[0]) {
			continue
		}
		var value any
		if err := doc.Decode(&value); err != nil {
			return err
		}
		if err := checkJSON(value, ""); err != nil {
			return fmt.Errorf("line %d: %w", doc.Content[0].Line, err)
		}
	}
}

func isManifestOrPatch(node *yaml.Node) bool {
	if node.Kind == yaml.SequenceNode {
		return len(node.Content) > 0 && hasKey(node.Content[0], "op")
	}
	return hasKey(node, "apiVersion") && hasKey(node, "kind")
}

func hasKey(node *yaml.Node, key string) bool {
	for i := 0; node.Kind == yaml.MappingNode && i < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return true
		}
	}
	return false
}

func checkJSON(value any, at string) error {
	switch v := value.(type) {
	case map[any]any:
		return fmt.Errorf("a key of '%s' is not a string", either(at, "."))
	case map[string]any:
		for key, item := range v {
			if err := checkJSON(item, at+"."+key); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := checkJSON(item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("'%s' is not a number", at)
		}
	}
	return nil
}
