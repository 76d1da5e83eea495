package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

var (
	// ErrNonFastForward is wrapped when the ref is no longer where it was expected: fetch again and make the change anew.
	ErrNonFastForward = errors.New("non-fast-forward: the remote has moved on")
	// ErrRejected is wrapped when the server refuses a push for another reason, such as a hook or a protected branch.
	ErrRejected = errors.New("the push was rejected")
	// ErrPushOptions is returned for push options that the server does not take.
	ErrPushOptions = wire.ErrPushOptions
)

// Update says which ref is to have the commit.
type Update struct {
	// Ref in full, such as refs/heads/main.
	Ref string
	// Old is where the ref must be now; zero: it must not exist.
	Old Hash
	// Force moves it from wherever it is.
	Force bool
}

// Push sends a commit and moves refs to it, all or, where the server can, none. Options are handed to the hooks of the
// server.
func (s *Store) Push(ctx context.Context, r Remote, c *NewCommit, updates []Update, options ...string) error {
	m, err := s.mirror(r)
	if err != nil {
		return err
	}
	if err := m.push(ctx, c, updates, options); err != nil {
		return m.wrapAs(ctx, "unable to push to", err)
	}
	return nil
}

func (m *mirror) push(ctx context.Context, c *NewCommit, updates []Update, options []string) error {
	for _, text := range options {
		if strings.ContainsAny(text, "\n\x00") {
			return errors.New("a push option must be one line")
		}
	}
	m.mu.Lock()
	dialer := m.dialer
	m.mu.Unlock()
	conn, err := dialer.Push(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	server, err := wire.Discover(ctx, conn)
	if err != nil {
		return err
	}
	if !server.Receives() {
		return fmt.Errorf("%w: the server only lets us fetch", transport.ErrAuthorization)
	}
	var commands []wire.Command
	for _, u := range updates {
		if !safeRef(u.Ref) || !strings.HasPrefix(u.Ref, "refs/") {
			return refError{u.Ref}
		}
		now := wire.Current(server.Refs(), u.Ref)
		if now == c.Hash {
			continue
		}
		if !u.Force && now != u.Old {
			return fmt.Errorf("%w: %s is at %s", ErrNonFastForward, u.Ref, now)
		}
		commands = append(commands, wire.Command{Ref: u.Ref, Old: now, New: c.Hash})
	}
	if len(commands) == 0 {
		return nil
	}
	data, err := pack.Encode(c.objects)
	if err != nil {
		return err
	}
	return refusal(server.Push(ctx, conn, commands, options, data))
}

// refusal tells a ref that moved meanwhile from other reasons.
func refusal(err error) error {
	var refused *wire.RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	for _, sign := range []string{"non-fast-forward", "fetch first", "stale info", "cannot lock ref", "failed to update ref", "reference already exists"} {
		if strings.Contains(refused.Reason, sign) {
			return fmt.Errorf("%w: %w", ErrNonFastForward, err)
		}
	}
	return fmt.Errorf("%w: %w", ErrRejected, err)
}

// FetchBranch brings the tip of a branch, to build on it; nil for a repository without commits.
func (s *Store) FetchBranch(ctx context.Context, r Remote, branch string) (*Snapshot, error) {
	rev, err := s.Resolve(ctx, r, Reference{Branch: branch})
	if errors.Is(err, ErrEmpty) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.Fetch(ctx, r, rev)
}
