package release

import (
	"encoding/json"
	"fmt"
	"slices"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	helm "helm.sh/helm/v4/pkg/release/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/helm/values"
)

// snapshotVersion is that of snapshots whose digest Digest makes.
const snapshotVersion = "v2"

// observation is what a snapshot's digest is made of; the names and their order are part of the format.
type observation struct {
	Name          string         `json:"name"`
	Version       int            `json:"version"`
	Info          helm.Info      `json:"info"`
	ChartMetadata chart.Metadata `json:"chartMetadata"`
	Config        map[string]any `json:"config"`
	Manifest      string         `json:"manifest"`
	Hooks         []helm.Hook    `json:"hooks"`
	Namespace     string         `json:"namespace"`
	OCIDigest     string         `json:"ociDigest,omitempty"`
}

func observe(rel *helm.Release, ociDigest string) observation {
	o := observation{
		Name: rel.Name, Version: rel.Version, Config: rel.Config, Manifest: rel.Manifest, Namespace: rel.Namespace, OCIDigest: ociDigest,
	}
	if len(o.Config) == 0 {
		o.Config = nil // no values are not stored, so that they come back as nil
	}
	if rel.Info != nil {
		o.Info = *rel.Info
	}
	if rel.Chart != nil && rel.Chart.Metadata != nil {
		o.ChartMetadata = *rel.Chart.Metadata
	}
	for _, h := range rel.Hooks {
		if !isTest(h) {
			o.Hooks = append(o.Hooks, *h)
		}
	}
	return o
}

// isTest tells whether a hook is a test.
func isTest(h *helm.Hook) bool { return slices.Contains(h.Events, helm.HookTest) }

// Digest identifies a release as Helm stored it, tests left out, as they run afterwards.
func Digest(algorithm artifact.Algorithm, rel *helm.Release, ociDigest string) (artifact.Digest, error) {
	text, err := json.Marshal(observe(rel, ociDigest))
	if err != nil {
		return "", fmt.Errorf("encode release %s/%s.v%d: %w", rel.Namespace, rel.Name, rel.Version, err)
	}
	return artifact.DigestOf(algorithm, append(text, '\n')), nil
}

// Verify tells whether a snapshot speaks of this very release. Snapshots of other versions are trusted.
func Verify(s *helmv2.Snapshot, rel *helm.Release) bool {
	if s.Name != rel.Name || s.Namespace != rel.Namespace || s.Version != rel.Version {
		return false
	}
	if s.APIVersion != snapshotVersion {
		return true
	}
	digest, err := artifact.ParseDigest(s.Digest)
	if err != nil {
		return false
	}
	got, err := Digest(digest.Algorithm(), rel, s.OCIDigest)
	return err == nil && got == digest
}

// NewSnapshot describes a release for the status.
func NewSnapshot(algorithm artifact.Algorithm, rel *helm.Release, ociDigest, action string) (*helmv2.Snapshot, error) {
	digest, err := Digest(algorithm, rel, ociDigest)
	if err != nil {
		return nil, err
	}
	config, err := values.Digest(algorithm, rel.Config)
	if err != nil {
		return nil, err
	}
	s := &helmv2.Snapshot{
		APIVersion: snapshotVersion, Digest: string(digest), Name: rel.Name, Namespace: rel.Namespace, Version: rel.Version,
		ConfigDigest: string(config), OCIDigest: ociDigest, Action: action,
	}
	if rel.Info != nil {
		s.Status = rel.Info.Status.String()
		s.FirstDeployed, s.LastDeployed = meta.NewTime(rel.Info.FirstDeployed), meta.NewTime(rel.Info.LastDeployed)
		if !rel.Info.Deleted.IsZero() {
			deleted := meta.NewTime(rel.Info.Deleted)
			s.Deleted = &deleted
		}
	}
	if rel.Chart != nil && rel.Chart.Metadata != nil {
		s.ChartName, s.ChartVersion, s.AppVersion = rel.Chart.Metadata.Name, rel.Chart.Metadata.Version, rel.Chart.Metadata.AppVersion
	}
	return s, nil
}
