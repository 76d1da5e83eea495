package controllers

import (
	"path/filepath"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/bucket"
)

// registerBucket adds the sources that come from buckets.
func registerBucket(m *kernel.Manager, v Values, artifacts *store.Store, archives *archive.Builder, clouds *cloud.Clouds) error {
	algorithm, err := artifact.ParseAlgorithm(v.String("artifact-digest-algo"))
	if err != nil {
		return err
	}
	return bucket.Register(m, bucket.Options{
		Artifacts: artifacts, Archives: archives, Algorithm: algorithm, Clouds: clouds,
		Mirrors: filepath.Join(v.String("storage-path"), ".buckets"),
	})
}

// clouds gets identities of cloud providers, and keeps them as the flags say.
func clouds(m *kernel.Manager, v Values) *cloud.Clouds {
	size := v.Int("token-cache-max-size")
	if size == 0 {
		size = -1 // to the cache zero means its default
	}
	return cloud.New(cloud.Options{Mint: m.RequestToken, Size: size, MaxAge: v.Duration("token-cache-max-duration")})
}
