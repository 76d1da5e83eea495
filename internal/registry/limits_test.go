package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
)

func dial(to string) (net.Conn, error) { return net.Dial("tcp", to) }

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layer.tgz")
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

// lying is a registry whose answers to some requests are the test's.
func lying(t *testing.T, answer func(w http.ResponseWriter, r *http.Request) bool) *registrytest.Server {
	t.Helper()
	return registrytest.Start(t, registrytest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || !answer(w, r) {
				h.ServeHTTP(w, r)
			}
		})
	}})
}

func TestEndlessAnswers(t *testing.T) {
	t.Parallel()
	page := 0
	server := lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/large/manifests/"), strings.HasPrefix(r.URL.Path, "/v2/large/tags/"):
			for range 1 << 20 {
				if _, err := io.WriteString(w, `{"name":"`+strings.Repeat("x", 1000)); err != nil {
					break
				}
			}
			return true
		case strings.HasPrefix(r.URL.Path, "/v2/endless/tags/"):
			page++
			w.Header().Set("Link", fmt.Sprintf(`</v2/endless/tags/list?n=1&last=%d>; rel="next"`, page))
			fmt.Fprintf(w, `{"name":"endless","tags":["v%d"]}`, page)
			return true
		}
		return false
	})
	pool := quick(t, registry.Limits{Manifest: 1 << 10, TagsPage: 1 << 10, Tags: 100})
	large := open(t, pool, registry.Remote{URL: server.URL("large")})
	if _, err := large.Manifest(context.Background(), "sha256:"+strings.Repeat("0", 64)); !errors.Is(err, registry.ErrLimit) {
		t.Errorf("manifest: %v", err)
	}
	if err := large.Tags(context.Background(), func(string) {}); !errors.Is(err, registry.ErrLimit) {
		t.Errorf("tags: %v", err)
	}
	if err := open(t, pool, registry.Remote{URL: server.URL("endless")}).Tags(context.Background(), func(string) {}); !errors.Is(err, registry.ErrLimit) {
		t.Errorf("pages: %v", err)
	}
}

func TestThousandsOfTags(t *testing.T) {
	t.Parallel()
	const pages, each = 30, 1000
	server := lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		var n int
		_, _ = fmt.Sscan(r.URL.Query().Get("last"), &n)
		tags := make([]string, each)
		for i := range tags {
			tags[i] = fmt.Sprintf(`"1.%d.%d"`, n, i)
		}
		if n++; n < pages {
			w.Header().Set("Link", fmt.Sprintf(`</v2/many/tags/list?n=%d&last=%d>; rel="next"`, each, n))
		}
		fmt.Fprintf(w, `{"name":"many","tags":[%s]}`, strings.Join(tags, ","))
		return true
	})
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("many")})
	if tag, err := repo.SelectTag(context.Background(), registry.Reference{SemVer: "1.x"}); err != nil || tag != "1.29.999" {
		t.Errorf("%s, %v", tag, err)
	}
}

func TestLayersAreVerified(t *testing.T) {
	t.Parallel()
	layer := registrytest.Archive(t, map[string]string{"a": strings.Repeat("b", 1000)})
	var mode string
	server := lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		changed := append([]byte(nil), layer.Data...)
		switch mode {
		case "changed":
			changed[len(changed)/2] ^= 1
		case "short":
			changed = changed[:len(changed)/2]
		case "cut":
			w.Header().Set("Content-Length", fmt.Sprint(len(changed)))
			changed = changed[:len(changed)/2]
		case "long":
			changed = append(changed, changed...)
		}
		_, _ = w.Write(changed)
		return true
	})
	digest := server.Push(t, "app", "v1", nil, layer)
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("app")})
	manifest, err := repo.Manifest(context.Background(), digest)
	must(t, err)
	for _, mode = range []string{"changed", "short", "cut", "long"} {
		body, err := repo.Blob(context.Background(), manifest.Layers[0])
		if err == nil {
			_, err = io.ReadAll(body)
			_ = body.Close()
		}
		if err == nil {
			t.Errorf("%s: accepted", mode)
		}
	}
	mode = ""
	if got := pull(t, repo, digest); string(got) != string(layer.Data) {
		t.Error("the layer came back changed")
	}
	small := open(t, quick(t, registry.Limits{Layer: 10}), registry.Remote{URL: server.URL("app")})
	if _, err := small.Blob(context.Background(), manifest.Layers[0]); !errors.Is(err, registry.ErrLimit) {
		t.Errorf("a layer that is too large: %v", err)
	}
}

func TestManifestsAreVerifiedAndBounded(t *testing.T) {
	t.Parallel()
	server := lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/v2/other/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		_, _ = io.WriteString(w, `{"schemaVersion":2}`)
		return true
	})
	layer := registrytest.Archive(t, map[string]string{"a": "b"})
	digest := server.Push(t, "app", "v1", map[string]string{"a": strings.Repeat("x", 2000)}, layer)
	pool := quick(t, registry.Limits{Annotations: 1000})
	if _, err := open(t, pool, registry.Remote{URL: server.URL("app")}).Manifest(context.Background(), digest); !errors.Is(err, registry.ErrLimit) {
		t.Errorf("annotations: %v", err)
	}
	if _, err := open(t, pool, registry.Remote{URL: server.URL("other")}).Manifest(context.Background(), digest); err == nil || !strings.Contains(err.Error(), "does not match requested digest") {
		t.Errorf("another manifest than asked for: %v", err)
	}
	for _, bad := range []string{"", "v1", "sha256:1", "sha512:" + strings.Repeat("0", 128)} {
		if _, err := open(t, pool, registry.Remote{URL: server.URL("app")}).Manifest(context.Background(), bad); err == nil {
			t.Errorf("the digest %q passes", bad)
		}
	}
}
