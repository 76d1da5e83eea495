package attempt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/retryafter"
)

// host keeps what a request does.
type host struct {
	progress []kernel.Progress
	events   []kernel.Event
}

func (h *host) Progress(p kernel.Progress)                          { h.progress = append(h.progress, p) }
func (h *host) Event(e kernel.Event)                                { h.events = append(h.events, e) }
func (h *host) Checkpoint(context.Context, func(meta.Object)) error { return nil }
func (h *host) Memory() any                                         { return nil }
func (h *host) Remember(any)                                        {}

func request() (*kernel.Request[*sourcev1.Bucket], *host) {
	h := &host{}
	return kernel.NewRequest(&sourcev1.Bucket{ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "ns"}}, h), h
}

func asks(d time.Duration) error {
	return &retryafter.Error{Host: "h", Status: "429 Too Many Requests", After: d}
}

var owned = []string{sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition}

func TestUnstored(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		what         string
		err          error
		reason, want string
	}{
		{"what is too large is the tree's doing", archive.ErrLimit, "ArchiveOperationFailed", "; leave files out with spec.ignore or a file '.sourceignore'"},
		{"all else is the volume's", errors.New("no space left on device"), "ArchiveOperationFailed", "; check the free space and the permissions of the controller's storage"},
		{"a directory that cannot be made", fmt.Errorf("x: %w", store.ErrDirectory), "DirectoryCreationFailed", "; check the free space and the permissions of the controller's storage"},
	} {
		f := Unstored(Archived, tc.err)
		if f.Reason != tc.reason || !errors.Is(f, tc.err) || !strings.HasSuffix(f.Error(), tc.want) || f.Condition != sourcev1.StorageOperationFailedCondition {
			t.Errorf("%s: %s %q", tc.what, f.Reason, f)
		}
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	stalledAs := func(f *Failure) string {
		req, _ := request()
		req.SetCondition(sourcev1.StorageOperationFailedCondition, metav1.ConditionTrue, "Old", "old")
		o := f.Outcome(req, owned)
		if req.Condition(sourcev1.StorageOperationFailedCondition) != nil && f.Condition != sourcev1.StorageOperationFailedCondition {
			t.Error("a failure that is over is still shown")
		}
		c := req.Condition(f.Condition)
		return fmt.Sprintf("%s %s %s %+v", c.Status, c.Reason, c.Message, o)
	}
	seen := map[string]string{}
	for name, f := range map[string]*Failure{
		"fetch": Fetch("R", cause), "stall": Stall("R", cause), "gate": GateDisabled(cause), "wait": Fetch("R", cause).Wait(),
		"pause": Fetch("R", fmt.Errorf("%w", asks(time.Minute))), "unverified": {Condition: sourcev1.SourceVerifiedCondition, Status: metav1.ConditionFalse, Reason: "R", Err: cause},
	} {
		text := stalledAs(f)
		if other, dup := seen[text]; dup {
			t.Errorf("%s and %s come to the same: %s", name, other, text)
		}
		seen[text] = name
	}
	for asked, want := range map[time.Duration]time.Duration{48 * time.Hour: time.Hour, time.Minute: time.Minute, -time.Minute: 0} {
		req, _ := request()
		if o := Fetch("R", asks(asked)).Outcome(req, owned); o.After != want || !o.ExponentialBackoff {
			t.Errorf("a server that asks for %s gets %+v", asked, o)
		}
	}
	if f := Of(fmt.Errorf("wrapped: %w", Stall("R", cause))); !f.Stalled {
		t.Error("a wrapped failure is not found")
	}
	if f := Of(cause); f.Reason != meta.FailedReason || Of(nil) != nil {
		t.Errorf("%+v", f)
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	fail := Fetch("R", errors.New("cause"))
	ctx, cancel := context.WithCancelCause(context.Background())
	if _, err := Result(ctx, 1, fail); err != error(fail) {
		t.Errorf("%v", err)
	}
	if _, err := Result(ctx, 1, nil); err != nil {
		t.Errorf("no failure became %v", err)
	}
	cancel(kernel.ErrSuperseded)
	if _, err := Result(ctx, 1, fail); !errors.Is(err, kernel.ErrSuperseded) {
		t.Errorf("what a newer desire has ended is %v", err)
	}
}

// TestDone tells who hears of what.
func TestDone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		what                    string
		stored, news, recovered bool
		want                    string
	}{
		{"another content", true, true, false, "NewArtifact news false"},
		{"another content after a failure", true, true, true, "NewArtifact news false"},
		{"the same after a failure", false, false, true, "Succeeded news false"},
		{"the same, made again after a failure", true, false, true, "Succeeded news false"},
		{"the same, made again because it was lost", true, false, false, ""},
		{"nothing new", false, false, false, "ArtifactUpToDate artifact up-to-date with remote revision: 'r' true"},
	} {
		req, _ := request()
		f := &Found{Artifact: &meta.Artifact{Revision: "r", Digest: "d"}, Stored: tc.stored}
		o := f.Done(req, Words{Reason: "Succeeded", Message: "stored", News: "news"}, tc.news, tc.recovered)
		got := ""
		for _, e := range o.Events {
			got += fmt.Sprintf("%s %s %t", e.Reason, e.Message, e.OnChange)
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.what, got, tc.want)
		}
		if c := req.Condition(sourcev1.ArtifactInStorageCondition); c == nil || c.Message != "stored" {
			t.Errorf("%s: %+v", tc.what, c)
		}
	}
}

// TestShelf goes through the life of an artifact: stored, found again, damaged, lost, superseded, cleared.
func TestShelf(t *testing.T) {
	t.Parallel()
	ctx, req, h := context.Background(), (*kernel.Request[*sourcev1.Bucket])(nil), (*host)(nil)
	req, h = request()
	root := t.TempDir()
	artifacts, err := store.Open(store.Options{Root: root, Advertised: "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	shelf := Shelf{Store: artifacts, Kind: "bucket", Namespace: "ns", Name: "b", Link: "latest.tar.gz"}
	f := &Found{}
	if fail := shelf.Check(ctx, req, nil, f); fail != nil || f.Artifact != nil || h.progress[0].Message != "building artifact" {
		t.Fatalf("nothing yet: %v, %+v", fail, h.progress)
	}
	write := func(w io.Writer) error { _, err := io.WriteString(w, "content"); return err }
	if err := shelf.Put(ctx, "1.tar.gz", "r1", nil, f, write); err != nil || !f.Stored {
		t.Fatalf("%v, %+v", err, f)
	}
	if fail := shelf.Offer(ctx, req, f); fail != nil || f.URL != "http://a.example/bucket/ns/b/latest.tar.gz" {
		t.Fatalf("%v, %s", fail, f.URL)
	}
	again := &Found{}
	if fail := shelf.Check(ctx, req, f.Artifact, again); fail != nil || again.Artifact == nil || again.Stored {
		t.Fatalf("%v, %+v", fail, again)
	}
	other := f.Artifact.DeepCopy()
	other.Digest = "sha256:" + strings.Repeat("0", 64)
	lost := &Found{}
	if fail := shelf.Check(ctx, req, other, lost); fail != nil || lost.Artifact != nil || len(h.events) != 1 || h.events[0].Reason != "ArtifactVerificationFailed" {
		t.Fatalf("damage: %v, %+v, %+v", fail, lost, h.events)
	}
	gone := &Found{}
	if fail := shelf.Check(ctx, req, f.Artifact, gone); fail != nil || gone.Artifact != nil || h.progress[len(h.progress)-1].Message != disappeared {
		t.Fatalf("the damaged file was not taken away: %v, %+v", fail, gone)
	}
	if o := gone.Failed(req, f.Artifact, Fetch("R", errors.New("cause")), owned); o.Err == nil || h.progress[len(h.progress)-1].Message != disappeared {
		t.Errorf("%+v, %+v", o, h.progress)
	}
	if err := shelf.Put(ctx, "2.tar.gz", "r2", nil, gone, write); err != nil {
		t.Fatal(err)
	}
	cleared := false
	shelf.Clear(ctx, req, func() error { cleared = true; return nil })
	if last := h.events[len(h.events)-1]; !cleared || last.Message != "garbage collected artifacts for deleted resource" {
		t.Errorf("%t, %+v", cleared, last)
	}
}

// TestPutOnce makes content once for many objects, and again when it was lost.
func TestPutOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	artifacts, err := store.Open(store.Options{Root: root, Advertised: "a.example"})
	if err != nil {
		t.Fatal(err)
	}
	var once Once
	var made atomic.Int64
	write := func(w io.Writer) error {
		made.Add(1)
		_, err := io.WriteString(w, "content")
		return err
	}
	put := func(name, key string) *meta.Artifact {
		f := &Found{}
		shelf := Shelf{Store: artifacts, Kind: "gitrepository", Namespace: "ns", Name: name}
		if err := shelf.PutOnce(context.Background(), &once, key, "1.tar.gz", "r", map[string]string{"name": name}, f, write); err != nil || !f.Stored {
			t.Errorf("%s: %v", name, err)
			return &meta.Artifact{}
		}
		return f.Artifact
	}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			name := fmt.Sprintf("app-%d", i)
			a := put(name, "key")
			data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(a.Path)))
			if err != nil || string(data) != "content" || a.Metadata["name"] != name || *a.Size != 7 {
				t.Errorf("%s: %+v, %q, %v", name, a, data, err)
			}
		})
	}
	group.Wait()
	if n := made.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
	put("other", "another key")
	put("nameless", "")
	if n := made.Load(); n != 3 {
		t.Errorf("other content, and content without a name: made %d times", n)
	}
	lost, err := filepath.Glob(filepath.Join(root, "*", "*", "*", "*.tar.gz"))
	if err != nil || len(lost) != 22 {
		t.Fatalf("%d files, %v", len(lost), err)
	}
	if err := artifacts.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	if artifacts, err = store.Open(store.Options{Root: root, Advertised: "a.example"}); err != nil {
		t.Fatal(err)
	}
	put("app-1", "key")
	if n := made.Load(); n != 4 {
		t.Errorf("after a loss: made %d times", n)
	}
}
