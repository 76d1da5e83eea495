package gitrepository_test

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestRecorded serves the recorded repository, applies the recorded objects' specs, and compares what comes of them
// with what upstream made: revision, path, conditions, and the archive's entries with their order, modes and content.
// The recording is data beside the checkout; without it the test is skipped.
func TestRecorded(t *testing.T) {
	t.Parallel()
	dir := cmp.Or(os.Getenv("FLUX_RECORDED"), "/work/shared/recorded")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no recording in %s; set FLUX_RECORDED to its directory", dir)
	}
	l := newLab(t, git.Options{})
	repo, err := l.server.Create("recorded", "main")
	l.Must(err)
	_, err = repo.Git(nil, "fetch", "--quiet", "--force", filepath.Join(dir, "git", "fleet.bundle"), "+refs/*:refs/*")
	l.Must(err)
	l.start()
	files, err := filepath.Glob(filepath.Join(dir, "objects", "GitRepository_*.yaml"))
	l.Must(err)
	compared := 0
	slices.SortStableFunc(files, func(a, b string) int { // What others are included in comes last.
		return cmp.Compare(strings.Index(a, "-include"), strings.Index(b, "-include"))
	})
	for _, path := range files {
		data, err := os.ReadFile(path)
		l.Must(err)
		recorded := &sourcev1.GitRepository{}
		l.Must(yaml.Unmarshal(data, recorded))
		if recorded.Spec.Suspend {
			continue // It has no result.
		}
		compared++
		url := recorded.Spec.URL
		l.create(recorded.Name, func(o *sourcev1.GitRepository) {
			o.Spec = *recorded.Spec.DeepCopy()
			o.Spec.URL = l.server.HTTPURL("recorded")
			ref := recorded.Spec.Reference
			if branch := cmp.Or(ref.Branch, strings.TrimPrefix(ref.Name, "refs/heads/")); branch != "" && recorded.Status.Artifact != nil {
				a := recorded.Status.Artifact
				l.Must(repo.SetRef("refs/heads/"+branch, a.Revision[strings.LastIndex(a.Revision, ":")+1:]))
			}
		})
		var obj *sourcev1.GitRepository
		if recorded.Status.Artifact == nil {
			obj, _ = l.failed(recorded.Name, recorded.Status.Conditions.Get("Ready").Reason)
		} else {
			obj = l.ready(recorded.Name, recorded.Status.Artifact.Revision)
			compareArtifacts(l, dir, recorded, obj)
		}
		got := describe(obj.Status.Conditions, l.server.HTTPURL("recorded"), url)
		if want := describe(recorded.Status.Conditions, url, url); !slices.Equal(got, want) {
			t.Errorf("%s: conditions\n%s\nwant\n%s", recorded.Name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if compared < 6 {
		t.Errorf("only %d objects compared", compared)
	}
	compareHistory(l, dir)
}

// compareHistory makes the artifacts that the object fleet had in the course of the recording, by their commits.
func compareHistory(l *lab, dir string) {
	l.Helper()
	kept, err := filepath.Glob(filepath.Join(dir, "artifacts/files/source-controller/gitrepository/flux-system/fleet/*.tar.gz"))
	l.Must(err)
	if len(kept) < 3 {
		l.Errorf("only %d recorded artifacts", len(kept))
	}
	for _, theirs := range kept {
		commit := strings.TrimSuffix(filepath.Base(theirs), ".tar.gz")
		l.create(commit, func(o *sourcev1.GitRepository) {
			o.Spec.URL = l.server.HTTPURL("recorded")
			o.Spec.Reference = &sourcev1.GitRepositoryRef{Commit: commit}
		})
		obj := l.ready(commit, "sha1:"+commit)
		compareFiles(l, filepath.Join(l.Data, filepath.FromSlash(obj.Status.Artifact.Path)), theirs)
	}
}

func describe(conditions []metav1.Condition, url, as string) (out []string) {
	for _, c := range conditions {
		out = append(out, strings.Join([]string{c.Type, string(c.Status), c.Reason, strings.ReplaceAll(c.Message, url, as)}, " | "))
	}
	slices.Sort(out)
	return out
}

func compareArtifacts(l *lab, dir string, recorded, obj *sourcev1.GitRepository) {
	l.Helper()
	want, got := recorded.Status.Artifact, obj.Status.Artifact
	if p := strings.Replace(got.Path, "/"+l.Namespace+"/", "/"+recorded.Namespace+"/", 1); p != want.Path {
		l.Errorf("%s: path %s, want %s", recorded.Name, p, want.Path)
	}
	theirs := filepath.Join(dir, "artifacts", "files", "source-controller", filepath.FromSlash(want.Path))
	if _, err := os.Stat(theirs); errors.Is(err, fs.ErrNotExist) {
		return // Only some of the artifacts were kept.
	}
	compareFiles(l, filepath.Join(l.Data, filepath.FromSlash(got.Path)), theirs)
}

// compareFiles holds the entries, and then the whole tar streams, against each other.
func compareFiles(l *lab, ours, theirs string) {
	l.Helper()
	a, b := sourcetest.ReadArchive(l.T, ours), sourcetest.ReadArchive(l.T, theirs)
	if !slices.Equal(a, b) {
		l.Errorf("%s: archive\n%v\nwant\n%v", theirs, a, b)
	}
	x, err := exec.Command("sh", "-c", `gzip -dc "$1" | sha256sum`, "sh", ours).Output()
	l.Must(err)
	y, err := exec.Command("sh", "-c", `gzip -dc "$1" | sha256sum`, "sh", theirs).Output()
	l.Must(err)
	if string(x) != string(y) {
		l.Errorf("%s: the tar streams differ", theirs)
	}
}
