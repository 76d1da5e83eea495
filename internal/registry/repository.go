package registry

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// Remote says where a repository is and how to reach it.
type Remote struct {
	// URL is oci://host[:port]/name, or oci://name for Docker Hub.
	URL string
	// Login is for the registry; the zero value is nobody.
	Login auth.Login
	// TLS files; none when zero.
	TLS auth.TLS
	// Insecure allows a registry without TLS, and one whose certificate nobody vouches for unless TLS has files.
	Insecure bool
	// Proxy is used instead of that of the environment.
	Proxy *url.URL
}

// Repository is one repository of a registry.
type Repository struct {
	remote Remote
	pool   *Pool
	name   name.Repository
	puller *remote.Puller
	sender http.RoundTripper
}

// Open returns the repository. Nothing is sent. Errors about the URL are ErrURL, those about TLS files are not.
func (p *Pool) Open(r Remote) (*Repository, error) {
	repo, err := parseURL(r.URL, r.Insecure)
	if err != nil {
		return nil, err
	}
	t, err := p.transport(r.TLS, r.Proxy, r.Insecure && r.TLS.IsZero())
	if err != nil {
		return nil, err
	}
	out := &Repository{remote: r, pool: p, name: repo, sender: &guard{
		inner: t, opts: p.opts, plain: r.Insecure || loopback(repo.RegistryStr()),
	}}
	// The guard repeats requests itself.
	out.puller, err = remote.NewPuller(append(out.options(), remote.WithRetryStatusCodes(), remote.WithRetryPredicate(never))...)
	return out, err
}

func never(error) bool { return false }

func (r *Repository) options() []remote.Option {
	return []remote.Option{remote.WithTransport(r.sender), remote.WithUserAgent(userAgent), remote.WithAuth(authenticator(r.remote.Login))}
}

func authenticator(l auth.Login) authn.Authenticator {
	if l.Anonymous() {
		return authn.Anonymous
	}
	return authn.FromConfig(authn.AuthConfig{
		Username: l.Username, Password: l.Password, IdentityToken: l.IdentityToken, RegistryToken: l.RegistryToken,
	})
}

// CheckURL tells what is wrong with the URL of a repository, nil if nothing is.
func CheckURL(url string) error {
	_, err := parseURL(url, false)
	return err
}

// HostAndName returns the registry's host and the name of the repository in it, as logins are looked up by.
func HostAndName(url string) (host, repository string, err error) {
	repo, err := parseURL(url, false)
	if err != nil {
		return "", "", err
	}
	return repo.RegistryStr(), repo.RepositoryStr(), nil
}

func parseURL(url string, insecure bool) (name.Repository, error) {
	text, ok := strings.CutPrefix(url, URLPrefix)
	if !ok {
		return name.Repository{}, fmt.Errorf("%w: it must be in format 'oci://<domain>/<org>/<repo>'", ErrURL)
	}
	var opts []name.Option
	if insecure {
		opts = append(opts, name.Insecure)
	}
	if strings.HasPrefix(text, "/") {
		return name.Repository{}, fmt.Errorf("%w: it has no host", ErrURL)
	}
	path := text
	if i := strings.Index(text, "/"); i >= 0 {
		path = text[i:]
	}
	if i := strings.LastIndex(path, ":"); i >= 0 && !strings.Contains(path, "@") {
		return name.Repository{}, fmt.Errorf("%w; remove '%s'", ErrTag, path[i:])
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if (part == "" || part == "." || part == "..") && text != "" {
			return name.Repository{}, fmt.Errorf("%w: '%s' is no part of a repository's name", ErrURL, part)
		}
	}
	repo, err := name.NewRepository(text, opts...)
	if err != nil {
		return name.Repository{}, fmt.Errorf("%w: %w", ErrURL, err)
	}
	return repo, nil
}

// loopback hosts are this machine: nobody listens in between.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// Name is host/name of the repository.
func (r *Repository) Name() string { return r.name.Name() }

// Host is the host of the registry.
func (r *Repository) Host() string { return r.name.RegistryStr() }
