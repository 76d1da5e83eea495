package controllers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/artifact/serve"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/gitrepository"
)

// registerSource gives the sources their artifact store, and serves it while this process leads.
func registerSource(m *kernel.Manager, v Values) error {
	artifacts, err := openStore(m, v, "gitrepository", "ocirepository", "bucket", "helmrepository", "helmchart")
	if err != nil {
		return err
	}
	root := v.String("storage-path")
	members, err := archive.OpenMembers(filepath.Join(root, ".members"), 0)
	if err != nil {
		return fmt.Errorf("open the cache of archive members below --storage-path: %w", err)
	}
	repos, err := v.openMirrors(m, func() (string, error) { return filepath.Join(root, ".git"), nil })
	if err != nil {
		return fmt.Errorf("open the Git mirrors below --storage-path: %w", err)
	}
	archives := archive.NewBuilder(archive.Options{Members: members})
	_, unpacked, err := openArtifacts(m, m.Name(), gitrepository.LocalFirst(artifacts, fetch.New(fetch.Options{})))
	if err != nil {
		return fmt.Errorf("open the cache of included artifacts: %w", err)
	}
	identities := clouds(m, v)
	if err := gitrepository.Register(m, gitrepository.Options{Artifacts: artifacts, Archives: archives, Git: repos, Unpacked: unpacked, Tokens: tokens(v), Clouds: identities}); err != nil {
		return err
	}
	if err := registerBucket(m, v, artifacts, archives, identities); err != nil {
		return err
	}
	if err := registerCharts(m, v, artifacts, unpacked, identities); err != nil {
		return err
	}
	return registerOCI(m, artifacts, archives, identities)
}

// tokens keeps access tokens as the flags say.
func tokens(v Values) *githubapp.Tokens {
	size := v.Int("token-cache-max-size")
	if size == 0 {
		size = -1 // to the cache zero means its default
	}
	return githubapp.NewTokens(githubapp.Options{Size: size, MaxAge: v.Duration("token-cache-max-duration")})
}

// openStore opens the artifact store of the storage flags and serves it: the directories of its
// kinds, and the rest unless it shares the address with the store of another controller.
func openStore(m *kernel.Manager, v Values, kinds ...string) (*store.Store, error) {
	algorithm, err := artifact.ParseAlgorithm(v.String("artifact-digest-algo"))
	if err != nil {
		return nil, fmt.Errorf("--artifact-digest-algo: %w", err)
	}
	advertised, err := advertisedAddress(v.String("storage-adv-addr"), v.String("storage-addr"))
	if err != nil {
		return nil, err
	}
	artifacts, err := store.Open(store.Options{
		Root: v.String("storage-path"), Advertised: advertised, Algorithm: algorithm,
		// To the store zero means its default; the advertised artifact is kept in any case.
		RetentionTTL: max(v.Duration("artifact-retention-ttl"), 1), RetentionRecords: max(v.Int("artifact-retention-records"), 1),
	})
	if err != nil {
		return nil, fmt.Errorf("open the artifact store of --storage-path: %w", err)
	}
	m.AddCleanup(artifacts.Close)
	handler := serve.Handler(artifacts)
	for _, kind := range kinds {
		v.listeners.handle(m, "storage-addr", v.String("storage-addr"), "GET /"+kind+"/", handler)
	}
	v.listeners.handle(m, "storage-addr", v.String("storage-addr"), "GET /", handler)
	return artifacts, nil
}

// advertisedAddress is what URLs of artifacts carry: the flag, else the host of the listen address,
// the host's name in place of the wildcard address, localhost in place of nothing.
func advertisedAddress(advertised, listen string) (string, error) {
	if advertised != "" {
		return advertised, nil
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("--storage-addr: %w; write host:port or :port", err)
	}
	switch host {
	case "":
		host = "localhost"
	case "0.0.0.0":
		if host = os.Getenv("HOSTNAME"); host == "" {
			return "", errors.New("--storage-adv-addr is needed: --storage-addr listens on all addresses and HOSTNAME is not set")
		}
	}
	return net.JoinHostPort(host, port), nil
}
