package diff

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/charts/chart"
	clicharts "github.com/gitops-toolkit/flux/internal/cli/charts"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/helm/charts"
)

// wanted says which chart is meant, whichever object says so.
type wanted struct {
	chart, version     string
	source             helmv2.CrossNamespaceObjectReference
	valuesFiles        []string
	ignoreMissingFiles bool
}

// chartOf loads the chart of a HelmRelease.
func (f *releaseFlags) chartOf(ctx context.Context, in *inputs, hr *helmv2.HelmRelease) (*helmchart.Chart, error) {
	if f.chart != "" {
		return f.ownChart(hr)
	}
	finder := clicharts.New(in)
	defer finder.Close()
	w := wanted{}
	switch ref := hr.Spec.ChartRef; {
	case ref == nil && hr.Spec.Chart == nil:
		return nil, errors.New("it has neither spec.chart nor spec.chartRef")
	case ref == nil:
		s := hr.Spec.Chart.Spec
		w = wanted{chart: s.Chart, version: s.Version, source: s.SourceRef, valuesFiles: s.ValuesFiles, ignoreMissingFiles: s.IgnoreMissingValuesFiles}
		w.source.Namespace = cmp.Or(w.source.Namespace, hr.Namespace)
	case ref.Kind == sourcev1.OCIRepositoryKind:
		return fromOCI(ctx, in, finder, cmp.Or(ref.Namespace, hr.Namespace), ref.Name)
	case ref.Kind == sourcev1.HelmChartKind:
		obj, namespace := &sourcev1.HelmChart{}, cmp.Or(ref.Namespace, hr.Namespace)
		if err := in.get(ctx, kinds.HelmChart.Resource, namespace, ref.Name, obj); err != nil {
			return nil, err
		}
		s := obj.Spec
		w = wanted{chart: s.Chart, version: s.Version, valuesFiles: s.ValuesFiles, ignoreMissingFiles: s.IgnoreMissingValuesFiles}
		w.source = helmv2.CrossNamespaceObjectReference{Kind: s.SourceRef.Kind, Name: s.SourceRef.Name, Namespace: namespace}
	default:
		return nil, fmt.Errorf("a chart of the kind %s is not within reach from here: give its files with --chart", ref.Kind)
	}
	return f.wantedChart(ctx, in, finder, w)
}

// ownChart loads the chart of --chart.
func (f *releaseFlags) ownChart(hr *helmv2.HelmRelease) (*helmchart.Chart, error) {
	if hr.Spec.Chart == nil || len(hr.Spec.Chart.Spec.ValuesFiles) == 0 {
		return load(f.chart)
	}
	w := wanted{valuesFiles: hr.Spec.Chart.Spec.ValuesFiles, ignoreMissingFiles: hr.Spec.Chart.Spec.IgnoreMissingValuesFiles}
	return w.fromDir(f.chart)
}

func load(path string) (*helmchart.Chart, error) {
	l, err := loader.Loader(path)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", path, err)
	}
	loaded, err := l.Load()
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", path, err)
	}
	return loaded, nil
}

func (f *releaseFlags) wantedChart(ctx context.Context, in *inputs, finder *clicharts.Finder, w wanted) (*helmchart.Chart, error) {
	if w.source.Kind != sourcev1.HelmRepositoryKind {
		if f.root == "" {
			return nil, fmt.Errorf("its chart is in the %s '%s': give the directory that stands for it with --root, or the chart with --chart", w.source.Kind, w.source.Name)
		}
		return w.fromDir(filepath.Join(f.root, filepath.FromSlash(filepath.Clean("/"+w.chart))))
	}
	repository := &sourcev1.HelmRepository{}
	if err := in.get(ctx, kinds.HelmRepository.Resource, w.source.Namespace, w.source.Name, repository); err != nil {
		return nil, err
	}
	packed, err := finder.Pull(ctx, repository, w.chart, w.version)
	if err != nil {
		return nil, fmt.Errorf("fetch the chart from the HelmRepository '%s': %w", w.source.Name, err)
	}
	c, err := chart.LoadArchive(bytes.NewReader(packed), chart.Limits{})
	if err != nil {
		return nil, err
	}
	return w.withValues(c, packed, c.ReadFile)
}

// fromDir reads the chart of a directory, or an archive; files of values are beside its own.
func (w *wanted) fromDir(path string) (*helmchart.Chart, error) {
	loaded, err := load(path)
	if err != nil || len(w.valuesFiles) == 0 {
		return loaded, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // only read
	c, err := chart.LoadDir(root, ".", chart.Limits{})
	if err != nil {
		return nil, err
	}
	packed, err := c.Packed()
	if err != nil {
		return nil, err
	}
	return w.withValues(c, packed, c.ReadFile)
}

// withValues returns the chart with the files of values that are named in the place of its own.
func (w *wanted) withValues(c *chart.Chart, packed []byte, read func(string) ([]byte, error)) (*helmchart.Chart, error) {
	var files [][]byte
	for _, name := range w.valuesFiles {
		data, err := read(strings.TrimPrefix(name, "./"))
		if errors.Is(err, chart.ErrNoValues) && w.ignoreMissingFiles {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, data)
	}
	if len(files) > 0 {
		merged, err := chart.MergeValues(files)
		if err != nil {
			return nil, err
		}
		c.SetValues(merged)
		if packed, err = c.Packed(); err != nil {
			return nil, err
		}
	}
	return charts.Parse(packed)
}

// fromOCI fetches what an OCIRepository offers, and marks it as the controller does.
func fromOCI(ctx context.Context, in *inputs, finder *clicharts.Finder, namespace, name string) (*helmchart.Chart, error) {
	obj := &sourcev1.OCIRepository{}
	if err := in.get(ctx, kinds.OCIRepository.Resource, namespace, name, obj); err != nil {
		return nil, err
	}
	packed, revision, err := finder.PullOCI(ctx, obj)
	if err != nil {
		return nil, fmt.Errorf("fetch the chart from the OCIRepository '%s': %w", name, err)
	}
	c, err := charts.Parse(packed)
	if err != nil {
		return nil, err
	}
	_, err = charts.SetVersion(c, revision, true)
	return c, err
}
