package registry

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// FuzzManifest reads hostile manifests and indexes, and selects a layer of what passes.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"mediaType":"a"},"layers":[{"mediaType":"b","size":1,"digest":"sha256:00"}],"annotations":{"a":"b"}}`), "b")
	f.Add([]byte(`{"manifests":[{"platform":{"os":"linux","architecture":"amd64"},"digest":"sha256:00","size":-1}]}`), "")
	f.Add([]byte(`{"layers":[{"size":-9223372036854775808,"digest":{}}]}`), "")
	repo := &Repository{pool: NewPool(Options{})}
	f.Fuzz(func(t *testing.T, data []byte, mediaType string) {
		if digest, err := childOf(data); err == nil && CheckDigest(digest) != nil {
			t.Errorf("an index leads to %q", digest)
		}
		m, err := repo.parse(data, types.OCIManifestSchema1, "sha256:0")
		if err != nil {
			return
		}
		if l, err := m.Select(mediaType); err == nil && mediaType != "" && l.MediaType != mediaType {
			t.Errorf("layer %+v for %q", l, mediaType)
		}
	})
}

// FuzzURL parses hostile URLs: what passes names a host and a repository without a way out of it.
func FuzzURL(f *testing.F) {
	for _, url := range []string{"oci://a.b/c", "oci://a.b:5000/c/d", "oci://a.b/../c", "oci://a.b/c:d", "oci://[::1]:5/c", "oci://a.b/c@sha256:0"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		host, repository, err := HostAndName(url)
		if err != nil {
			return
		}
		if host == "" || repository == "" || repository[0] == '/' {
			t.Errorf("%q gives %q %q", url, host, repository)
		}
		for i := range len(repository) - 1 {
			if repository[i:i+2] == ".." && (i == 0 || repository[i-1] == '/') && (i+2 == len(repository) || repository[i+2] == '/') {
				t.Errorf("%q gives %q", url, repository)
			}
		}
	})
}
