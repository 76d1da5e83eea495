package create

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/sshkey"
)

// secretDoc is a Secret to be written or printed.
type secretDoc struct {
	name        string
	kind        corev1.SecretType
	labels      map[string]string
	annotations map[string]string
	data        map[string]string
}

// document returns the Secret as it would be committed.
func (d *secretDoc) document(namespace string) map[string]any {
	metadata := map[string]any{"name": d.name, "namespace": namespace}
	if len(d.labels) > 0 {
		metadata["labels"] = d.labels
	}
	if len(d.annotations) > 0 {
		metadata["annotations"] = d.annotations
	}
	doc := map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": d.data}
	if d.kind != "" {
		doc["type"] = d.kind
	}
	return doc
}

// applySecret creates the Secret, or replaces its content.
func (m *maker) applySecret(ctx context.Context, d secretDoc) error {
	c, err := m.Client()
	if err != nil {
		return err
	}
	var secret corev1.Secret
	err = c.Get(ctx, kinds.Secrets, m.Namespace, d.name, &secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	exists := err == nil
	secret.APIVersion, secret.Kind = "v1", "Secret"
	secret.Name, secret.Namespace = d.name, m.Namespace
	secret.Data, secret.StringData = nil, d.data
	if d.kind != "" && !exists {
		secret.Type = d.kind
	}
	if len(d.labels) > 0 {
		secret.Labels = d.labels
	}
	for key, value := range d.annotations {
		if secret.Annotations == nil {
			secret.Annotations = map[string]string{}
		}
		secret.Annotations[key] = value
	}
	if exists {
		return c.Update(ctx, kinds.Secrets, &secret)
	}
	return c.Create(ctx, kinds.Secrets, &secret)
}

// secretRecipe is how a kind of Secret is made.
type secretRecipe struct {
	word    string
	short   string
	example string
	flags   func(*pflag.FlagSet)
	build   func(ctx context.Context, d *secretDoc) error
}

func (m *maker) secret(r secretRecipe) *cobra.Command {
	cmd := &cobra.Command{Use: r.word + " [name]", Short: r.short, Example: r.example}
	r.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := objectName(args)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), m.Timeout)
		defer cancel()
		labels, err := parseLabels(m.labels)
		if err != nil {
			return err
		}
		d := secretDoc{name: name, labels: labels}
		if err := r.build(ctx, &d); err != nil {
			return err
		}
		if m.export {
			text, err := yaml.Marshal(d.document(m.Namespace))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(m.Out, "---\n%s\n", text)
			return err
		}
		if err := m.applySecret(ctx, d); err != nil {
			return err
		}
		m.Log.Actionf("%s secret '%s' created in '%s' namespace", r.word, name, m.Namespace)
		return nil
	}
	return cmd
}

// file adds the content of a file to the data; without a name it does nothing.
func (d *secretDoc) file(key, name string) error {
	if name == "" {
		return nil
	}
	text, err := sshkey.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	d.set(key, string(text))
	return nil
}

func (d *secretDoc) set(key, value string) {
	if d.data == nil {
		d.data = map[string]string{}
	}
	d.data[key] = value
}

// dockerConfig returns the content of a registry Secret.
func dockerConfig(host, username, password string) (string, error) {
	type entry struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     []byte `json:"auth"`
	}
	config := map[string]map[string]entry{"auths": {host: {username, password, []byte(username + ":" + password)}}}
	text, err := json.MarshalIndent(config, "", "  ")
	return string(text), err
}
