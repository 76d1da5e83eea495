package main

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/test/harness"
)

func init() {
	rows = append(rows,
		row{"start-up of flux version --client", "not measured", "≤ 100 ms", startUp},
		row{"flux get all -A, 5,000 objects", "one list per kind", "≤ 1 s; paged", getEverything},
	)
}

// command runs flux a few times and returns the fastest run: that is what it needs, the rest is the machine.
func command(ctx context.Context, runs int, args ...string) (wall, cpu time.Duration, out string, err error) {
	binary, err := harness.Binary("flux")
	if err != nil {
		return 0, 0, "", err
	}
	for range runs {
		cmd := exec.CommandContext(ctx, binary, args...)
		began := time.Now()
		text, err := cmd.Output()
		if err != nil {
			return 0, 0, "", fmt.Errorf("flux %v: %w", args, err)
		}
		took, used := time.Since(began), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
		wall, cpu, out = min(cmp.Or(wall, took), took), min(cmp.Or(cpu, used), used), string(text)
	}
	return wall, cpu, out, nil
}

func startUp(ctx context.Context, _ *world) ([]figure, error) {
	wall, cpu, _, err := command(ctx, 10, "version", "--client")
	return []figure{
		{"wall clock, fastest of ten", wall.Seconds() * 1000, 100, "ms", ""},
		{"CPU", cpu.Seconds() * 1000, 100, "ms", ""},
	}, err
}

// getEverything creates objects of kinds whose controllers do not run here.
func getEverything(ctx context.Context, w *world) ([]figure, error) {
	const each = 1000
	group, creating := errgroup.WithContext(ctx)
	group.SetLimit(16)
	kinds := []struct {
		group, version, plural, kind string
		spec                         map[string]any
	}{
		{"helm.toolkit.fluxcd.io", "v2", "helmreleases", "HelmRelease", map[string]any{"interval": "1h", "chartRef": map[string]any{"kind": "OCIRepository", "name": "x"}}},
		{"image.toolkit.fluxcd.io", "v1", "imagerepositories", "ImageRepository", map[string]any{"interval": "1h", "image": "ghcr.io/org/app"}},
		{"image.toolkit.fluxcd.io", "v1", "imagepolicies", "ImagePolicy", map[string]any{"imageRepositoryRef": map[string]any{"name": "x"}, "policy": map[string]any{"semver": map[string]any{"range": "*"}}}},
		{"notification.toolkit.fluxcd.io", "v1beta3", "providers", "Provider", map[string]any{"type": "slack", "address": "https://example.com"}},
		{"notification.toolkit.fluxcd.io", "v1beta3", "alerts", "Alert", map[string]any{"providerRef": map[string]any{"name": "x"}, "eventSources": []any{map[string]any{"kind": "Kustomization", "name": "*"}}}},
	}
	for _, k := range kinds {
		gvr := schema.GroupVersionResource{Group: k.group, Version: k.version, Resource: k.plural}
		for i := range each {
			group.Go(func() error {
				o := object(k.group+"/"+k.version, k.kind, fmt.Sprintf("many-%04d", i), k.spec)
				_, err := w.dyn.Resource(gvr).Namespace(namespace).Create(creating, o, metav1.CreateOptions{})
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	wall, cpu, out, err := command(ctx, 3, "get", "all", "-A", "--kubeconfig", w.kubeconfig)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(out, "/many-"); n != each*len(kinds) {
		return nil, fmt.Errorf("flux get all shows %d objects", n)
	}
	return []figure{
		{"wall clock, fastest of three", wall.Seconds() * 1000, 1000, "ms", ""},
		{"CPU", cpu.Seconds() * 1000, 1000, "ms", ""},
	}, nil
}
