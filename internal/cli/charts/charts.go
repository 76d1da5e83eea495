// Package charts finds Helm charts where objects say that they are, from the machine of a user: in the index of a
// HelmRepository, in a registry, in an OCIRepository. Secrets are read from the cluster; what needs the identity of a
// controller is out of reach, and the error says what to do.
package charts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/dockerconfig"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
)

// Finder finds charts. Close it after use.
type Finder struct {
	secrets    helmaccess.Cluster
	web        repo.Pool
	registries *registry.Pool
}

// New returns a Finder that reads Secrets with secrets.
func New(secrets helmaccess.Cluster) *Finder {
	return &Finder{secrets: secrets, registries: registry.NewPool(registry.Options{})}
}

// Close lets connections go.
func (f *Finder) Close() {
	f.web.Close()
	f.registries.Close()
}

// The limits of what is fetched.
const (
	maxIndex = 256 << 20
	maxChart = 64 << 20
)

// Find returns the version of a chart that a HelmRepository offers, the highest in the range. Errors are
// index.ErrUnknownChart and index.NoMatchError where it offers none.
func (f *Finder) Find(ctx context.Context, from *sourcev1.HelmRepository, chart, version string) (index.Version, error) {
	if !helmaccess.IsRegistry(from) {
		list, err := f.index(ctx, from, chart)
		if err != nil {
			return index.Version{}, err
		}
		return index.Pick(chart, version, list)
	}
	r, err := f.registry(ctx, from, chart)
	if err != nil {
		return index.Version{}, err
	}
	var tags []string
	err = r.Tags(ctx, func(tag string) { tags = append(tags, strings.ReplaceAll(tag, "_", "+")) })
	if errors.Is(err, registry.ErrNotFound) {
		return index.Version{}, index.ErrUnknownChart
	}
	if err != nil {
		return index.Version{}, err
	}
	picked, err := index.PickTag(chart, version, tags)
	return index.Version{Version: picked}, err
}

func (f *Finder) index(ctx context.Context, from *sourcev1.HelmRepository, chart string) ([]index.Version, error) {
	r, err := helmaccess.HTTP(ctx, f.secrets, logr.Discard(), from, &f.web)
	if err != nil {
		return nil, err
	}
	return index.Lookup(chart, "", func(out io.Writer) error {
		_, err := r.Index(ctx, repo.Validators{}, maxIndex, out)
		return err
	})
}

func (f *Finder) registry(ctx context.Context, from *sourcev1.HelmRepository, chart string) (*registry.Repository, error) {
	remote, _, err := helmaccess.Registry(ctx, f.secrets, logr.Discard(), from, chart, noIdentity)
	if err != nil {
		return nil, err
	}
	return f.registries.Open(remote)
}

// noIdentity stands for the identity of a controller, which this machine does not have.
func noIdentity(_ context.Context, provider, _ string) (l auth.Login, until time.Time, err error) {
	return l, until, fmt.Errorf("only the controller has the identity at '%s'", provider)
}

// Pull fetches the archive of a chart from a HelmRepository.
func (f *Finder) Pull(ctx context.Context, from *sourcev1.HelmRepository, chart, version string) ([]byte, error) {
	v, err := f.Find(ctx, from, chart, version)
	if err != nil {
		return nil, err
	}
	if helmaccess.IsRegistry(from) {
		r, err := f.registry(ctx, from, chart)
		if err != nil {
			return nil, err
		}
		digest, err := r.Digest(ctx, strings.ReplaceAll(v.Version, "+", "_"))
		if err != nil {
			return nil, err
		}
		return pull(ctx, r, digest, registry.HelmContentMediaType)
	}
	if len(v.URLs) == 0 {
		return nil, fmt.Errorf("chart '%s' has no downloadable URLs", v.Version)
	}
	if helmaccess.IsLink(v) {
		data, err := f.linked(ctx, v)
		if err != nil {
			return nil, err
		}
		return data, v.Check(data)
	}
	r, err := helmaccess.HTTP(ctx, f.secrets, logr.Discard(), from, &f.web)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err = r.Chart(ctx, v.URLs[0], maxChart, &b); err != nil {
		return nil, err
	}
	return b.Bytes(), v.Check(b.Bytes())
}

// linked fetches a version that its index has in a registry.
func (f *Finder) linked(ctx context.Context, v index.Version) ([]byte, error) {
	at, id, err := helmaccess.Link(v)
	if err != nil {
		return nil, err
	}
	r, err := f.registries.Open(at)
	if err != nil {
		return nil, err
	}
	if registry.CheckDigest(id) != nil {
		if id, err = r.Digest(ctx, id); err != nil {
			return nil, err
		}
	}
	return pull(ctx, r, id, registry.HelmContentMediaType)
}

// PullOCI fetches what an OCIRepository offers now, and tells its revision.
func (f *Finder) PullOCI(ctx context.Context, from *sourcev1.OCIRepository) (data []byte, revision string, err error) {
	remote, err := f.remote(ctx, from)
	if err != nil {
		return nil, "", err
	}
	r, err := f.registries.Open(remote)
	if err != nil {
		return nil, "", err
	}
	var ref registry.Reference
	if s := from.Spec.Reference; s != nil {
		ref = registry.Reference{Digest: s.Digest, SemVer: s.SemVer, SemverFilter: s.SemverFilter, Tag: s.Tag}
	}
	rev := registry.Revision{Digest: ref.Digest}
	if rev.Tag, err = r.SelectTag(ctx, ref); err != nil {
		return nil, "", err
	}
	if rev.Tag != "" {
		if rev.Digest, err = r.Digest(ctx, rev.Tag); err != nil {
			return nil, "", err
		}
	}
	mediaType := ""
	if l := from.Spec.LayerSelector; l != nil {
		mediaType = l.MediaType
	}
	data, err = pull(ctx, r, rev.Digest, mediaType)
	return data, rev.String(), err
}

func (f *Finder) remote(ctx context.Context, from *sourcev1.OCIRepository) (registry.Remote, error) {
	spec := &from.Spec
	remote := registry.Remote{URL: spec.URL, Insecure: spec.Insecure}
	if spec.Provider != "" && spec.Provider != sourcev1.GenericProvider && spec.SecretRef == nil {
		_, _, err := noIdentity(ctx, spec.Provider, "")
		return remote, err
	}
	secret := func(name string, read func(name string, data map[string][]byte) error) error {
		s, err := f.secrets.GetSecret(ctx, types.NamespacedName{Namespace: from.Namespace, Name: name})
		if err != nil {
			return err
		}
		return read(from.Namespace+"/"+name, s.Data)
	}
	var err error
	if ref := spec.SecretRef; ref != nil {
		err = secret(ref.Name, func(name string, data map[string][]byte) error {
			config, err := dockerconfig.ReadSecret(name, data)
			if err != nil {
				return err
			}
			host, repository, err := registry.HostAndName(spec.URL)
			remote.Login = config.Login(host, repository)
			return err
		})
	}
	if ref := spec.CertSecretRef; ref != nil && err == nil {
		err = secret(ref.Name, func(name string, data map[string][]byte) (err error) {
			remote.TLS, _, err = auth.ReadTLS(name, data)
			return err
		})
	}
	if ref := spec.ProxySecretRef; ref != nil && err == nil {
		err = secret(ref.Name, func(name string, data map[string][]byte) (err error) {
			remote.Proxy, err = auth.ReadProxy(name, data)
			return err
		})
	}
	return remote, err
}

// pull reads a layer, the first with a media type, the first of all when that is empty.
func pull(ctx context.Context, r *registry.Repository, digest, mediaType string) ([]byte, error) {
	manifest, err := r.Manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	layer, err := manifest.Select(mediaType)
	if err != nil {
		return nil, err
	}
	if layer.Size > maxChart {
		return nil, fmt.Errorf("the chart has %d bytes, %d are allowed", layer.Size, maxChart)
	}
	body, err := r.Blob(ctx, layer)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	return data, errors.Join(err, body.Close())
}
