package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/gitrepo"
)

const (
	// cloneAgainAfter is the pause before the second attempt to clone.
	cloneAgainAfter = 2 * time.Second
	// maxConflicts bounds how often a commit is made anew because somebody else pushed.
	maxConflicts = 3
	// maxFile bounds a file of the repository that is looked at, in bytes.
	maxFile = 8 << 20
	// maxCheckout bounds what is written to the disk of the repository, in bytes.
	maxCheckout = 1 << 30
)

// worktree is a branch of the repository, with the commits made here.
type worktree struct {
	Options
	log   Log
	dir   string
	store *gitrepo.Store
	head  *gitrepo.Snapshot // nil for a repository without commits
}

func newWorktree(log Log, o Options) (*worktree, error) {
	dir, err := os.MkdirTemp("", "flux-bootstrap-")
	if err != nil {
		return nil, err
	}
	store, err := gitrepo.NewStore(filepath.Join(dir, "git"), gitrepo.Options{})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &worktree{Options: o, log: log, dir: dir, store: store}, nil
}

func (w *worktree) close() {
	if w.head != nil {
		w.head.Close()
	}
	_ = w.store.Close()
	_ = os.RemoveAll(w.dir)
}

func (w *worktree) url() string { return gitrepo.RedactURL(w.Remote.URL) }

// clone fetches the branch, twice if need be.
func (w *worktree) clone(ctx context.Context) error {
	w.log.Actionf("cloning branch %q from Git repository %q", w.Branch, w.url())
	err := w.fetch(ctx)
	if err != nil && retriable(err) {
		w.log.Warningf("clone failure: %s", err)
		select {
		case <-ctx.Done():
		case <-time.After(cloneAgainAfter):
			err = w.fetch(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("failed to clone repository: %w", w.explain(ctx, err))
	}
	w.log.Successf("cloned repository")
	return nil
}

// retriable tells whether a second attempt may end otherwise.
func retriable(err error) bool {
	for _, final := range []error{gitrepo.ErrAuthentication, gitrepo.ErrAuthorization, gitrepo.ErrReference, gitrepo.ErrHostKey, gitrepo.ErrCredentials, gitrepo.ErrURL} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// explain adds what to do.
func (w *worktree) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, gitrepo.ErrReference):
		if branch, headErr := gitrepo.RemoteHead(ctx, w.Remote); headErr == nil {
			return fmt.Errorf("%w: the repository has commits but no branch %q; create it, or give --branch=%s", err, w.Branch, branch)
		}
	case errors.Is(err, gitrepo.ErrAuthentication), errors.Is(err, gitrepo.ErrAuthorization):
		return fmt.Errorf("%w: check that the token or key is valid and may write to the repository", err)
	}
	var unreachable net.Error
	if errors.As(err, &unreachable) {
		return fmt.Errorf("%w: check the address, the network and HTTPS_PROXY", err)
	}
	return err
}

func (w *worktree) fetch(ctx context.Context) error {
	snap, err := w.store.FetchBranch(ctx, w.Remote, w.Branch)
	if err != nil {
		return err
	}
	if w.head != nil {
		w.head.Close()
	}
	w.head = snap
	return nil
}

// revision is how sources call what was pushed.
func (w *worktree) revision() string { return w.head.Revision().String() }

// files returns the content of the files, but not directories, at a path; nil when there are none.
func (w *worktree) files(dir string) (map[string][]byte, error) {
	if w.head == nil {
		return nil, nil
	}
	entries, err := w.entries(dir)
	if err != nil {
		return nil, err
	}
	found := map[string][]byte{}
	for _, e := range entries {
		if e.Mode != gitrepo.ModeFile && e.Mode != gitrepo.ModeExecutable {
			continue
		}
		body, size, err := w.head.Blob(e.Hash)
		if err != nil {
			return nil, err
		}
		var data []byte
		if size <= maxFile {
			data, err = io.ReadAll(body)
		}
		if err = errors.Join(err, body.Close()); err != nil {
			return nil, err
		}
		found[e.Name] = data
	}
	return found, nil
}

func (w *worktree) entries(dir string) ([]gitrepo.Entry, error) {
	entries, err := w.head.Tree(w.head.Root())
	for part := range strings.SplitSeq(strings.Trim(path.Clean("/"+dir), "/"), "/") {
		if part == "" || err != nil {
			continue
		}
		var below []gitrepo.Entry
		for _, e := range entries {
			if e.Name == part && e.Mode == gitrepo.ModeDir {
				below, err = w.head.Tree(e.Hash)
			}
		}
		entries = below
	}
	return entries, err
}

// commit makes and pushes one commit with the files that edit returns, unless they are all there
// already. When somebody else pushed meanwhile, it starts again from what they pushed.
func (w *worktree) commit(ctx context.Context, what, message string, edit func() ([]gitrepo.Edit, error)) error {
	for attempt := 1; ; attempt++ {
		err := w.commitOnce(ctx, what, message, edit)
		if !errors.Is(err, gitrepo.ErrNonFastForward) || attempt == maxConflicts {
			return err
		}
		w.log.Waitingf("git conflict detected, retrying with a fresh clone")
		if err := w.fetch(ctx); err != nil {
			return err
		}
	}
}

func (w *worktree) commitOnce(ctx context.Context, what, message string, edit func() ([]gitrepo.Edit, error)) error {
	edits, err := edit()
	if err != nil {
		return err
	}
	if w.Commit.Appendix != "" {
		message += "\n\n" + w.Commit.Appendix
	}
	made, err := gitrepo.Draft{
		Base: w.head, Edits: edits, Message: message, Signer: w.Commit.Signer,
		Author: gitrepo.Person{Name: cmp.Or(w.Commit.Name, "Flux"), Email: w.Commit.Email, When: time.Now()},
	}.Make()
	if errors.Is(err, gitrepo.ErrNoChange) {
		w.log.Successf("%s are up to date", what)
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to commit %s: %w", what, err)
	}
	w.log.Successf("committed %s to %q (%q)", what, w.Branch, made.Hash)
	w.log.Actionf("pushing %s to %q", what, w.url())
	update := gitrepo.Update{Ref: "refs/heads/" + w.Branch}
	if w.head != nil {
		update.Old = w.head.Revision().Commit
	}
	if err := w.store.Push(ctx, w.Remote, made, []gitrepo.Update{update}); err != nil {
		return fmt.Errorf("failed to push manifests: %w", w.refused(err))
	}
	return w.fetch(ctx)
}

// refused says what to do about a push that the host refuses.
func (w *worktree) refused(err error) error {
	if !errors.Is(err, gitrepo.ErrRejected) {
		return err
	}
	return fmt.Errorf("%w: if branch %q is protected, allow the owner of the token or key to push to it, or bootstrap another branch with --branch and merge it", err, w.Branch)
}

// checkout writes the whole branch below a directory of its own.
func (w *worktree) checkout() (dir string, err error) {
	if dir, err = os.MkdirTemp(w.dir, "checkout-"); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	left := int64(maxCheckout)
	return dir, w.head.Walk(func(name string, e gitrepo.Entry) (bool, error) {
		switch e.Mode {
		case gitrepo.ModeDir:
			return true, root.Mkdir(name, 0o700)
		case gitrepo.ModeFile, gitrepo.ModeExecutable:
			return false, w.write(root, name, e.Hash, &left)
		}
		return false, nil
	})
}

func (w *worktree) write(root *os.Root, name string, hash gitrepo.Hash, left *int64) error {
	body, size, err := w.head.Blob(hash)
	if err != nil {
		return err
	}
	defer body.Close()
	if *left -= size; *left < 0 {
		return fmt.Errorf("the repository is larger than %d bytes: put the cluster into one of its own", maxCheckout)
	}
	file, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, body)
	return errors.Join(err, file.Close())
}
