package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// StandIn is something that was made because nobody else would.
type StandIn struct {
	// Object is what was made or changed.
	Object string `json:"object"`
	// For is the object that needed it.
	For string `json:"for,omitempty"`
	// Why says what it stands for.
	Why string `json:"why"`
}

// double makes stand-ins in the cluster.
type double struct {
	client *cluster.Client
	tree   *tree
	made   []StandIn
}

func (d *double) note(object, owner, why string) {
	d.made = append(d.made, StandIn{Object: object, For: owner, Why: why})
}

// secrets makes the Secrets that objects which do not get on refer to and that do not exist. It is called
// when nothing moves any more, so that whoever would make them has had the time. Told is whether it made one.
func (d *double) secrets(ctx context.Context, all []*state) (bool, error) {
	before := len(d.made)
	for _, s := range all {
		if s.phase != failing && s.phase != stalled && s.phase != waiting {
			continue
		}
		var err error
		switch obj := s.obj.(type) {
		case *kustomizev1.Kustomization:
			err = d.forKustomization(ctx, s, obj)
		case *helmv2.HelmRelease:
			err = d.forRelease(ctx, s, obj)
		}
		if err != nil {
			return false, err
		}
	}
	return len(d.made) > before, nil
}

func (d *double) forKustomization(ctx context.Context, s *state, obj *kustomizev1.Kustomization) error {
	if dec := obj.Spec.Decryption; dec != nil && dec.SecretRef != nil {
		if err := d.secret(ctx, s, dec.SecretRef.Name, nil, "keys for decryption, which nothing here needs"); err != nil {
			return err
		}
	}
	post := obj.Spec.PostBuild
	if post == nil {
		return nil
	}
	for _, from := range post.SubstituteFrom {
		if from.Kind != kinds.Secrets.Kind || from.Optional {
			continue
		}
		unknown, err := d.unknown(ctx, obj)
		if err != nil {
			return err
		}
		data := map[string]string{}
		for _, name := range unknown {
			data[name] = standIn
		}
		if err := d.secret(ctx, s, from.Name, data, "variables that nothing else defines: "+strings.Join(unknown, ", ")); err != nil {
			return err
		}
	}
	return nil
}

func (d *double) forRelease(ctx context.Context, s *state, obj *helmv2.HelmRelease) error {
	for _, from := range obj.Spec.ValuesFrom {
		if from.Kind != kinds.Secrets.Kind || from.Optional {
			continue
		}
		key, value := from.ValuesKey, "{}"
		if key == "" {
			key = "values.yaml"
		}
		if from.TargetPath != "" {
			value = standIn
		}
		if err := d.secret(ctx, s, from.Name, map[string]string{key: value}, "values of the chart: "+key); err != nil {
			return err
		}
	}
	return nil
}

// secret makes a Secret unless it exists.
func (d *double) secret(ctx context.Context, s *state, name string, data map[string]string, why string) error {
	obj := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: kinds.Secrets.Kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: s.ref.Namespace, Name: name}, StringData: data,
	}
	err := d.client.Get(ctx, kinds.Secrets, obj.Namespace, name, &corev1.Secret{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	if err := d.client.Create(ctx, kinds.Secrets, obj); err != nil {
		return fmt.Errorf("make a stand-in for Secret/%s/%s: %w", obj.Namespace, name, err)
	}
	d.note("Secret/"+obj.Namespace+"/"+name, s.ref.String(), why)
	return nil
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)[^}]*\}`)

// unknown are the variables in the files below the path that nothing which exists defines.
func (d *double) unknown(ctx context.Context, obj *kustomizev1.Kustomization) ([]string, error) {
	known := map[string]bool{}
	for name := range obj.Spec.PostBuild.Substitute {
		known[name] = true
	}
	for _, from := range obj.Spec.PostBuild.SubstituteFrom {
		var keys struct{ Data map[string]string }
		resource := kinds.ConfigMaps
		if from.Kind == kinds.Secrets.Kind {
			resource = kinds.Secrets
		}
		err := d.client.Get(ctx, resource, obj.Namespace, from.Name, &keys)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		for name := range keys.Data {
			known[name] = true
		}
	}
	var names []string
	// The path may refer to bases elsewhere: the whole repository is looked at, and names too many do no harm.
	err := d.tree.each(func(name string, content []byte) {
		for _, m := range variable.FindAllSubmatch(content, -1) {
			if v := string(m[1]); !known[v] && !slices.Contains(names, v) {
				names = append(names, v)
			}
		}
	})
	slices.Sort(names)
	return names, err
}

// each reads the manifests of the tree.
func (t *tree) each(do func(name string, content []byte)) error {
	names, err := listFiles(context.Background(), t.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if ext := filepath.Ext(name); ext != ".yaml" && ext != ".yml" && ext != ".json" && ext != ".env" {
			continue
		}
		info, err := os.Lstat(filepath.Join(t.dir, name))
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxManifest {
			continue
		}
		content, err := os.ReadFile(filepath.Join(t.dir, name))
		if err != nil {
			return err
		}
		do(name, content)
	}
	return nil
}

var (
	services = cluster.Resource{Version: "v1", Kind: "Service", Plural: "services"}
	claims   = cluster.Resource{Version: "v1", Kind: "PersistentVolumeClaim", Plural: "persistentvolumeclaims"}
	classes  = cluster.Resource{Group: "storage.k8s.io", Version: "v1", Kind: "StorageClass", Plural: "storageclasses", Clusters: true}
)

// cloud does what a cloud's controllers would: load balancers get an address, and claims their storage class.
func (d *double) cloud(ctx context.Context) error {
	all, err := cluster.All[corev1.Service](ctx, d.client, services, cluster.ListOptions{})
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer || len(s.Status.LoadBalancer.Ingress) > 0 {
			continue
		}
		patch := map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": []any{map[string]any{"ip": "192.0.2.1"}}}}}
		if err := d.client.MergePatch(ctx, services, s.Namespace, s.Name, patch, nil, "status"); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		d.note("Service/"+s.Namespace+"/"+s.Name, "", "an address for the load balancer")
	}
	return d.storage(ctx)
}

func (d *double) storage(ctx context.Context) error {
	wanted, err := cluster.All[corev1.PersistentVolumeClaim](ctx, d.client, claims, cluster.ListOptions{})
	if err != nil {
		return err
	}
	existing, err := cluster.All[storagev1.StorageClass](ctx, d.client, classes, cluster.ListOptions{})
	if err != nil || len(existing) == 0 {
		return err
	}
	for _, claim := range wanted {
		name := claim.Spec.StorageClassName
		if name == nil || *name == "" || slices.ContainsFunc(existing, func(c storagev1.StorageClass) bool { return c.Name == *name }) {
			continue
		}
		class := existing[0].DeepCopy()
		class.ObjectMeta = metav1.ObjectMeta{Name: *name}
		class.TypeMeta = metav1.TypeMeta{APIVersion: "storage.k8s.io/v1", Kind: classes.Kind}
		if err := d.client.Create(ctx, classes, class); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		existing = append(existing, *class)
		d.note("StorageClass/"+*name, "PersistentVolumeClaim/"+claim.Namespace+"/"+claim.Name, "a storage class of the cloud")
	}
	return nil
}
