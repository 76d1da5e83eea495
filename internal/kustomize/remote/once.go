package remote

import (
	"context"
	"errors"
	"os"

	"github.com/gitops-toolkit/flux/internal/kustomize/build"
)

// Build builds on somebody's own machine, with the bases that the kustomization names by URL. They may be at local
// addresses, and nothing of them is left.
func Build(ctx context.Context, opts build.Options) (*build.Result, error) {
	bases := &once{}
	opts.Remote = bases
	result, err := build.Build(ctx, opts)
	if closeErr := bases.close(); err == nil {
		err = closeErr
	}
	return result, err
}

// once fetches for a single build. Its directory is opened when something is fetched.
type once struct {
	dir     string
	fetcher *Fetcher
	session *Session
}

// Fetch implements build.Remote.
func (o *once) Fetch(ctx context.Context, ref string) (dir, path string, err error) {
	if o.session == nil {
		if o.dir, err = os.MkdirTemp("", "flux-bases-"); err != nil {
			return "", "", err
		}
		if o.fetcher, err = New(o.dir, AllowLocal()); err != nil {
			return "", "", err
		}
		o.session = o.fetcher.Session()
	}
	return o.session.Fetch(ctx, ref)
}

func (o *once) close() error {
	var err error
	if o.fetcher != nil {
		err = o.fetcher.Close()
	}
	if o.dir != "" {
		err = errors.Join(err, os.RemoveAll(o.dir))
	}
	return err
}
