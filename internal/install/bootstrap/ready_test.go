package bootstrap

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestVerdict: what a controller says of the request and of this generation ends the wait, whether it succeeded or
// failed; a failure is told in the controller's words.
func TestVerdict(t *testing.T) {
	t.Parallel()
	want := awaited{kind: "GitRepository", token: "mine", revision: "main@sha1:2", branch: "main", field: []string{"status", "artifact", "revision"}}
	for reason, test := range map[string]struct {
		status string
		done   bool
		last   string
		fails  string
	}{
		"nothing yet":                           {`{observedGeneration: -1}`, false, "its controller has not seen it yet", ""},
		"a first attempt failed":                {`{observedGeneration: -1, lastHandledReconcileAt: mine, conditions: [{type: Ready, status: "False", reason: ArtifactFailed, observedGeneration: 3, message: no such directory}]}`, false, "no such directory", "error while waiting for GitRepository to be ready: 'no such directory'"},
		"it failed before the request":          {`{observedGeneration: -1, conditions: [{type: Ready, status: "False", observedGeneration: 3, message: no such directory}]}`, false, "no such directory", ""},
		"it has not seen the artifact yet":      {`{observedGeneration: -1, lastHandledReconcileAt: mine, conditions: [{type: Ready, status: "False", reason: ArtifactFailed, observedGeneration: 3, message: "Source artifact not found, retrying in 30s"}]}`, false, "Source artifact not found, retrying in 30s", ""},
		"a failure of an earlier generation":    {`{observedGeneration: 2, lastHandledReconcileAt: mine, conditions: [{type: Ready, status: "False", observedGeneration: 2, message: old}]}`, false, "its controller has not seen it yet", ""},
		"ready with what was pushed":            {`{observedGeneration: 3, artifact: {revision: "main@sha1:2"}, conditions: [{type: Ready, status: "True", observedGeneration: 3}]}`, true, "it is at main@sha1:2", ""},
		"ready with what was there before":      {`{observedGeneration: 3, artifact: {revision: "main@sha1:1"}, conditions: [{type: Ready, status: "True", observedGeneration: 3}]}`, false, "it is at main@sha1:1", ""},
		"ready with what somebody pushed since": {`{observedGeneration: 3, lastHandledReconcileAt: mine, artifact: {revision: "main@sha1:3"}, conditions: [{type: Ready, status: "True", observedGeneration: 3}]}`, true, "it is at main@sha1:3", ""},
	} {
		obj := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"generation": int64(3)}}}
		var status map[string]any
		if err := yaml.Unmarshal([]byte(test.status), &status); err != nil {
			t.Fatal(err)
		}
		obj.Object["status"] = whole(status)
		done, last, err := want.verdict(obj)
		if done != test.done || last != test.last || (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: %t, %q, %v", reason, done, last, err)
		}
	}
}

// whole makes the integers of a decoded document as the API server's client makes them.
func whole(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = whole(v[key])
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case float64:
		return int64(v)
	}
	return value
}
