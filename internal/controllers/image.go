package controllers

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gitops-toolkit/flux/internal/access"
	imageaccess "github.com/gitops-toolkit/flux/internal/image/access"
	"github.com/gitops-toolkit/flux/internal/image/policy"
	"github.com/gitops-toolkit/flux/internal/image/repository"
	"github.com/gitops-toolkit/flux/internal/image/tags"
	"github.com/gitops-toolkit/flux/internal/image/update"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// registerReflector gives ImageRepositories and ImagePolicies the database of tags.
func registerReflector(m *kernel.Manager, v Values) error {
	store, err := tags.Open(tags.Options{
		Dir: v.String("storage-path"), CompressFrom: v.Int("storage-compression-threshold") << 10, Digests: m.Gate("FluxStorage"),
	})
	if err != nil {
		return fmt.Errorf("%w; check --storage-path", err)
	}
	registries := registry.NewPool(registry.Options{})
	m.AddCleanup(func() error {
		registries.Close()
		return nil
	})
	opener := imageaccess.NewOpener(access.Registries{
		Cluster: m, Pool: registries, Clouds: clouds(m, v), DefaultAccount: v.String("default-service-account"),
	})
	collect := time.Duration(v.Uint16("gc-interval")) * time.Minute
	if err := repository.Register(m, repository.Options{Tags: store, Registries: opener, CollectEvery: collect}); err != nil {
		return err
	}
	return policy.Register(m, policy.Options{Tags: store, Registries: opener})
}

// registerAutomation gives ImageUpdateAutomations their Git mirrors.
func registerAutomation(m *kernel.Manager, v Values) error {
	repos, err := v.openMirrors(m, func() (string, error) {
		dir, err := ownDir(m)
		return filepath.Join(dir, "git"), err
	})
	if err != nil {
		return err
	}
	return update.Register(m, update.Options{
		Git: repos, AllBranches: m.Gate("GitAllBranchReferences"), ForcePush: m.Gate("GitForcePushBranch"),
		Remotes: access.Git{
			Secrets: m, Accounts: m, Tokens: tokens(v), Clouds: clouds(m, v), DefaultAccount: v.String("default-service-account"), Foreign: true,
		},
	})
}

// ownDir is a private directory below the temporary one that outlives a restart. A second instance on the same machine
// gets one that goes with it.
func ownDir(m *kernel.Manager) (string, error) {
	dir, own, err := privateDir("flux-" + m.Name())
	if err != nil {
		return "", err
	}
	if !own {
		lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return "", err
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			m.AddCleanup(lock.Close)
			return dir, nil
		}
		_ = lock.Close()
		if dir, err = os.MkdirTemp("", "flux-"+m.Name()+"-"); err != nil {
			return "", err
		}
	}
	m.AddCleanup(func() error { return os.RemoveAll(dir) })
	return dir, nil
}
