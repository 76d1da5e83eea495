package git

import "strings"

// DefaultBranch is the branch that HEAD points at, whether or not it exists.
func (r *Repo) DefaultBranch() (string, error) {
	return r.Git(nil, "symbolic-ref", "--short", "HEAD")
}

// SetDefaultBranch points HEAD at a branch.
func (r *Repo) SetDefaultBranch(branch string) error {
	_, err := r.Git(nil, "symbolic-ref", "HEAD", "refs/heads/"+branch)
	return err
}

// Resolve returns the hash of a revision, for example "main", "v1.0.0^{}" or "refs/pull/1/head".
func (r *Repo) Resolve(rev string) (string, error) {
	return r.Git(nil, "rev-parse", "--verify", "--quiet", "--end-of-options", rev)
}

// SetRef points any ref at a revision.
func (r *Repo) SetRef(ref, rev string) error {
	hash, err := r.Resolve(rev)
	if err != nil {
		return err
	}
	_, err = r.Git(nil, "update-ref", ref, hash)
	return err
}

// DeleteRef removes a ref, for example "refs/heads/old".
func (r *Repo) DeleteRef(ref string) error {
	_, err := r.Git(nil, "update-ref", "-d", ref)
	return err
}

// Tag points a tag at a revision, replacing what was there: annotated if message is not empty.
func (r *Repo) Tag(name, rev, message string) error {
	args := []string{"tag", "--force"}
	if message != "" {
		args = append(args, "--annotate", "--message", message)
	}
	_, err := r.Git(nil, append(args, name, rev)...)
	return err
}

// Refs returns all refs and their hashes.
func (r *Repo) Refs() (map[string]string, error) {
	out, err := r.Git(nil, "for-each-ref", "--format=%(refname) %(objectname)")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		if name, hash, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			refs[name] = hash
		}
	}
	return refs, nil
}
