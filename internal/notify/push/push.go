// Package push reads from a webhook's body what was pushed, and tells which sources that concerns.
//
// Every Git host and registry has its own words for it; Read knows those of the Receiver types that
// name a repository. What is no push is left out: pings, stars, scans, deletions of images. A Push that leaves something unsaid concerns whatever it might concern: a
// reconciliation too many costs one request, one too few costs an interval.
package push

import (
	"net/url"
	"path"
	"strings"
)

// Push is what a call says about one repository.
type Push struct {
	// Repositories are the addresses of the repository, in all the forms that the call names.
	Repositories []string
	// Refs that moved, in full ("refs/heads/main"), or the tags of an image; nil: not known.
	Refs []string
	// Revision that the push led to, and the one that it came from where the call says so: together they
	// set one push apart from the next, also from one that leads back. Empty: not known.
	Revision string
	// Paths that changed; nil: not known, or too many for the call.
	Paths []string
}

// Identity is the same for all calls about the same push; empty for what is no push.
func (p *Push) Identity() string {
	if p == nil || len(p.Repositories) == 0 {
		return ""
	}
	return address(p.Repositories[0]) + " " + strings.Join(p.Refs, ",") + " " + p.Revision
}

// Certain tells whether the identity sets the push apart from every other one, such as the next to the same tag.
func (p *Push) Certain() bool { return p != nil && p.Revision != "" }

// Source is what an object says about the repository that it uses.
type Source struct {
	// Address of the repository: a URL, or the name of an image.
	Address string
	// Prefix tells that the address is that of a registry's folder, as HelmRepositories have it.
	Prefix bool
	// Refs that the object follows, in full; nil: any. A trailing * stands for anything.
	Refs []string
	// Directories that the object takes from the repository; nil: all.
	Directories []string
}

// Many tells whether one push can move several references that the source follows, which hosts tell in several calls.
func (s Source) Many() bool {
	return len(s.Refs) != 1 || strings.HasSuffix(s.Refs[0], "*")
}

// Concerns tells whether the push can give the source a new revision.
func (p *Push) Concerns(s Source) bool {
	return p.names(s) && p.moves(s.Refs) && p.touches(s.Directories)
}

func (p *Push) names(s Source) bool {
	want := address(s.Address)
	for _, r := range p.Repositories {
		have := address(r)
		if have != "" && (have == want || s.Prefix && strings.HasPrefix(have, want+"/")) {
			return true
		}
	}
	return false
}

func (p *Push) moves(refs []string) bool {
	if p.Refs == nil || refs == nil {
		return true
	}
	for _, moved := range p.Refs {
		for _, follows := range refs {
			if prefix, any := strings.CutSuffix(follows, "*"); follows == moved || any && strings.HasPrefix(moved, prefix) {
				return true
			}
		}
	}
	return false
}

func (p *Push) touches(directories []string) bool {
	if p.Paths == nil || len(directories) == 0 {
		return true
	}
	for _, changed := range p.Paths {
		for _, d := range directories {
			d = strings.Trim(path.Clean("/"+d), "/")
			// Files at the root always belong to a sparse checkout.
			if d == "" || !strings.Contains(changed, "/") || strings.HasPrefix(changed, d+"/") {
				return true
			}
		}
	}
	return false
}

// address brings the ways to write one repository's address to one form: host and path. Ports and
// users are left out, because SSH and HTTP have their own.
func address(s string) string {
	s = strings.TrimSpace(s)
	if !strings.Contains(s, "://") {
		// git@host:owner/name, or the name of an image.
		if host, rest, ok := strings.Cut(s, ":"); ok && !strings.Contains(host, "/") && !startsWithPort(rest) {
			s = host + "/" + rest
		}
		s = "any://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	host := strings.ToLower(u.Hostname())
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		host = "docker.io"
	}
	p := strings.TrimSuffix(strings.Trim(path.Clean("/"+u.Path), "/"), ".git")
	return host + "/" + strings.ToLower(p)
}

// startsWithPort tells a port from the first element of a path.
func startsWithPort(s string) bool {
	port, _, _ := strings.Cut(s, "/")
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	return port != ""
}
