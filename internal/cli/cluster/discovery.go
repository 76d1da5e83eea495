package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// aggregated asks for everything the server knows in one answer.
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// discoveryAge is how long a cached answer is believed; what is not in it is asked for again.
const discoveryAge = 10 * time.Minute

// served is one kind as the server offers it, with the words for it.
type served struct {
	Resource
	Singular string
	Short    []string
}

// Discovery answers questions about kinds that commands do not know beforehand. It costs two
// requests, and none while the cache in --cache-dir is fresh.
type Discovery struct {
	client *Client
	file   string
	known  []served
	fresh  bool
}

// NewDiscovery asks nothing yet; without cacheDir nothing is kept.
func NewDiscovery(c *Client, cacheDir string) *Discovery {
	d := &Discovery{client: c}
	if cacheDir != "" {
		sum := sha256.Sum256([]byte(c.cfg.Host + c.cfg.APIPath + c.cfg.Impersonate.UserName))
		d.file = filepath.Join(cacheDir, "flux", hex.EncodeToString(sum[:8])+".json")
	}
	return d
}

// Resource finds how a kind is served.
func (d *Discovery) Resource(ctx context.Context, gvk schema.GroupVersionKind) (Resource, error) {
	found, err := d.find(ctx, func(s *served) bool { return s.GVK() == gvk })
	if err != nil {
		return Resource{}, err
	}
	if found == nil {
		return Resource{}, fmt.Errorf("no matches for kind %q in version %q", gvk.Kind, gvk.GroupVersion())
	}
	return found.Resource, nil
}

// Namespaced reports whether objects of a kind live in a namespace; kinds that the server does
// not serve are taken to.
func (d *Discovery) Namespaced(ctx context.Context, gvk schema.GroupVersionKind) (bool, error) {
	found, err := d.find(ctx, func(s *served) bool { return s.GVK() == gvk })
	if err != nil || found == nil {
		return true, err
	}
	return !found.Clusters, nil
}

// Versions returns the versions in which the server offers a kind now, the preferred first; none for
// a kind that it does not have.
func (d *Discovery) Versions(ctx context.Context, kind schema.GroupKind) ([]string, error) {
	if !d.fresh {
		if err := d.ask(ctx); err != nil {
			return nil, err
		}
	}
	var versions []string
	for i := range d.known {
		if s := &d.known[i]; s.Group == kind.Group && s.Kind == kind.Kind {
			versions = append(versions, s.Version)
		}
	}
	return versions, nil
}

// Word finds what a person means by deployment, deployments, deploy, Deployment,
// deployments.apps or deployments.v1.apps.
func (d *Discovery) Word(ctx context.Context, word string) (Resource, error) {
	lower := strings.ToLower(word)
	found, err := d.find(ctx, func(s *served) bool {
		names := append([]string{s.Plural, s.Singular, strings.ToLower(s.Kind)}, s.Short...)
		return slices.ContainsFunc(names, func(name string) bool {
			return lower == name || lower == name+"."+s.Group || lower == name+"."+s.Version+"."+s.Group
		})
	})
	if err != nil {
		return Resource{}, err
	}
	if found == nil {
		return Resource{}, fmt.Errorf("the server doesn't have a resource type %q", word)
	}
	return found.Resource, nil
}

// find looks in the cache first, and at the server if nothing there fits.
func (d *Discovery) find(ctx context.Context, fits func(*served) bool) (*served, error) {
	if d.known == nil {
		d.known = d.cached()
	}
	for {
		for i := range d.known {
			if fits(&d.known[i]) {
				return &d.known[i], nil
			}
		}
		if d.fresh {
			return nil, nil
		}
		if err := d.ask(ctx); err != nil {
			return nil, err
		}
	}
}

func (d *Discovery) ask(ctx context.Context) error {
	var known []served
	for _, path := range []string{"/api", "/apis"} {
		var list discoveryv2.APIGroupDiscoveryList
		req := d.client.rest.Verb(http.MethodGet).AbsPath(path).SetHeader("Accept", aggregated)
		if err := d.client.send(ctx, req, &list); err != nil {
			return fmt.Errorf("ask the API server for its resources: %w", err)
		}
		known = append(known, flatten(&list)...)
	}
	d.known, d.fresh = known, true
	d.keep()
	return nil
}

func flatten(list *discoveryv2.APIGroupDiscoveryList) []served {
	var known []served
	for _, group := range list.Items {
		for _, version := range group.Versions {
			for _, r := range version.Resources {
				if r.ResponseKind == nil {
					continue
				}
				known = append(known, served{
					Resource: Resource{
						Group: group.Name, Version: version.Version, Kind: r.ResponseKind.Kind, Plural: r.Resource,
						Clusters: r.Scope == discoveryv2.ScopeCluster,
					},
					Singular: r.SingularResource, Short: r.ShortNames,
				})
			}
		}
	}
	return known
}

func (d *Discovery) cached() []served {
	if d.file == "" {
		return nil
	}
	info, err := os.Stat(d.file)
	if err != nil || time.Since(info.ModTime()) > discoveryAge {
		return nil
	}
	text, err := os.ReadFile(d.file)
	if err != nil {
		return nil
	}
	var known []served
	if json.Unmarshal(text, &known) != nil {
		return nil
	}
	return known
}

// keep writes the cache; a command does not fail because it cannot.
func (d *Discovery) keep() {
	if d.file == "" {
		return
	}
	text, err := json.Marshal(d.known)
	if err != nil || os.MkdirAll(filepath.Dir(d.file), 0o750) != nil {
		return
	}
	temp, err := os.CreateTemp(filepath.Dir(d.file), "new-*")
	if err != nil {
		return
	}
	_, err = temp.Write(text)
	if closeErr := temp.Close(); err != nil || closeErr != nil || os.Rename(temp.Name(), d.file) != nil {
		_ = os.Remove(temp.Name())
	}
}
