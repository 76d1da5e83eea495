package bootstrap

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/install"
)

// secret gives the cluster its credential.
func (r *run) secret(ctx context.Context) error {
	if r.Sync.Provider != "" {
		return nil
	}
	name := r.Install.Namespace + "/" + r.Secret.Name
	r.log.Actionf("determining if source secret %q exists", name)
	live, err := r.get(ctx, secrets, r.Secret.Name)
	if err != nil {
		return err
	}
	if live != nil && !r.Secret.Given && opens(live, r.Sync.URL) {
		r.kept = true
		r.log.Successf("source secret up to date")
		return nil
	}
	r.log.Actionf("generating source secret")
	data, err := r.Secret.Generate(ctx)
	if err != nil {
		return fmt.Errorf("failed to generate source secret: %w", err)
	}
	if public := data["identity.pub"]; public != "" {
		r.log.Successf("public key: %s", strings.TrimSpace(public))
	}
	if r.Secret.Register != nil {
		if err := r.Secret.Register(ctx, data); err != nil {
			return err
		}
	}
	r.log.Actionf("applying source secret %q", name)
	if err := r.writeSecret(ctx, live, data); err != nil {
		return fmt.Errorf("failed to apply source secret %q: %w", name, err)
	}
	r.log.Successf("reconciled source secret")
	return nil
}

// opens tells whether a Secret has what an address takes; one that was written for another kind of address,
// or by hand and not wholly, is completed.
func opens(secret *unstructured.Unstructured, address string) bool {
	data, _, _ := unstructured.NestedMap(secret.Object, "data")
	has := func(key string) bool { text, _ := data[key].(string); return text != "" }
	if strings.HasPrefix(address, "ssh://") {
		return has("identity") && has("known_hosts")
	}
	return has("password") || has("bearerToken") || has("githubAppID")
}

// writeSecret overwrites the keys that are given and leaves others of an existing Secret.
func (r *run) writeSecret(ctx context.Context, live *unstructured.Unstructured, data map[string]string) error {
	values := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		values[key] = data[key]
	}
	resource := r.client.Dynamic().Resource(secrets).Namespace(r.Install.Namespace)
	if live == nil {
		live = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "stringData": values}}
		live.SetName(r.Secret.Name)
		live.SetNamespace(r.Install.Namespace)
		_, err := resource.Create(ctx, live, metav1.CreateOptions{FieldManager: install.FieldManager})
		return err
	}
	live.Object["stringData"] = values
	if data["identity"] != "" && data["password"] == "" { // it would be taken for the passphrase of the key
		unstructured.RemoveNestedField(live.Object, "data", "password")
	}
	_, err := resource.Update(ctx, live, metav1.UpdateOptions{FieldManager: install.FieldManager})
	return err
}
