package diff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/helm/values"
)

// inputs are objects in files, over those of a cluster.
type inputs struct {
	where string
	files map[inputKey]*unstructured.Unstructured
	// client is nil where no cluster is asked.
	client *cluster.Client
}

type inputKey struct {
	kind            schema.GroupKind
	namespace, name string
}

// readInputs reads the objects below a path; those without a namespace are in the given one. An empty path has none.
func readInputs(path, namespace string, client *cluster.Client) (*inputs, error) {
	in := &inputs{where: path, files: map[inputKey]*unstructured.Unstructured{}, client: client}
	if path == "" {
		return in, nil
	}
	return in, filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if file != path && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
			return nil
		}
		if err := in.read(file, namespace); err != nil && file == path {
			return err
		}
		return nil // directories hold files of all kinds
	})
}

func (in *inputs) read(file, namespace string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := decoder.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if u.GetKind() == "" || u.GetName() == "" {
			continue
		}
		if u.GetNamespace() == "" {
			u.SetNamespace(namespace)
		}
		in.files[inputKey{u.GroupVersionKind().GroupKind(), u.GetNamespace(), u.GetName()}] = u
	}
}

// has tells whether an object is in the files.
func (in *inputs) has(r cluster.Resource, namespace, name string) bool {
	return in.files[inputKey{r.GVK().GroupKind(), namespace, name}] != nil
}

// get reads an object from the files, else from the cluster.
func (in *inputs) get(ctx context.Context, r cluster.Resource, namespace, name string, into any) error {
	if u := in.files[inputKey{r.GVK().GroupKind(), namespace, name}]; u != nil {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, into); err != nil {
			return fmt.Errorf("%s/%s/%s in %s: %w", r.Kind, namespace, name, in.where, err)
		}
		if n, ok := into.(interface{ Normalize() }); ok {
			n.Normalize()
		}
		return nil
	}
	if in.client == nil {
		return fmt.Errorf("in %s: %w", in.where, apierrors.NewNotFound(schema.GroupResource{Group: r.Group, Resource: r.Plural}, name))
	}
	err := in.client.Get(ctx, r, namespace, name, into)
	if n, ok := into.(interface{ Normalize() }); ok && err == nil {
		n.Normalize()
	}
	return err
}

// GetSecret reads a Secret; what a file has as text counts as its data.
func (in *inputs) GetSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{}}
	if err := in.get(ctx, kinds.Secrets, key.Namespace, key.Name, secret); err != nil {
		return nil, err
	}
	for k, v := range secret.StringData {
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		secret.Data[k] = []byte(v)
	}
	return secret, nil
}

// config reads the content of a ConfigMap or Secret for values.
func (in *inputs) config(ctx context.Context, kind, namespace, name string) (values.Object, error) {
	if kind == kinds.Secrets.Kind {
		return values.FromSecret(in.GetSecret(ctx, types.NamespacedName{Namespace: namespace, Name: name}))
	}
	config := &corev1.ConfigMap{}
	err := in.get(ctx, kinds.ConfigMaps, namespace, name, config)
	return values.FromConfigMap(config, err)
}
