package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	// catalogEnv names the catalog, which is ours when unset.
	catalogEnv     = "FLUXCD_PLUGIN_CATALOG"
	defaultCatalog = "https://github.com/gitops-toolkit/plugins/releases/latest/download/"
	apiVersion     = "cli.fluxcd.io/v1beta1"

	maxManifest  = 4 << 20
	maxDownload  = 512 << 20
	requestLimit = 10 * time.Minute
)

// catalog is where plugins are published.
type catalog struct {
	base   string
	client *http.Client
}

func newCatalog() catalog {
	base := cmp.Or(os.Getenv(catalogEnv), defaultCatalog)
	return catalog{strings.TrimSuffix(base, "/") + "/", &http.Client{Timeout: requestLimit}}
}

// summary is a plugin in catalog.yaml.
type summary struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// manifest describes a plugin and its releases, newest first.
type manifest struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Name       string    `json:"name"`
	Bin        string    `json:"bin"`
	Versions   []release `json:"versions"`
}

type release struct {
	Version   string     `json:"version"`
	Platforms []platform `json:"platforms"`
}

type platform struct {
	OS          string `json:"os"`
	Arch        string `json:"arch"`
	URL         string `json:"url"`
	Checksum    string `json:"checksum"`
	ExtractPath string `json:"extractPath"`
}

func (c catalog) list(ctx context.Context) ([]summary, error) {
	var doc struct {
		APIVersion string    `json:"apiVersion"`
		Kind       string    `json:"kind"`
		Plugins    []summary `json:"plugins"`
	}
	if err := c.read(ctx, "catalog.yaml", &doc); err != nil {
		return nil, fmt.Errorf("read the plugin catalog: %w", err)
	}
	if doc.APIVersion != apiVersion || doc.Kind != "PluginCatalog" {
		return nil, fmt.Errorf("the plugin catalog is a %s %s, not a %s PluginCatalog: upgrade flux, or check %s", doc.APIVersion, doc.Kind, apiVersion, catalogEnv)
	}
	return doc.Plugins, nil
}

func (c catalog) plugin(ctx context.Context, name string) (*manifest, error) {
	m := &manifest{}
	err := c.read(ctx, name+".yaml", m)
	if errors.Is(err, errAbsent) {
		return nil, fmt.Errorf("plugin %q is not in the catalog: see 'flux plugin search'", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the manifest of plugin %q: %w", name, err)
	}
	switch {
	case m.APIVersion != apiVersion || m.Kind != "Plugin":
		return nil, fmt.Errorf("the manifest of plugin %q is a %s %s, not a %s Plugin: upgrade flux, or check %s", name, m.APIVersion, m.Kind, apiVersion, catalogEnv)
	case m.Name != name:
		return nil, fmt.Errorf("the manifest of plugin %q is that of %q", name, m.Name)
	case m.Bin != "" && m.Bin != prefix+name:
		return nil, fmt.Errorf("the manifest of plugin %q names the program %q: it must be %s", name, m.Bin, prefix+name)
	case len(m.Versions) == 0:
		return nil, fmt.Errorf("plugin %q has no version", name)
	}
	return m, nil
}

// pick finds the release for this machine: the newest, that of a version, or that of a checksum.
func (m *manifest) pick(wanted string) (release, platform, error) {
	for _, r := range m.Versions {
		if wanted != "" && !strings.HasPrefix(wanted, "sha256:") && plainVersion(r.Version) != plainVersion(wanted) {
			continue
		}
		i := slices.IndexFunc(r.Platforms, func(p platform) bool {
			return p.OS == runtime.GOOS && p.Arch == runtime.GOARCH && (!strings.HasPrefix(wanted, "sha256:") || p.Checksum == wanted)
		})
		if i >= 0 {
			return r, r.Platforms[i], nil
		}
		if !strings.HasPrefix(wanted, "sha256:") {
			return r, platform{}, fmt.Errorf("plugin %q v%s is not available for %s/%s", m.Name, plainVersion(r.Version), runtime.GOOS, runtime.GOARCH)
		}
	}
	return release{}, platform{}, fmt.Errorf("plugin %q has no version %s", m.Name, wanted)
}

// plainVersion leaves out a leading v.
func plainVersion(v string) string { return strings.TrimPrefix(v, "v") }

var errAbsent = errors.New("not found")

func (c catalog) read(ctx context.Context, file string, into any) error {
	body, err := c.get(ctx, c.base+file)
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxManifest+1))
	if err != nil {
		return err
	}
	if len(data) > maxManifest {
		return fmt.Errorf("%s is larger than %d bytes", file, maxManifest)
	}
	return yaml.Unmarshal(data, into)
}

func (c catalog) get(ctx context.Context, address string) (io.ReadCloser, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%q is no address of a download", address)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s: %w", address, errAbsent)
	}
	return nil, fmt.Errorf("%s answered %s", address, resp.Status)
}
