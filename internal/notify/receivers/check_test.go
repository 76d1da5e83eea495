package receivers

import (
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	secret := &meta.LocalObjectReference{Name: "s"}
	valid := notificationv1.OIDCProvider{IssuerURL: "https://issuer", Validations: []notificationv1.OIDCValidation{{Expression: "true", Message: "m"}}}
	with := func(change func(*notificationv1.OIDCProvider)) notificationv1.ReceiverSpec {
		p := valid
		change(&p)
		return notificationv1.ReceiverSpec{Type: "generic-oidc", OIDCProviders: []notificationv1.OIDCProvider{p}}
	}
	for _, tt := range []struct {
		reason string
		spec   notificationv1.ReceiverSpec
		want   string
	}{
		{"a token is enough", notificationv1.ReceiverSpec{Type: "github", SecretRef: secret}, ""},
		{"no token", notificationv1.ReceiverSpec{Type: "github"}, "secretRef is required"},
		{"issuers elsewhere", notificationv1.ReceiverSpec{Type: "github", SecretRef: secret, OIDCProviders: []notificationv1.OIDCProvider{valid}}, "only be set when type is generic-oidc"},
		{"an issuer is enough", with(func(*notificationv1.OIDCProvider) {}), ""},
		{"no issuer", notificationv1.ReceiverSpec{Type: "generic-oidc"}, "at least one oidcProvider"},
		{"a token beside", notificationv1.ReceiverSpec{Type: "generic-oidc", SecretRef: secret, OIDCProviders: []notificationv1.OIDCProvider{valid}}, "secretRef cannot be set"},
		{"twice the same", notificationv1.ReceiverSpec{Type: "generic-oidc", OIDCProviders: []notificationv1.OIDCProvider{valid, valid}}, "there already"},
		{"no URL", with(func(p *notificationv1.OIDCProvider) { p.IssuerURL = "ftp://x" }), "not a URL"},
		{"no validation", with(func(p *notificationv1.OIDCProvider) { p.Validations = nil }), "at least one validation"},
		{"a validation without message", with(func(p *notificationv1.OIDCProvider) {
			p.Validations = []notificationv1.OIDCValidation{{Expression: "true"}}
		}), "must have an expression and a message"},
		{"a variable without name", with(func(p *notificationv1.OIDCProvider) {
			p.Variables = []notificationv1.OIDCVariable{{Expression: "1"}}
		}), "must have a name"},
		{"a validation that is no CEL", with(func(p *notificationv1.OIDCProvider) {
			p.Validations = []notificationv1.OIDCValidation{{Expression: "(", Message: "m"}}
		}), "failed to compile"},
	} {
		err := Check(&notificationv1.Receiver{Spec: tt.spec})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
}

func TestCompile(t *testing.T) {
	t.Parallel()
	r := &notificationv1.Receiver{Spec: notificationv1.ReceiverSpec{
		Type: "generic", ResourceFilter: `has(req.ref) && res.metadata.name == "fleet-name"`,
		Resources: []notificationv1.CrossNamespaceObjectReference{{Kind: "GitRepository", Name: "a"}, {Kind: "GitRepository", Name: "b", Filter: "req.x"}},
	}}
	f, err := Compile(r)
	if err != nil || f.All == nil || f.Resources[0] != nil || f.Resources[1] == nil {
		t.Fatalf("%+v %v", f, err)
	}
	res := map[string]any{"metadata": map[string]any{"name": "fleet-name"}}
	if ok, err := f.All.Eval(t.Context(), map[string]any{"res": res, "req": map[string]any{"ref": "x"}}); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
	if ok, _ := f.All.Eval(t.Context(), map[string]any{"res": res, "req": map[string]any{}}); ok {
		t.Error("a call without a ref matches")
	}
	r.Spec.Resources[1].Filter = "claims.x == 1"
	if _, err := Compile(r); err == nil || !strings.HasPrefix(err.Error(), `invalid filter expression for resources[1] (kind="GitRepository", name="b"): `) {
		t.Errorf("claims without a token: %v", err)
	}
	r.Spec.ResourceFilter = "("
	if _, err := Compile(r); err == nil || !strings.HasPrefix(err.Error(), "invalid resourceFilter expression: ") {
		t.Errorf("%v", err)
	}
}
