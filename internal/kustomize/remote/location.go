package remote

import (
	"errors"
	"net/url"
	"path"
	"strings"
)

// location is what a reference of a kustomization means: a file at a URL, or a directory in a Git repository.
type location struct {
	// file is the URL of a single file, empty for a repository.
	file string
	// repository is the URL to clone, dir the directory in it, ref the branch, tag or commit; empty for the default.
	repository, dir, ref string
}

// ErrUnsupported is wrapped for references that would need credentials or lead to the controller's own disk.
var ErrUnsupported = errors.New("only public http and https addresses are fetched")

// parse reads a reference the way kustomize does. The repository ends at "_git/<name>", at "//", at ".git", or after
// the second part of the path, whichever of these is there first in this order. A path that ends like a manifest is a
// file.
func parse(ref string) (location, error) {
	u, err := address(ref)
	if err != nil {
		return location{}, err
	}
	query := u.Query()
	l := location{ref: query.Get("version")}
	if r := query.Get("ref"); r != "" {
		l.ref = r
	}
	repository, dir, explicit := split(strings.TrimPrefix(u.Path, "/"))
	if !explicit && isManifest(u.Path) {
		return location{file: u.String()}, nil
	}
	if repository == "" {
		return location{}, errors.New("the address names no repository")
	}
	if dir = path.Clean("/" + dir); dir == "/" {
		dir = "."
	}
	l.dir = strings.TrimPrefix(dir, "/")
	l.repository = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/" + repository}).String()
	return l, nil
}

// address turns kustomize's spellings into a URL.
func address(ref string) (*url.URL, error) {
	if rest, ok := cutPrefixFold(ref, "git::"); ok {
		ref = rest
	}
	for _, prefix := range []string{"github.com/", "github.com:"} {
		if rest, ok := cutPrefixFold(ref, prefix); ok {
			ref = "https://github.com/" + rest
		}
	}
	u, err := url.Parse(ref)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, ErrUnsupported
	}
	if u.User != nil {
		return nil, errors.New("the address holds a user or password; make it a source with a Secret instead")
	}
	return u, nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func split(p string) (repository, dir string, explicit bool) {
	if i := strings.Index(p, "_git/"); i >= 0 {
		end := i + len("_git/")
		name, rest, _ := strings.Cut(p[end:], "/")
		return p[:end] + name, rest, true
	}
	if before, after, ok := strings.Cut(p, "//"); ok {
		return before, after, true
	}
	if i := strings.Index(p, ".git"); i >= 0 {
		return p[:i+len(".git")], p[i+len(".git"):], true
	}
	parts := strings.SplitN(p, "/", 3)
	if len(parts) < 2 {
		return "", "", false
	}
	if len(parts) == 3 {
		dir = parts[2]
	}
	return parts[0] + "/" + parts[1], dir, false
}

func isManifest(p string) bool {
	switch path.Ext(p) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}
