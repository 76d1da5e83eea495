package refusal

import "testing"

func TestAdvice(t *testing.T) {
	t.Parallel()
	const typed = "failed to create typed patch object (default/web; networking.k8s.io/v1, Kind=Ingress): "
	for message, want := range map[string]string{
		typed + ".spec.replicas: expected numeric (int or float), got string": "write spec.replicas as a number, without quotes",
		typed + "errors:\n  .spec.a: expected boolean, got &{yes}\n  .metadata.labels.app.kubernetes.io/name: expected string, got &value.valueUnstructured{Value:1}": "write spec.a as true or false, without quotes; " +
			"put the value of metadata.labels.app.kubernetes.io/name in quotes, so that it is a string",
		typed + `.spec.template.spec.containers[name="my app"].env: duplicate entries for key [name="A"]`:                                                                        `keep one of the entries [name="A"] of spec.template.spec.containers[name="my app"].env`,
		typed + ".spec.containers: expected list, got &{map[]}":                                                                                                                  `write spec.containers as a list, with "- " before each entry`,
		typed + `.spec.containers: element 0: associative list with keys has an element that omits all key fields ["name"] (and doesn't have default values for any key fields)`: `give every entry of spec.containers what tells it from the others: ["name"]`,
		typed + ".spec.brnch: field not declared in schema":                                                                                                                      "correct or remove the field spec.brnch",
		`Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32`:        "correct the field spec.replicas: its type is int32",
		`pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1`:                                                                         "raise the ResourceQuota small, or ask for less",
		`something nobody foresaw`: "",
	} {
		if got := Advice(message); got != want {
			t.Errorf("%s\n got %q\nwant %q", message, got, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	got := Policies("ConfigMap/a apply failed: admission webhook \"x.y\" denied the request: no\n  in a.yaml")
	if len(got) != 1 || got[0].Text != `admission webhook "x.y" denied the request: no` {
		t.Errorf("got %v", got)
	}
}

func TestGranting(t *testing.T) {
	t.Parallel()
	got, ok := Granting(`Role/a/b dry-run failed (Forbidden): roles.rbac.authorization.k8s.io "b" is forbidden: user "system:serviceaccount:a:t" (groups=["x" "y"]) is attempting to grant RBAC permissions not currently held: …`)
	if want := (Grant{"roles.rbac.authorization.k8s.io", "b", "system:serviceaccount:a:t"}); !ok || got != want {
		t.Errorf("got %v", got)
	}
}
