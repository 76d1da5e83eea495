package create

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/value"
)

// checkable are the kinds that --health-check takes.
var checkable = []string{"Deployment", "DaemonSet", "StatefulSet", "HelmRelease"}

type kustomizationFlags struct {
	source             reference
	path               string
	prune, wait        bool
	dependsOn          []string
	healthChecks       []string
	healthCheckTimeout time.Duration
	retryInterval      time.Duration
	serviceAccount     string
	targetNamespace    string
	decryptionProvider string
	decryptionSecret   string
	kubeConfigSecret   string
}

func (m *maker) kustomization() *cobra.Command {
	f := &kustomizationFlags{source: reference{
		kinds: []string{"OCIRepository", "GitRepository", "Bucket"}, fallback: "GitRepository", typeName: "string", what: "source",
	}}
	return m.command(recipe{
		kind:  kinds.Kustomization,
		short: "Create or change a Kustomization",
		example: `  # apply a directory of a source and wait until all of it is ready
  flux create kustomization podinfo --source=GitRepository/podinfo --path="./deploy" --prune --wait

  # print the YAML to commit
  flux create kustomization podinfo --source=GitRepository/podinfo --path="./deploy" --export > podinfo.yaml`,
		flags: f.define,
		build: func(_ context.Context, _ string) (meta.Object, error) { return f.build(m) },
		done: readyLines("Kustomization", func(obj meta.Object) []string {
			return []string{"applied revision " + obj.(*kustomizev1.Kustomization).Status.LastAppliedRevision}
		}),
	})
}

func (f *kustomizationFlags) define(flags *pflag.FlagSet) {
	f.path = "./"
	flags.Var(&f.source, "source", "source to apply from, as [<kind>/]<name>.<namespace>; kinds: OCIRepository, GitRepository, Bucket")
	flags.Var(value.SafePath(&f.path), "path", "directory of the source that holds the manifests or a kustomization.yaml")
	flags.BoolVar(&f.prune, "prune", false, "delete what is no longer in the source")
	flags.BoolVar(&f.wait, "wait", false, "wait until everything that was applied is ready")
	flags.StringSliceVar(&f.healthChecks, "health-check", nil, "workload to wait for, as <kind>/<name>.<namespace>; may be given several times")
	flags.DurationVar(&f.healthCheckTimeout, "health-check-timeout", 2*time.Minute, "time limit of health checks")
	flags.StringSliceVar(&f.dependsOn, "depends-on", nil, "Kustomization that must be ready first, as <name> or <namespace>/<name>; may be given several times")
	flags.StringVar(&f.serviceAccount, "service-account", "", "ServiceAccount to impersonate when applying")
	flags.Var(value.OneOf(&f.decryptionProvider, "decryption provider", "sops").Named("decryptionProvider"), "decryption-provider", "how Secrets are decrypted: sops")
	flags.StringVar(&f.decryptionSecret, "decryption-secret", "", "Secret that holds the keys for decryption")
	flags.StringVar(&f.targetNamespace, "target-namespace", "", "namespace that all objects are moved to")
	flags.StringVar(&f.kubeConfigSecret, "kubeconfig-secret-ref", "", "Secret that holds the kubeconfig of another cluster to apply to")
	flags.String("validation", "", "client or server")
	_ = flags.MarkDeprecated("validation", "the API server always validates")
	flags.DurationVar(&f.retryInterval, "retry-interval", 0, "when to try again after a failure, the interval when zero")
}

func (f *kustomizationFlags) build(m *maker) (meta.Object, error) {
	if f.path == "" {
		return nil, errors.New("path is required")
	}
	if f.source.name == "" {
		return nil, errors.New("source is required")
	}
	m.generating("Kustomization")
	obj := &kustomizev1.Kustomization{}
	obj.Spec = kustomizev1.KustomizationSpec{
		SourceRef:          kustomizev1.CrossNamespaceSourceReference{Kind: f.source.kind, Name: f.source.name, Namespace: f.source.namespace},
		Path:               f.path,
		Interval:           meta.NewDuration(m.interval),
		RetryInterval:      optionalDuration(f.retryInterval),
		Prune:              f.prune,
		Wait:               f.wait,
		DependsOn:          dependencies(f.dependsOn),
		ServiceAccountName: f.serviceAccount,
		TargetNamespace:    f.targetNamespace,
	}
	if f.kubeConfigSecret != "" {
		obj.Spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: f.kubeConfigSecret}}
	}
	if f.decryptionProvider != "" {
		obj.Spec.Decryption = &kustomizev1.Decryption{Provider: f.decryptionProvider, SecretRef: localRef(f.decryptionSecret)}
	}
	checks, err := parseHealthChecks(f.healthChecks)
	if err != nil {
		return nil, err
	}
	obj.Spec.HealthChecks = checks
	if f.wait || len(checks) > 0 {
		obj.Spec.Timeout = meta.DurationPtr(f.healthCheckTimeout)
	}
	return obj, nil
}

func parseHealthChecks(texts []string) ([]meta.NamespacedObjectKindReference, error) {
	var checks []meta.NamespacedObjectKindReference
	for _, text := range texts {
		kind, rest, ok := strings.Cut(text, "/")
		name, namespace, dotted := strings.Cut(rest, ".")
		if !ok || !dotted || name == "" || namespace == "" {
			return nil, fmt.Errorf("invalid health check '%s' must be in the format 'kind/name.namespace' %v", text, texts)
		}
		if !slices.Contains(checkable, kind) {
			return nil, fmt.Errorf("invalid health check kind '%s' can be HelmRelease, Deployment, DaemonSet or StatefulSet", kind)
		}
		check := meta.NamespacedObjectKindReference{Kind: kind, Name: name, Namespace: namespace}
		if kind == kinds.HelmRelease.Kind {
			check.APIVersion = kinds.HelmRelease.GVK().GroupVersion().String()
		}
		checks = append(checks, check)
	}
	return checks, nil
}
