package ocirepository

import (
	"testing"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
)

// TestLane keeps polls apart by the registry that they may have to wait for.
func TestLane(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ reason, url, want string }{
		{"repositories of a registry share a lane", "oci://ghcr.io/a/b", "ghcr.io"},
		{"case makes no other host", "oci://GHCR.io/a/c", "ghcr.io"},
		{"another port may be another registry", "oci://ghcr.io:5000/a", "ghcr.io:5000"},
	} {
		obj := &sourcev1.OCIRepository{}
		obj.Spec.URL = tc.url
		o := (&controller{}).Reconcile(t.Context(), &request{Object: obj})
		if o.Job.Lane != tc.want || o.Job.Run == nil {
			t.Errorf("%s: %q, want %q (%s)", tc.reason, o.Job.Lane, tc.want, o.Message)
		}
	}
}
