package action

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"

	sdk "helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	rcommon "helm.sh/helm/v4/pkg/release/common"
	helm "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/helm/charts"
	"github.com/gitops-toolkit/flux/internal/helm/postrender"
	"github.com/gitops-toolkit/flux/internal/helm/release"
)

// Preview is what an install or upgrade would release.
type Preview struct {
	// Release is the release as it would be stored, but for its times.
	Release *helm.Release
	// Objects are those of the manifest and, before them, the definitions of crds/ that would be written.
	Objects []*unstructured.Unstructured
	// ServerSide says that the objects would be applied on the server.
	ServerSide bool
}

// PreviewOf renders what the next action would release, and writes nothing: an upgrade of last, or an install when it is
// nil. Templates see the cluster; where the Runner has none they see Helm's default capabilities and look nothing up.
func (r *Runner) PreviewOf(ctx context.Context, last *helm.Release, c *chart.Chart, values map[string]any) (*Preview, error) {
	config, err := r.dryConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	p := &Preview{}
	definitions, err := r.previewDefinitions(last != nil, c, values)
	if err != nil {
		return nil, err
	}
	if last == nil {
		p.ServerSide = r.installsOnServer()
		p.Release, err = r.previewInstall(ctx, config, c, values)
	} else {
		p.ServerSide = serverSide(r.upgradeSpec().ServerSideApply, last.ApplyMethod)
		p.Release, err = r.previewUpgrade(ctx, config, last, c, values)
	}
	if err != nil {
		return nil, err
	}
	objects, err := release.Objects(p.Release.Manifest)
	p.Objects = append(definitions, objects...)
	return p, err
}

func (r *Runner) dryConfiguration(ctx context.Context) (*sdk.Configuration, error) {
	config := sdk.NewConfiguration(sdk.ConfigurationSetLogger(slog.DiscardHandler))
	config.Capabilities = common.DefaultCapabilities.Copy()
	config.Releases = storage.Init(driver.NewMemory())
	// Nothing is built by the client, so that kinds may be used whose definitions the chart brings.
	config.KubeClient = &kubefake.PrintingKubeClient{Out: io.Discard}
	if r.Cluster == nil {
		if r.KubeVersion != nil {
			config.Capabilities.KubeVersion = *r.KubeVersion
		}
		return config, nil
	}
	caps, err := r.Cluster.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	config.Capabilities, config.RESTClientGetter = caps, r.Cluster.Getter(r.Namespace)
	return config, nil
}

func (r *Runner) dryStrategy() sdk.DryRunStrategy {
	if r.Cluster == nil {
		return sdk.DryRunClient
	}
	return sdk.DryRunServer
}

func (r *Runner) previewInstall(ctx context.Context, config *sdk.Configuration, c *chart.Chart, values map[string]any) (*helm.Release, error) {
	spec := helmv2.Install{}
	if r.Object.Spec.Install != nil {
		spec = *r.Object.Spec.Install
	}
	a := sdk.NewInstall(config)
	a.DryRunStrategy = r.dryStrategy()
	a.ReleaseName, a.Namespace, a.TakeOwnership = r.Name, r.Namespace, true
	a.DisableHooks, a.SkipSchemaValidation, a.DisableOpenAPIValidation = spec.DisableHooks, spec.DisableSchemaValidation, true
	a.SkipCRDs, a.Devel, a.EnableDNS, a.KubeVersion = true, true, r.DNS, r.KubeVersion
	a.PostRenderer, a.PostRenderStrategy = postrender.New(r.Object), r.postRenderStrategy()
	return asRelease(a.RunWithContext(ctx, c, values))
}

func (r *Runner) previewUpgrade(ctx context.Context, config *sdk.Configuration, last *helm.Release, c *chart.Chart, values map[string]any) (*helm.Release, error) {
	spec := r.upgradeSpec()
	// A copy that is deployed, whatever state the release is in: the controller would first bring it there.
	base := *last
	info := *last.Info
	info.Status = rcommon.StatusDeployed
	base.Info = &info
	if err := config.Releases.Create(&base); err != nil {
		return nil, fmt.Errorf("prepare the preview: %w", err)
	}
	a := sdk.NewUpgrade(config)
	a.DryRunStrategy = r.dryStrategy()
	a.Namespace, a.TakeOwnership = r.Namespace, true
	a.DisableHooks, a.SkipSchemaValidation, a.DisableOpenAPIValidation = spec.DisableHooks, spec.DisableSchemaValidation, true
	a.ResetValues, a.ReuseValues = !spec.PreserveValues, spec.PreserveValues
	a.SkipCRDs, a.Devel, a.EnableDNS = true, true, r.DNS
	a.PostRenderer, a.PostRenderStrategy = postrender.New(r.Object), r.postRenderStrategy()
	return asRelease(a.RunWithContext(ctx, r.Name, c, values))
}

// previewDefinitions are the definitions in crds/ that the action would write.
func (r *Runner) previewDefinitions(upgrade bool, c *chart.Chart, values map[string]any) ([]*unstructured.Unstructured, error) {
	policy := cmp.Or(r.upgradeSpec().CRDs, crdCreate)
	if !upgrade {
		policy = r.installPolicy()
	}
	if policy == crdSkip || len(c.CRDObjects()) == 0 {
		return nil, nil
	}
	c = charts.Clone(c)
	if err := enable(c, values); err != nil {
		return nil, err
	}
	return r.definitionsOf(c)
}
