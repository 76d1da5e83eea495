package registry

import (
	"strings"
	"testing"
)

func TestParseLocation(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("a", 64)
	for url, want := range map[string]Location{
		"oci://a.b/c":                         {"a.b/c", "a.b/c", "latest", ""},
		"oci://localhost:5000/c:v1":           {"localhost:5000/c:v1", "localhost:5000/c", "v1", ""},
		"oci://localhost:5000/c@" + digest:    {"localhost:5000/c@" + digest, "localhost:5000/c", "", digest},
		"oci://localhost:5000/c:v1@" + digest: {"localhost:5000/c:v1@" + digest, "localhost:5000/c", "", digest},
	} {
		if got, err := ParseLocation(url); err != nil || got != want {
			t.Errorf("%s: %+v, %v", url, got, err)
		}
	}
	for _, url := range []string{"a.b/c", "oci://", "oci://a.b/c@sha256:1", "oci://a.b/../c", "oci:///c"} {
		if got, err := ParseLocation(url); err == nil {
			t.Errorf("%s: %+v", url, got)
		}
	}
}
