package diff

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
)

func parsed(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func textOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDisguise(t *testing.T) {
	t.Parallel()
	live := parsed(t, "apiVersion: example.com/v1\nkind: Thing\nspec: {size: 3, list: [one, two], open: old}\n")
	desired := parsed(t, "apiVersion: example.com/v1\nkind: Thing\nspec: {size: '**SOPS**', list: ['**SOPS**', '**SOPS**', '**SOPS**'], open: new}\nother: {a: b}\n")
	out, hides := disguise(desired, live)
	if got, want := textOf(t, out.Object["spec"]), `{"list":["one","two","**SOPS**"],"open":"new","size":3}`; got != want || len(hides) != 1 || hides[0] != "spec" {
		t.Errorf("with a live object: %s, %v; want %s", got, hides, want)
	}
	secret := parsed(t, "apiVersion: v1\nkind: Secret\ndata: {.dockerconfigjson: '**SOPS**', a: '**SOPS**'}\n")
	encodeMasks(secret)
	out, _ = disguise(secret, nil)
	if got, want := textOf(t, out.Object["data"]), `{".dockerconfigjson":"eyJhdXRocyI6e319","a":"KipTT1BTKio="}`; got != want {
		t.Errorf("a new Secret: %s, want %s", got, want)
	}
}

func TestMasked(t *testing.T) {
	t.Parallel()
	from := parsed(t, "same: canary\ngone: {deep: canary}\nlist: [canary, canary-1]\nshorter: [canary]\nnumber: 12345\n").Object
	to := parsed(t, "same: canary\nnew: canary\nlist: [canary, canary-2]\nshorter: [canary, canary]\nnumber: 12346\n").Object
	a, b := masked(from, to)
	got := textOf(t, a) + "\n" + textOf(t, b)
	want := `{"gone":{"deep":"***"},"list":["***","*** (before)"],"number":"*** (before)","same":"***","shorter":"*** (before)"}` + "\n" +
		`{"list":["***","*** (after)"],"new":"***","number":"*** (after)","same":"***","shorter":"*** (after)"}`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	owner := &kustomizev1.Kustomization{}
	entries := "{inventory: {entries: [{id: ns_app-2222222222__Secret, v: v1}, {id: ns_two-2222222222__Secret, v: v1}, {id: ns_two-4444444444__Secret, v: v1}, {id: ns_kept-2222222222__Secret, v: v1}]}}"
	if err := yaml.Unmarshal([]byte(entries), &owner.Status); err != nil {
		t.Fatal(err)
	}
	secret := func(name, value string) *unstructured.Unstructured {
		return parsed(t, "{apiVersion: v1, kind: Secret, metadata: {name: "+name+", namespace: ns}, data: {a: '"+value+"'}}")
	}
	objects := []*unstructured.Unstructured{
		secret("app-5555555555", "**SOPS**"), secret("two-5555555555", "**SOPS**"), secret("plain-5555555555", "eA=="), secret("kept-2222222222", "**SOPS**"),
		parsed(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: ns}, spec: {a: [{secretName: app-5555555555}], b: two-5555555555}}"),
	}
	settle(objects, owner)
	var names []string
	for _, u := range objects {
		names = append(names, u.GetName())
	}
	if got, want := strings.Join(names, " "), "app-2222222222 two-5555555555 plain-5555555555 kept-2222222222 d"; got != want {
		t.Errorf("names %s, want %s", got, want)
	}
	if got := textOf(t, objects[4].Object["spec"]); got != `{"a":[{"secretName":"app-2222222222"}],"b":"two-5555555555"}` {
		t.Errorf("what refers to them: %s", got)
	}
}
