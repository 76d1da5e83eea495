package controllers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/metadata"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/auth/kubeconfig"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize"
	"github.com/gitops-toolkit/flux/internal/kustomize/remote"
)

// registerKustomize gives Kustomizations what their flags ask for.
func registerKustomize(m *kernel.Manager, v Values) error {
	retries := v.Int("http-retry")
	if retries == 0 {
		retries = -1 // to the client zero means its default
	}
	drift := v.String("drift-correction")
	if drift != driftImmediate && drift != driftAtInterval {
		return fmt.Errorf("--drift-correction: %q is neither %s nor %s", drift, driftImmediate, driftAtInterval)
	}
	stages, err := apply.ParseStageKinds(v.String("custom-apply-stage-kinds"))
	if err != nil {
		return fmt.Errorf("--custom-apply-stage-kinds: %w", err)
	}
	dir, artifacts, err := openArtifacts(m, "kustomize-controller", fetch.New(fetch.Options{Retries: retries}))
	if err != nil {
		return err
	}
	watches, err := metadata.NewForConfig(m.RESTConfig())
	if err != nil {
		return fmt.Errorf("set up health watches: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.Add(func(run context.Context) error {
		defer cancel()
		<-run.Done()
		return nil
	})
	remotes, err := openRemotes(m, v, dir)
	if err != nil {
		return err
	}
	return kustomize.Register(m, kustomize.Options{
		Remotes: remotes,
		Artifacts: func(ctx context.Context, ref artifact.Ref) (kustomize.Tree, error) {
			tree, err := artifacts.Acquire(ctx, ref)
			if err != nil {
				return nil, err // not a nil *Tree in an interface
			}
			return tree, nil
		},
		Clients:           &apply.ClientPool{},
		Health:            health.NewHub(ctx, watches),
		BuildDir:          filepath.Join(dir, "builds"),
		OverrideManagers:  v.Strings("override-manager"),
		ConcurrentSSA:     v.Int("concurrent-ssa"),
		StageKinds:        stages,
		CorrectAtInterval: drift == driftAtInterval,
		FullPassInterval:  v.Duration("full-pass-interval"),
		Clouds:            clouds(m, v),
		KubeConfigAccount: v.String("default-kubeconfig-service-account"),
		Decryption: kustomize.DecryptionDefaults{
			Account: v.String("default-decryption-service-account"), AgeSecret: v.String("sops-age-secret"),
			VaultConfigMap: v.String("sops-vault-configmap"),
		},
		KubeConfig: kubeconfig.Policy{AllowExec: v.Bool("insecure-kubeconfig-exec"), AllowInsecureTLS: v.Bool("insecure-kubeconfig-tls")},
	})
}

// openRemotes makes what fetches remote bases, nil where the flag forbids them.
func openRemotes(m *kernel.Manager, v Values, dir string) (*remote.Fetcher, error) {
	if v.Bool("no-remote-bases") {
		return nil, nil
	}
	remotes, err := remote.New(filepath.Join(dir, "remote"))
	if err != nil {
		return nil, fmt.Errorf("open the directory of remote bases: %w", err)
	}
	m.AddCleanup(remotes.Close)
	return remotes, nil
}

// openArtifacts opens the controller's cache of artifacts below the temporary directory. A
// second instance on the same machine gets a directory of its own, which goes with it.
func openArtifacts(m *kernel.Manager, name string, client cache.Fetcher) (dir string, c *cache.Cache, err error) {
	dir, own, err := privateDir("flux-" + name)
	if err != nil {
		return "", nil, err
	}
	c, err = cache.Open(cache.Options{Dir: filepath.Join(dir, "artifacts"), Fetcher: client})
	if !own && errors.Is(err, cache.ErrInUse) {
		own = true
		if dir, err = os.MkdirTemp("", "flux-"+name+"-"); err == nil {
			c, err = cache.Open(cache.Options{Dir: filepath.Join(dir, "artifacts"), Fetcher: client})
		}
	}
	if err != nil {
		return "", nil, err
	}
	m.AddCleanup(func() error {
		if own {
			return errors.Join(c.Close(), os.RemoveAll(dir))
		}
		return c.Close()
	})
	return dir, c, nil
}
