package helmchart

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/gitops-toolkit/flux/internal/charts/chart"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// valuesFiles are those that replace the chart's own, none if that is what they are.
func (p *poll) valuesFiles() []string {
	if slices.Equal(p.obj.Spec.ValuesFiles, []string{chart.ValuesFile}) {
		return nil
	}
	return p.obj.Spec.ValuesFiles
}

// versionOf is the version of the artifact for a chart of this version: other values give it the generation, so that
// consumers notice a change, and a source may give it something of its own.
func (p *poll) versionOf(version, ofSource string) (string, *attempt.Failure) {
	metadata := ofSource
	if len(p.valuesFiles()) > 0 {
		if metadata != "" {
			metadata += "."
		}
		metadata += strconv.FormatInt(p.obj.Generation, 10)
	}
	if metadata == "" {
		return version, nil
	}
	changed, err := chart.WithMetadata(version, metadata)
	if err != nil {
		return "", buildFailed(metadataPatch, err)
	}
	return changed, nil
}

// merge merges the values files that spec.valuesFiles names; read returns one.
func (p *poll) merge(c *chart.Chart, f *found, read func(name string) ([]byte, error)) *attempt.Failure {
	var files [][]byte
	for _, name := range p.valuesFiles() {
		data, err := read(name)
		if errors.Is(err, chart.ErrNoValues) && p.obj.Spec.IgnoreMissingValuesFiles {
			continue
		}
		if err != nil {
			return buildFailed(valuesFiles, err)
		}
		files, f.values = append(files, data), append(f.values, name)
	}
	if len(files) == 0 {
		return nil
	}
	merged, err := chart.MergeValues(files)
	if err == nil && int64(len(merged)) > p.Limits.File {
		err = fmt.Errorf("the values %w: they have %d bytes, %d are allowed", chart.ErrLimit, len(merged), p.Limits.File)
	}
	if err != nil {
		return buildFailed(valuesFiles, err)
	}
	c.SetValues(merged)
	return nil
}

// pack packs the chart as the version of the artifact and stores it.
func (p *poll) pack(ctx context.Context, c *chart.Chart, f *found) *attempt.Failure {
	c.SetVersion(f.version)
	data, err := c.Packed()
	if err == nil && int64(len(data)) > p.Limits.Packed {
		err = fmt.Errorf("the archive %w: it has %d bytes, %d are allowed; raise --helm-chart-max-size of source-controller", chart.ErrLimit, len(data), p.Limits.Packed)
	}
	if err != nil {
		return buildFailed(chartPackage, err)
	}
	f.packaged = true
	return p.keep(ctx, f, data)
}

// fetched stores a chart that came as an archive: as it is, or packed anew with other values.
func (p *poll) fetched(ctx context.Context, c *chart.Chart, data []byte, f *found) *attempt.Failure {
	if len(p.valuesFiles()) == 0 {
		return p.keep(ctx, f, data)
	}
	if fail := p.merge(c, f, c.ReadFile); fail != nil {
		return fail
	}
	return p.pack(ctx, c, f)
}
