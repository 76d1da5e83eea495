package tags_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/image/tags"
)

var name = types.NamespacedName{Namespace: "apps", Name: "podinfo"}

func open(t *testing.T, o tags.Options) *tags.Store {
	t.Helper()
	s, err := tags.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestListsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	o := tags.Options{Dir: t.TempDir(), CompressFrom: 1024}
	s := open(t, o)
	if _, err := s.Get(name); !errors.Is(err, tags.ErrNone) {
		t.Fatalf("an unknown repository: %v", err)
	}
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf("1.0.%d", i))
	}
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, list := range [][]string{{"1.0.0", "1.1.0"}, many, {}, {"one"}} {
		put, err := s.Put(name, slices.Clone(list), at)
		if err != nil {
			t.Fatal(err)
		}
		got, err := open(t, o).Get(name)
		if err != nil || got.Revision != put.Revision || !slices.Equal(got.Tags, put.Tags) || len(got.Tags) != len(list) || !got.Scanned.Equal(at) {
			t.Errorf("%d tags became %d (%s, %s at %s), %v", len(list), len(got.Tags), put.Revision, got.Revision, got.Scanned, err)
		}
		if files, _ := os.ReadDir(filepath.Join(o.Dir, "imagerepository", "apps", "podinfo")); len(files) != 1 {
			t.Errorf("files %v", files)
		}
	}
	if _, err := s.Put(name, []string{"one"}, at.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(name); err != nil || !got.Scanned.Equal(at.Add(time.Minute)) {
		t.Errorf("an unchanged list scanned again: %+v, %v", got, err)
	}
}

// TestRevisions pins the checksum that upstream wrote for the same tags in the recorded run.
func TestRevisions(t *testing.T) {
	t.Parallel()
	list := strings.Fields("1.0.0 1.1.0 1.2.0-rc.1 alpha-a alpha-b alpha-c build-1 build-10 build-2")
	for digests, want := range map[bool]string{false: "2801997794", true: "sha256:"} {
		got, err := open(t, tags.Options{Dir: t.TempDir(), Digests: digests}).Put(name, slices.Clone(list), time.Now())
		if err != nil || !strings.HasPrefix(got.Revision, want) {
			t.Errorf("revision %s, want %s, %v", got.Revision, want, err)
		}
	}
}

func TestDamageIsAsGoodAsNothing(t *testing.T) {
	t.Parallel()
	o := tags.Options{Dir: t.TempDir(), CompressFrom: 1}
	s := open(t, o)
	if _, err := s.Put(name, []string{"1.0.0", "2.0.0"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Dir, "imagerepository", "apps", "podinfo", "tags.txt.gz")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(data) {
		if err := os.WriteFile(path, data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(name); !errors.Is(err, tags.ErrNone) {
			t.Errorf("%d of %d bytes read as %v, %v", cut, len(data), got.Tags, err)
		}
	}
}

func TestCollectKeepsWhoIsAlive(t *testing.T) {
	t.Parallel()
	s := open(t, tags.Options{Dir: t.TempDir()})
	gone := types.NamespacedName{Namespace: "old", Name: "gone"}
	for _, n := range []types.NamespacedName{name, gone} {
		if _, err := s.Put(n, []string{"1"}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	n, err := s.Collect(func(n types.NamespacedName) (bool, error) { return n == name, nil })
	if n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if _, err := s.Get(gone); !errors.Is(err, tags.ErrNone) {
		t.Errorf("still there: %v", err)
	}
	if _, err := s.Get(name); err != nil {
		t.Error(err)
	}
}
