package store

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

func TestCollect(t *testing.T) {
	t.Parallel()
	now := newClock()
	s := open(t, Options{Now: now.time, RetentionTTL: time.Minute, RetentionRecords: 3})
	var refs []artifact.Ref
	for i := range 5 {
		refs = append(refs, put(t, s, repo("a", fmt.Sprintf("%d.tar.gz", i)), fmt.Sprint("content ", i)))
		now.add(10 * time.Second)
	}
	put(t, s, repo("other", "0.tar.gz"), "content 0")
	collect := func(want ...int) {
		t.Helper()
		removed, err := s.Collect(t.Context(), refs[4])
		must(t, err)
		var paths []string
		for _, i := range want {
			paths = append(paths, refs[i].Path)
		}
		if !slices.Equal(removed, paths) {
			t.Errorf("collected %q, want %q", removed, paths)
		}
		audit(t, s, anything)
	}
	serving, err := s.OpenFile(refs[1].Path)
	must(t, err)
	collect(0) // 1 is beyond the count too, but is being served
	must(t, serving.Close())
	collect(1)
	collect()
	now.add(45 * time.Second) // 3 took the place of 2 more than a minute ago, 4 that of 3 less
	collect(2)
	now.add(time.Minute)
	collect(3)
	now.add(24 * time.Hour)
	collect() // never the advertised one

	if removed, err := s.Collect(t.Context(), refs[0]); len(removed) > 0 || err != nil {
		t.Errorf("the advertised artifact is missing, everything else must stay: %q, %v", removed, err)
	}
}

func TestCollectAfterRestartGoesByFileTime(t *testing.T) {
	t.Parallel()
	now := newClock()
	s := open(t, Options{Now: now.time})
	old := put(t, s, repo("a", "1.tar.gz"), "1")
	now.add(time.Hour)
	current := put(t, s, repo("a", "2.tar.gz"), "2")
	s = open(t, Options{Root: s.opts.Root, Now: now.time})
	if removed, err := s.Collect(t.Context(), current); len(removed) > 0 || err != nil {
		t.Errorf("just replaced: %q, %v", removed, err)
	}
	now.add(2 * time.Minute)
	if removed, err := s.Collect(t.Context(), current); !slices.Equal(removed, []string{old.Path}) || err != nil {
		t.Errorf("replaced two minutes ago: %q, %v", removed, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s := open(t, Options{RetentionRecords: 1})
	twin := open(t, Options{Root: s.opts.Root, RetentionRecords: 1}) // another process
	var wg sync.WaitGroup
	for w := range 4 {
		st := []*Store{s, twin}[w%2]
		wg.Go(func() {
			for i := range 25 {
				text := strings.Repeat(fmt.Sprint("content ", i%3), 5000)
				ref, err := st.Put(t.Context(), repo(fmt.Sprint("r", w), fmt.Sprint(i, ".tar.gz")), "", nil, content(text))
				if err != nil {
					t.Error(err)
					return
				}
				f, err := st.OpenFile(ref.Path)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := st.Collect(t.Context(), ref); err != nil {
					t.Error(err)
				}
				data, err := io.ReadAll(f)
				if err != nil || f.Close() != nil || !bytes.Equal(data, []byte(text)) {
					t.Errorf("read %d bytes, %v", len(data), err)
				}
			}
		})
	}
	wg.Wait()
	whole := func(text string) bool { return len(text) == 5000*len("content 0") }
	audit(t, open(t, Options{Root: s.opts.Root}), whole)
}
