package create

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

const tenantLabel = "toolkit.fluxcd.io/tenant"

type tenantFlags struct {
	namespaces    []string
	clusterRole   string
	account       string
	skipNamespace bool
}

func (m *maker) tenant() *cobra.Command {
	f := &tenantFlags{}
	cmd := &cobra.Command{
		Use:     "tenant",
		Short:   "Create or change a tenant: its namespaces and what it may do in them",
		Example: "  flux create tenant dev-team --with-namespace=frontend --with-namespace=backend",
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.namespaces, "with-namespace", nil, "namespace of the tenant; may be given several times")
	flags.StringVar(&f.clusterRole, "cluster-role", "cluster-admin", "ClusterRole that the tenant has in its namespaces")
	flags.StringVar(&f.account, "with-service-account", "", "ServiceAccount of the tenant, its name when empty")
	flags.BoolVar(&f.skipNamespace, "skip-namespace", false, "do not write the namespaces")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := objectName(args)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), m.Timeout)
		defer cancel()
		return f.run(ctx, m, name)
	}
	return cmd
}

// part is one object of a tenant.
type part struct {
	resource cluster.Resource
	what     string
	obj      metav1.Object
}

func (f *tenantFlags) run(ctx context.Context, m *maker, name string) error {
	if f.clusterRole == "" {
		return errors.New("cluster-role is required")
	}
	if len(f.namespaces) == 0 {
		return errors.New("with-namespace is required")
	}
	labels, err := parseLabels(m.labels)
	if err != nil {
		return err
	}
	labels[tenantLabel] = name
	var parts []part
	for _, namespace := range f.namespaces {
		parts = append(parts, f.parts(name, namespace, labels)...)
	}
	if m.export {
		return printParts(m, parts)
	}
	c, err := m.Client()
	if err != nil {
		return err
	}
	for _, p := range parts {
		m.Log.Actionf("applying %s %s", p.what, p.obj.GetName())
		if err := applyPart(ctx, c, p); err != nil {
			return fmt.Errorf("%s %s: %w", p.what, p.obj.GetName(), err)
		}
	}
	m.Log.Successf("tenant setup completed")
	return nil
}

func (f *tenantFlags) parts(tenant, namespace string, labels map[string]string) []part {
	account := f.account
	if account == "" {
		account = tenant
	}
	var parts []part
	if !f.skipNamespace {
		parts = append(parts, part{kinds.Namespaces, "namespace", &corev1.Namespace{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
			ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: labels},
		}})
	}
	return append(parts,
		part{kinds.Accounts, "service account", &corev1.ServiceAccount{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
			ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: namespace, Labels: labels},
		}},
		part{kinds.Bindings, "role binding", &rbacv1.RoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: tenant + "-reconciler", Namespace: namespace, Labels: labels},
			Subjects: []rbacv1.Subject{
				{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "gotk:" + namespace + ":reconciler"},
				{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: namespace},
			},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: f.clusterRole},
		}},
	)
}

func printParts(m *maker, parts []part) error {
	for _, p := range parts {
		content, err := asMap(p.obj)
		if err != nil {
			return err
		}
		delete(content, "spec")
		delete(content, "status")
		if metadata, ok := content["metadata"].(map[string]any); ok {
			delete(metadata, "creationTimestamp")
		}
		text, err := yaml.Marshal(content)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(m.Out, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

// applyPart creates the object, or sets what a tenant's object has on the one that exists. The
// role of a binding cannot be changed, so a binding to another role is made anew.
func applyPart(ctx context.Context, c *cluster.Client, p part) error {
	namespace, name := p.obj.GetNamespace(), p.obj.GetName()
	err := c.Create(ctx, p.resource, p.obj)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	patch := map[string]any{"metadata": map[string]any{"labels": p.obj.GetLabels()}}
	binding, ok := p.obj.(*rbacv1.RoleBinding)
	if !ok {
		return c.MergePatch(ctx, p.resource, namespace, name, patch, nil)
	}
	var existing rbacv1.RoleBinding
	if err := c.Get(ctx, p.resource, namespace, name, &existing); err != nil {
		return err
	}
	if existing.RoleRef != binding.RoleRef {
		if err := c.Delete(ctx, p.resource, namespace, name, cluster.DeleteOptions{}); err != nil {
			return err
		}
		return c.Create(ctx, p.resource, binding)
	}
	patch["subjects"] = binding.Subjects
	return c.MergePatch(ctx, p.resource, namespace, name, patch, nil)
}
