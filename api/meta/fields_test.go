package meta

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestFieldErrors(t *testing.T) {
	t.Parallel()
	type item struct {
		Every Duration `json:"every"`
	}
	type spec struct {
		Interval Duration  `json:"interval"`
		Timeout  *Duration `json:"timeout,omitempty"`
		Items    []item    `json:"items"`
		Raw      []byte    `json:"raw,omitempty"`
	}
	type object struct {
		Spec   spec
		Status struct {
			Took Duration `json:"took"`
		}
	}
	var o object
	const doc = `{"Spec":{"interval":"often","timeout":"1m","items":[{"every":"1h"},{"every":"1d"}]},"Status":{"took":"long"}}`
	if err := json.Unmarshal([]byte(doc), &o); err != nil {
		t.Fatal(err)
	}
	err := FieldErrors(&o)
	if err == nil {
		t.Fatal("two durations make no sense")
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != 2 || !strings.HasPrefix(got[0], `spec.interval: "often" `) || !strings.HasPrefix(got[1], `spec.items[1].every: "1d" `) {
		t.Errorf("got %q", got)
	}
	o.Spec = spec{}
	if err := FieldErrors(&o); err != nil {
		t.Errorf("the status is ours to write and no reason to stop: %v", err)
	}
}

func TestLegacyPatches(t *testing.T) {
	t.Parallel()
	patches := []Patch{{Patch: "b"}}
	got := LegacyPatches(
		[]JSON{{Raw: []byte(`{"kind":"Deployment"}`)}}, patches,
		[]JSON6902Patch{{
			Target: Selector{Kind: "Service"},
			Patch:  []JSON6902{{Op: "replace", Path: "/spec/type", Value: &JSON{Raw: []byte(`"ClusterIP"`)}}, {Op: "remove", Path: "/x"}},
		}},
	)
	if len(got) != 3 || got[0].Patch != `{"kind":"Deployment"}` || got[0].Target != nil || got[1].Patch != "b" {
		t.Fatalf("strategic merges come first, then the patches: got %+v", got)
	}
	const ops = `[{"op":"replace","path":"/spec/type","value":"ClusterIP"},{"op":"remove","path":"/x"}]`
	if got[2].Patch != ops || got[2].Target.Kind != "Service" {
		t.Errorf("got %s for %+v", got[2].Patch, got[2].Target)
	}
	if again := LegacyPatches(nil, patches, nil); len(again) != 1 {
		t.Errorf("without legacy fields nothing changes, got %+v", again)
	}
}

func TestArtifactNormalize(t *testing.T) {
	t.Parallel()
	for sum, want := range map[string]string{
		strings.Repeat("a", 40): "sha1:" + strings.Repeat("a", 40),
		strings.Repeat("b", 64): "sha256:" + strings.Repeat("b", 64),
	} {
		a := &Artifact{Checksum: sum}
		a.Normalize()
		if a.Digest != want || a.Checksum != "" {
			t.Errorf("got %+v, want the digest %s", a, want)
		}
	}
	var none *Artifact
	none.Normalize()
	if none.HasRevision("") || none.HasDigest("") {
		t.Error("no artifact has no revision")
	}
}
