package create

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/sshkey"
	"github.com/gitops-toolkit/flux/internal/cli/value"
)

type releaseFlags struct {
	source, chartRef      reference
	chart, version        string
	chartInterval         time.Duration
	strategy              string
	release               string
	dependsOn             []string
	targetNamespace       string
	storageNamespace      string
	createTargetNamespace bool
	serviceAccount        string
	crds                  string
	valuesFiles           []string
	valuesFrom            []string
	kubeConfigSecret      string
}

func (m *maker) helmRelease() *cobra.Command {
	f := &releaseFlags{
		source:   reference{kinds: []string{"HelmRepository", "GitRepository", "Bucket"}, fallback: "HelmRepository", typeName: "string", what: "source"},
		chartRef: reference{kinds: []string{"OCIRepository", "HelmChart"}, fallback: "OCIRepository", typeName: "string", what: "chart"},
	}
	return m.command(recipe{
		kind:    kinds.HelmRelease,
		short:   "Create or change a HelmRelease",
		example: "  # the chart is looked for in the HelmRepositories of the cluster\n  flux create helmrelease nginx --chart=nginx --target-namespace=default\n\n  flux create helmrelease podinfo --source=HelmRepository/podinfo --chart=podinfo --chart-version=\">=6.0.0\" --values=values.yaml\n\n  # a chart from a registry\n  flux create helmrelease podinfo --chart-ref=OCIRepository/podinfo",
		flags:   f.define,
		build:   func(ctx context.Context, _ string) (meta.Object, error) { return f.build(ctx, m) },
		done: readyLines("HelmRelease", func(obj meta.Object) []string {
			return []string{kinds.HelmRelease.Outcome(obj)}
		}),
	})
}

func (f *releaseFlags) define(flags *pflag.FlagSet) {
	flags.Var(&f.source, "source", "source of the chart, as <kind>/<name>.<namespace>; kinds: HelmRepository, GitRepository, Bucket")
	flags.Var(&f.chartRef, "chart-ref", "chart from another object, as <kind>/<name>.<namespace>; kinds: OCIRepository, HelmChart")
	flags.StringVar(&f.chart, "chart", "", "name or path of the chart")
	flags.StringVar(&f.version, "chart-version", "", "version of the chart, or a range of versions")
	flags.DurationVar(&f.chartInterval, "chart-interval", 0, "how often the chart is looked up, the interval when zero")
	flags.StringVar(&f.strategy, "reconcile-strategy", "ChartVersion", "what makes a new chart: ChartVersion or Revision")
	flags.StringVar(&f.release, "release-name", "", "name of the release")
	flags.StringSliceVar(&f.dependsOn, "depends-on", nil, "HelmRelease that must be ready first, as <name> or <namespace>/<name>; may be given several times")
	flags.StringVar(&f.targetNamespace, "target-namespace", "", "namespace to install into")
	flags.StringVar(&f.storageNamespace, "storage-namespace", "", "namespace of Helm's records, the target namespace when empty")
	flags.BoolVar(&f.createTargetNamespace, "create-target-namespace", false, "create the target namespace if it is missing")
	flags.StringVar(&f.serviceAccount, "service-account", "", "ServiceAccount to impersonate")
	flags.Var(value.OneOf(&f.crds, "CRDs policy", "Skip", "Create", "CreateReplace"), "crds", "what to do with the chart's CRDs on upgrade: Skip, Create or CreateReplace")
	flags.StringSliceVar(&f.valuesFiles, "values", nil, "file with values; later files win; may be given several times")
	flags.StringSliceVar(&f.valuesFrom, "values-from", nil, "object with values, as <kind>/<name>[:<key>]; kinds: Secret, ConfigMap; may be given several times")
	flags.StringVar(&f.kubeConfigSecret, "kubeconfig-secret-ref", "", "Secret that holds the kubeconfig of another cluster to install to")
}

func (f *releaseFlags) check() error {
	switch {
	case f.chart == "" && f.chartRef.name == "":
		return errors.New("chart or chart-ref is required")
	case f.chart != "" && f.chartRef.name != "":
		return errors.New("cannot use --chart in combination with --chart-ref")
	}
	return nil
}

func (f *releaseFlags) build(ctx context.Context, m *maker) (meta.Object, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.chart != "" && f.source.name == "" {
		found, err := m.findSource(ctx, f.chart, f.version)
		if err != nil {
			return nil, err
		}
		f.source = found
	}
	m.generating("HelmRelease")
	obj := &helmv2.HelmRelease{}
	obj.Spec = helmv2.HelmReleaseSpec{
		Interval: meta.NewDuration(m.interval), ReleaseName: f.release, DependsOn: dependencies(f.dependsOn),
		TargetNamespace: f.targetNamespace, StorageNamespace: f.storageNamespace, ServiceAccountName: f.serviceAccount,
	}
	if f.storageNamespace == "" {
		obj.Spec.StorageNamespace = f.targetNamespace
	}
	f.setChart(&obj.Spec)
	if f.kubeConfigSecret != "" {
		obj.Spec.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: f.kubeConfigSecret}}
	}
	if f.createTargetNamespace || f.crds != "" {
		obj.Spec.Install = &helmv2.Install{CreateNamespace: f.createTargetNamespace}
	}
	if f.crds != "" {
		obj.Spec.Install.CRDs = "Create"
		obj.Spec.Upgrade = &helmv2.Upgrade{CRDs: f.crds}
	}
	return obj, f.setValues(&obj.Spec)
}

func (f *releaseFlags) setChart(spec *helmv2.HelmReleaseSpec) {
	if f.chart == "" {
		spec.ChartRef = &helmv2.CrossNamespaceSourceReference{Kind: f.chartRef.kind, Name: f.chartRef.name, Namespace: f.chartRef.namespace}
		return
	}
	spec.Chart = &helmv2.HelmChartTemplate{Spec: helmv2.HelmChartTemplateSpec{
		Chart: f.chart, Version: f.version, ReconcileStrategy: f.strategy, Interval: optionalDuration(f.chartInterval),
		SourceRef: helmv2.CrossNamespaceObjectReference{Kind: f.source.kind, Name: f.source.name, Namespace: f.source.namespace},
	}}
}

func (f *releaseFlags) setValues(spec *helmv2.HelmReleaseSpec) error {
	for _, text := range f.valuesFrom {
		kind, rest, ok := strings.Cut(text, "/")
		if !ok || (kind != "Secret" && kind != "ConfigMap") {
			return fmt.Errorf("invalid --values-from '%s', must be <kind>/<name>[:<key>] with a kind of Secret or ConfigMap", text)
		}
		name, key, _ := strings.Cut(rest, ":")
		spec.ValuesFrom = append(spec.ValuesFrom, helmv2.ValuesReference{Kind: kind, Name: name, ValuesKey: key})
	}
	if len(f.valuesFiles) == 0 {
		return nil
	}
	merged := map[string]any{}
	for _, name := range f.valuesFiles {
		text, err := sshkey.ReadFile(name)
		if err != nil {
			return fmt.Errorf("reading values from %s failed: %w", name, err)
		}
		var values map[string]any
		if err := yaml.Unmarshal(text, &values); err != nil {
			return fmt.Errorf("reading values from %s failed: %w", name, err)
		}
		merged = merge(merged, values)
	}
	raw, err := json.Marshal(merged)
	spec.Values = &meta.JSON{Raw: raw}
	return err
}

// merge returns the values of both, those of over winning; maps are merged in turn.
func merge(under, over map[string]any) map[string]any {
	result := maps.Clone(under)
	for key, value := range over {
		a, aIsMap := result[key].(map[string]any)
		b, bIsMap := value.(map[string]any)
		if aIsMap && bIsMap {
			value = merge(a, b)
		}
		result[key] = value
	}
	return result
}
