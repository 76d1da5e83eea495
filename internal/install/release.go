package install

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
	"github.com/gitops-toolkit/flux/manifests"
)

// Bundle is a base with its version.
type Bundle struct {
	Version string
	Files   fs.FS
	remove  string
}

// Close removes what was downloaded.
func (b Bundle) Close() error {
	if b.remove == "" {
		return nil
	}
	return os.RemoveAll(b.remove)
}

// Releases tells where releases are published. The zero value is the project's own place.
type Releases struct {
	// BaseURL is that of the pages of releases, below which assets are.
	BaseURL string
	// APIURL is that of the repository in the API of the Git host.
	APIURL string
	// Client makes the requests; nil: one with a time limit.
	Client *http.Client
}

const (
	releasesURL = "https://github.com/gitops-toolkit/flux/releases"
	apiURL      = "https://api.github.com/repos/gitops-toolkit/flux"
	// Limits for what a release host answers.
	maxArchive   = 16 << 20
	maxAnswer    = 1 << 20
	requestLimit = 2 * time.Minute
)

// Environment variables that say where releases are looked for instead, such as in an air gap.
const (
	ReleasesEnv    = "FLUX_RELEASES_URL"
	ReleasesAPIEnv = "FLUX_RELEASES_API_URL"
)

// DefaultReleases is the project's own place, or that which the environment names.
func DefaultReleases() Releases {
	return Releases{BaseURL: os.Getenv(ReleasesEnv), APIURL: os.Getenv(ReleasesAPIEnv)}
}

// Request says which manifests are wanted.
type Request struct {
	// Version of the release: empty for this program's own, "latest", or a tag.
	Version string
	// Program is this program's version.
	Program string
	// Path is a directory with manifests, or the URL of a page of releases, to use instead.
	Path string
}

// Manifests finds the base to install from. This program's own version is embedded and takes no
// network; another must have the same major and minor version, unless the program is a
// pre-release. The caller closes the Bundle.
func (r Releases) Manifests(ctx context.Context, q Request) (Bundle, error) {
	version := q.Version
	if version == "latest" {
		var err error
		if version, err = r.Latest(ctx); err != nil {
			return Bundle{}, err
		}
	}
	version = cmp.Or(version, q.Program)
	if err := compatible(version, q.Program); err != nil {
		return Bundle{}, err
	}
	if isURL(q.Path) {
		r.BaseURL = q.Path
	} else if q.Path != "" {
		return local(version, q.Path)
	}
	if version == q.Program && q.Path == "" {
		return Bundle{Version: version, Files: manifests.Files()}, nil
	}
	return r.download(ctx, version)
}

func isURL(path string) bool {
	u, err := url.Parse(path)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

func local(version, path string) (Bundle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Bundle{}, fmt.Errorf("--manifests: %w", err)
	}
	if !info.IsDir() {
		return Bundle{}, fmt.Errorf("--manifests %s is not a directory", path)
	}
	return Bundle{Version: version, Files: os.DirFS(path)}, nil
}

// compatible refuses versions that this program cannot install.
func compatible(version, program string) error {
	if version == program {
		return nil
	}
	if !strings.HasPrefix(version, "v") {
		return fmt.Errorf("targeted version '%s' must be prefixed with 'v'", version)
	}
	target, err := semver.StrictNewVersion(version[1:])
	if err != nil {
		return fmt.Errorf("targeted version '%s': %w", version, err)
	}
	own, err := semver.NewVersion(program)
	if err != nil || own.Prerelease() != "" {
		return nil
	}
	if target.Major() != own.Major() || target.Minor() != own.Minor() {
		return fmt.Errorf("targeted version '%s' is not compatible with your current version of flux (%s)", version, program)
	}
	return nil
}

// Latest returns the tag of the newest release.
func (r Releases) Latest(ctx context.Context) (string, error) {
	body, err := r.get(ctx, cmp.Or(r.APIURL, apiURL)+"/releases/latest", maxAnswer)
	if err != nil {
		return "", fmt.Errorf("ask for the latest release: %w", err)
	}
	var release struct {
		Tag string `json:"tag_name"`
	}
	if err := json.Unmarshal(body, &release); err != nil {
		return "", fmt.Errorf("ask for the latest release: %w", err)
	}
	if !tag.MatchString(release.Tag) {
		return "", fmt.Errorf("ask for the latest release: the answer names no version")
	}
	return release.Tag, nil
}

func (r Releases) download(ctx context.Context, version string) (b Bundle, err error) {
	address := fmt.Sprintf("%s/download/%s/manifests.tar.gz", strings.TrimSuffix(cmp.Or(r.BaseURL, releasesURL), "/"), version)
	body, err := r.get(ctx, address, maxArchive)
	if errors.Is(err, errAbsent) {
		return Bundle{}, fmt.Errorf("targeted version '%s' does not exist", version)
	}
	if err != nil {
		return Bundle{}, fmt.Errorf("download the manifests of %s: %w", version, err)
	}
	dir, err := os.MkdirTemp("", "flux-manifests-")
	if err != nil {
		return Bundle{}, err
	}
	b = Bundle{Version: version, Files: os.DirFS(dir), remove: dir}
	if _, err := unpack.TarGz(ctx, bytes.NewReader(body), dir, unpack.Limits{Entries: 1000, Bytes: 64 << 20}); err != nil {
		return Bundle{}, errors.Join(fmt.Errorf("unpack the manifests of %s from %s: %w", version, address, err), b.Close())
	}
	return b, nil
}

// errAbsent is an answer of 404.
var errAbsent = errors.New("not found")

func (r Releases) get(ctx context.Context, address string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.client().Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w (the manifests of this program's own version are built in and need no network; %s and %s name a mirror)", err, ReleasesAPIEnv, ReleasesEnv)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", address, errAbsent)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered %s", address, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", address, limit)
	}
	return body, err
}

func (r Releases) client() *http.Client {
	if r.Client != nil {
		return r.Client
	}
	return &http.Client{Timeout: requestLimit}
}
