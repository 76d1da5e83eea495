package ocirepository_test

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

// TestRecorded pushes the recorded layer with the recorded annotations, applies the recorded objects' specs, and
// compares what comes of them with what upstream made: revision, path, metadata, conditions, the archive's entries with
// their order, modes and content, and the event. The objects that follow charts are left out, as the charts' manifests
// were not recorded. The recording is data beside the checkout; without it the test is skipped.
func TestRecorded(t *testing.T) {
	t.Parallel()
	dir := cmp.Or(os.Getenv("FLUX_RECORDED"), "/work/shared/recorded")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no recording in %s; set FLUX_RECORDED to its directory", dir)
	}
	l := newLab(t, registrytest.Options{})
	l.start()
	pushRecorded(l, dir)
	for _, name := range []string{"manifests", "oci-missing"} {
		data, err := os.ReadFile(filepath.Join(dir, "objects", "OCIRepository_"+name+".yaml"))
		l.Must(err)
		recorded := &sourcev1.OCIRepository{}
		l.Must(yaml.Unmarshal(data, recorded))
		l.create(name, func(o *sourcev1.OCIRepository) {
			o.Spec = *recorded.Spec.DeepCopy()
			o.Spec.URL = strings.Replace(o.Spec.URL, recordedHost, l.server.Host, 1)
		})
		var obj *sourcev1.OCIRepository
		if recorded.Status.Artifact == nil {
			obj, _ = l.failed(name, recorded.Status.Conditions.Get("Ready").Reason)
		} else {
			obj = l.ready(name, recorded.Status.Artifact.Revision)
			compareArtifacts(l, dir, recorded, obj)
		}
		got, want := describe(obj.Status.Conditions, l.server.Host), describe(recorded.Status.Conditions, "")
		if !slices.Equal(got, want) {
			t.Errorf("%s: conditions\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if got, want := obj.Status.ObservedGeneration, recorded.Status.ObservedGeneration; got != want {
			t.Errorf("%s: observedGeneration %d, want %d", name, got, want)
		}
		compareEvent(l, dir, name)
	}
}

const recordedHost = "127.0.0.1:5000"

func pushRecorded(l *lab, dir string) {
	l.Helper()
	pool := registry.NewPool(registry.Options{})
	l.Cleanup(pool.Close)
	repo, err := pool.Open(registry.Remote{URL: l.server.URL("manifests")})
	l.Must(err)
	_, err = repo.Push(context.Background(), "v1.0.0", registry.Artifact{
		File: filepath.Join(dir, "artifacts", "oci", "manifests-v1.0.0.layer0.tgz"),
		Annotations: map[string]string{
			"org.example/key": "value", registry.AnnotationCreated: "1970-01-01T00:00:00Z",
			registry.AnnotationRevision: "main@sha1:5ed6448997b0625359abec8dd8cefd3a2503e86f",
			registry.AnnotationSource:   "http://127.0.0.1:5001/fleet.git",
		},
	})
	l.Must(err)
}

func describe(conditions []metav1.Condition, host string) (out []string) {
	for _, c := range conditions {
		message := c.Message
		if host != "" {
			message = strings.ReplaceAll(message, host, recordedHost)
		}
		out = append(out, strings.Join([]string{c.Type, string(c.Status), c.Reason, message}, " | "))
	}
	slices.Sort(out)
	return out
}

func compareArtifacts(l *lab, dir string, recorded, obj *sourcev1.OCIRepository) {
	l.Helper()
	want, got := recorded.Status.Artifact, obj.Status.Artifact
	home := func(text string) string {
		return strings.Replace(text, "/"+l.Namespace+"/", "/"+recorded.Namespace+"/", 1)
	}
	if p := home(got.Path); p != want.Path {
		l.Errorf("%s: path %s, want %s", recorded.Name, p, want.Path)
	}
	if u := strings.Replace(home(obj.Status.URL), sourcetest.Advertised, "127.0.0.1:19090", 1); u != recorded.Status.URL {
		l.Errorf("%s: url %s, want %s", recorded.Name, u, recorded.Status.URL)
	}
	if !maps.Equal(got.Metadata, want.Metadata) {
		l.Errorf("%s: metadata %v, want %v", recorded.Name, got.Metadata, want.Metadata)
	}
	theirs := filepath.Join(dir, "artifacts", "files", "source-controller", filepath.FromSlash(want.Path))
	a, b := sourcetest.ReadArchive(l.T, filepath.Join(l.Data, filepath.FromSlash(got.Path))), sourcetest.ReadArchive(l.T, theirs)
	if !slices.Equal(a, b) {
		l.Errorf("%s: archive\n%v\nwant\n%v", theirs, a, b)
	}
}

// compareEvent waits for the first recorded event of the object.
func compareEvent(l *lab, dir, name string) {
	l.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "events", "core", "OCIRepository_flux-system_"+name+".json"))
	l.Must(err)
	var events []struct{ Reason, Message string }
	l.Must(yaml.Unmarshal(data, &events))
	l.Event(name, events[0].Reason, strings.ReplaceAll(events[0].Message, recordedHost, l.server.Host))
}
