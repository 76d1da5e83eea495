// Package origin tells which repository a directory is a checkout of.
package origin

import (
	"context"
	"net/url"
	"os/exec"
	"strings"
)

// Remotes are the addresses under which the Git repository in a directory is known, none without one.
func Remotes(ctx context.Context, dir string) []string {
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "config", "--get-regexp", `^remote\..*\.url$`).Output()
	if err != nil {
		return nil
	}
	var urls []string
	for line := range strings.Lines(string(out)) {
		if _, address, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			urls = append(urls, address)
		}
	}
	return urls
}

// Same compares addresses of repositories without scheme, user, port and suffix.
func Same(a, b string) bool { return a != "" && b != "" && location(a) == location(b) }

func location(address string) string {
	if host, rest, ok := strings.Cut(address, ":"); ok && !strings.Contains(address, "://") {
		address = "ssh://" + host + "/" + strings.TrimPrefix(rest, "/") // git@host:path
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	return strings.ToLower(u.Hostname()) + "/" + strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
}
