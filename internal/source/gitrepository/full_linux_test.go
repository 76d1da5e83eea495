package gitrepository_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// incompressible is text of so many bytes that takes as many wherever it is stored.
func incompressible(size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rand.IntN(256))
	}
	return string(b)
}

// TestFullVolume runs on a small file system, which has no room for the commit at first, then none for its archive: the
// status tells of it and claims nothing that is not stored, the last good artifact stays, and room is all that it takes
// to go on. At last everything on the volume is lost.
func TestFullVolume(t *testing.T) {
	t.Parallel()
	volume := sourcetest.NewVolume(t, 4<<20)
	l := newLab(t, git.Options{})
	l.Data = volume.Dir
	l.start()
	first, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("fleet", nil)
	before := l.ready("fleet", "main@sha1:"+first)
	stays := func(obj *sourcev1.GitRepository, message string) {
		t.Helper()
		if a := obj.Status.Artifact; a == nil || a.Digest != before.Status.Artifact.Digest || a.Revision != "main@sha1:"+first ||
			obj.Status.Conditions.Get("ArtifactInStorage") == nil {
			t.Errorf("the artifact: %+v", obj.Status)
		}
		if got := l.files(obj)["README.md"]; got != "hello\n" {
			t.Errorf("what is served: %q", got)
		}
		if !strings.Contains(message, "no space left on device") || !strings.Contains(message, "enlarge the volume") {
			t.Errorf("message %q", message)
		}
	}

	const size = 600 << 10
	second := l.commit(map[string]string{"app/data.bin": incompressible(size)}, "Large")
	volume.Leave(100 << 10)
	l.patch("fleet", `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"full"}}}`)
	obj, message := l.failed("fleet", "GitOperationFailed")
	stays(obj, message)

	volume.Leave(size + 300<<10)
	obj, message = l.failed("fleet", "ArchiveOperationFailed")
	stays(obj, message)
	if !strings.HasPrefix(message, "unable to archive artifact to storage: ") {
		t.Errorf("message %q", message)
	}

	volume.Leave(4 << 20)
	obj = l.ready("fleet", "main@sha1:"+second)
	if got := l.files(obj); len(got["app/data.bin"]) != size {
		t.Errorf("%d bytes", len(got["app/data.bin"]))
	}

	entries, err := os.ReadDir(volume.Dir)
	l.Must(err)
	for _, e := range entries {
		l.Must(os.RemoveAll(filepath.Join(volume.Dir, e.Name())))
	}
	l.request("fleet", "lost")
	obj = l.ready("fleet", "main@sha1:"+second)
	if _, err := l.Artifacts.Check(t.Context(), artifact.RefOf(obj.Status.Artifact)); err != nil {
		t.Errorf("the status claims what is not stored: %v", err)
	}
	third := l.commit(map[string]string{"README.md": "after the loss\n"}, "Small")
	l.request("fleet", "third")
	if got := l.files(l.ready("fleet", "main@sha1:"+third)); got["README.md"] != "after the loss\n" || len(got["app/data.bin"]) != size {
		t.Errorf("after everything was lost: %q, %d bytes", got["README.md"], len(got["app/data.bin"]))
	}
}
