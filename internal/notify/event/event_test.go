package event

import (
	"maps"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const group = "kustomize.toolkit.fluxcd.io"

func sample(metadata map[string]string) *Event {
	return &Event{
		InvolvedObject: corev1.ObjectReference{APIVersion: group + "/v1", Kind: "Kustomization", Namespace: "ns", Name: "app"},
		Message:        "hello", Metadata: metadata,
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	e := sample(map[string]string{
		group + "/revision": "r", group + "/token": "t", group + "/checksum": "c", group + "/digest": "d",
		AnnotationPrefix + "env": "prod", "other.io/x": "y", "plain": "z", group + ".evil/x": "no",
	})
	if token := e.Clean(); token != "t" {
		t.Errorf("token %q", token)
	}
	if want := map[string]string{group + "/revision": "r", AnnotationPrefix + "env": "prod"}; !maps.Equal(e.Metadata, want) {
		t.Errorf("left %v, want %v", e.Metadata, want)
	}
	core := &Event{InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "Pod"}, Metadata: map[string]string{"/x": "y", "x": "y"}}
	core.Clean()
	if core.Metadata["x"] != "" {
		t.Errorf("an object without a group keeps foreign keys: %v", core.Metadata)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	base := sample(nil).Key("")
	for reason, other := range map[string]string{
		"a token sets apart":            sample(nil).Key("x"),
		"a revision sets apart":         sample(map[string]string{group + "/revision": "a"}).Key(""),
		"an origin revision sets apart": sample(map[string]string{group + "/originRevision": "a"}).Key(""),
	} {
		if other == base {
			t.Error(reason)
		}
	}
	if sample(map[string]string{AnnotationPrefix + "env": "prod"}).Key("") != base {
		t.Error("annotations do not make another event")
	}
	// sha256 of "event/name=app/namespace=ns/kind=Kustomization/message=hello"
	if base != "cbd20f31d30f7afd5a7164b263ff58d244d4569bad6dbdc8bcae2f41a71ba8c5" {
		t.Errorf("key %s", base)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	e := sample(map[string]string{group + "/revision": "r", AnnotationPrefix + "env": "object", AnnotationPrefix + "revision": "x"})
	object, controller := e.Layers()
	merged, conflicts := Merge(object, Layer{LayerAlert, map[string]string{"env": "alert", "cluster": "c"}}, controller)
	if want := (map[string]string{"env": "alert", "cluster": "c", "revision": "r"}); !maps.Equal(merged, want) {
		t.Errorf("merged %v, want %v", merged, want)
	}
	want := map[string][]string{"env": {LayerObject, LayerAlert}, "revision": {LayerObject, LayerController}}
	if !reflect.DeepEqual(conflicts, want) {
		t.Errorf("conflicts %v, want %v", conflicts, want)
	}
	if _, conflicts := Merge(controller); conflicts != nil {
		t.Errorf("one layer has conflicts: %v", conflicts)
	}
}

// The reasons with which controllers tell success end a failure; steps and remedies do not.
func TestSucceeded(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]bool{
		"ReconciliationSucceeded": true, "Succeeded": true, "NewArtifact": true, "ArtifactUpToDate": true, "Ready": true, "UpgradeSucceeded": true,
		"GitOperationSucceed": true, "ChartPullSucceeded": true, "Progressing": false, "DependencyNotReady": false, "RollbackSucceeded": false,
		"UninstallSucceeded": false, "DriftCorrected": false, "": false,
	} {
		if got := (&Event{Reason: reason, Severity: SeverityInfo}).Succeeded(); got != want {
			t.Errorf("%s: %v", reason, got)
		}
		if (&Event{Reason: reason, Severity: SeverityError}).Succeeded() {
			t.Errorf("an error with the reason %s is a success", reason)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"involvedObject":{"kind":"Bucket","apiVersion":"source.toolkit.fluxcd.io/v1"},"metadata":{"a":"b"},"timestamp":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"timestamp":null,"metadata":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Decode(data)
		if err != nil {
			return
		}
		e.Key(e.Clean())
		object, controller := e.Layers()
		Merge(object, controller)
	})
}
