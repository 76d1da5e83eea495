package git

import (
	"compress/gzip"
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// safeProtocol is what we hand from a client's Git-Protocol header to the environment of git.
var safeProtocol = regexp.MustCompile(`^[a-z0-9=:]{1,64}$`)

func (s *Server) handler(scheme string) http.Handler {
	var h http.Handler = http.HandlerFunc(s.serveGit)
	if s.opts.Wrap != nil {
		h = s.opts.Wrap(h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, service, advertise := target(r)
		body := &countingReader{Reader: r.Body}
		r.Body = io.NopCloser(body)
		cw := &countingResponse{ResponseWriter: w}
		h.ServeHTTP(cw, r)
		s.record.add(Request{
			Transport: scheme, Repo: name, Service: service, Advertise: advertise,
			Status: cw.status, Authorization: r.Header.Get("Authorization") != "",
			Sent: cw.n, Received: body.n.Load(),
		})
	})
}

// target reads repository, service and step from a smart HTTP request; service is "" for any other.
func target(r *http.Request) (name, service string, advertise bool) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if p, ok := strings.CutSuffix(path, "/info/refs"); ok {
		return repoName(p), r.URL.Query().Get("service"), true
	}
	for _, svc := range []string{uploadPack, receivePack} {
		if p, ok := strings.CutSuffix(path, "/"+svc); ok {
			return repoName(p), svc, false
		}
	}
	return repoName(path), "", false
}

func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	name, service, advertise := target(r)
	if service != uploadPack && service != receivePack {
		http.Error(w, "only smart HTTP is served", http.StatusForbidden)
		return
	}
	if !s.authorized(r, service) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "authentication required", http.StatusUnauthorized)
		return
	}
	repo, err := Open(s.opts.Root, name)
	if err != nil {
		http.Error(w, "repository not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	switch {
	case advertise && r.Method == http.MethodGet:
		s.advertise(w, r, repo, service)
	case !advertise && r.Method == http.MethodPost:
		s.exchange(w, r, repo, service)
	default:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (s *Server) authorized(r *http.Request, service string) bool {
	if len(s.opts.Users) == 0 && len(s.opts.Tokens) == 0 {
		return true
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return s.opts.AnonymousRead && service == uploadPack
	}
	if user, password, ok := r.BasicAuth(); ok {
		want, known := s.opts.Users[user]
		return known && equal(want, password)
	}
	token, ok := strings.CutPrefix(header, "Bearer ")
	for _, want := range s.opts.Tokens {
		if ok && equal(want, token) {
			return true
		}
	}
	return false
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (s *Server) advertise(w http.ResponseWriter, r *http.Request, repo *Repo, service string) {
	w.Header().Set("Content-Type", "application/x-"+service+"-advertisement")
	cmd := s.command(r.Context(), repo, service, r.Header.Get("Git-Protocol"), "--stateless-rpc", "--advertise-refs")
	if !strings.Contains(r.Header.Get("Git-Protocol"), "version=2") || service == receivePack {
		line := "# service=" + service + "\n"
		_, _ = fmt.Fprintf(w, "%04x%s0000", len(line)+4, line)
	}
	cmd.Stdout = w
	_ = cmd.Run()
}

func (s *Server) exchange(w http.ResponseWriter, r *http.Request, repo *Repo, service string) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		zr, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, "body is not gzip", http.StatusBadRequest)
			return
		}
		body = zr
	}
	w.Header().Set("Content-Type", "application/x-"+service+"-result")
	cmd := s.command(r.Context(), repo, service, r.Header.Get("Git-Protocol"), "--stateless-rpc")
	cmd.Stdin, cmd.Stdout = body, flushWriter{w, http.NewResponseController(w)}
	s.run(cmd, repo, service)
}

// run runs the command; around a push it looks which refs changed, and tells those who asked to know.
func (s *Server) run(cmd *exec.Cmd, repo *Repo, service string) error {
	if service != receivePack {
		return cmd.Run()
	}
	before, _ := repo.Refs()
	err := cmd.Run()
	after, _ := repo.Refs()
	if changes := diffRefs(before, after); len(changes) > 0 {
		s.pushed(Push{Repo: repo.Name, Changes: changes})
	}
	return err
}

func (s *Server) command(ctx context.Context, repo *Repo, service, protocol string, args ...string) *exec.Cmd {
	args = append([]string{strings.TrimPrefix(service, "git-")}, append(args, repo.Dir)...)
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = environment()
	if safeProtocol.MatchString(protocol) {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+protocol)
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

type flushWriter struct {
	w io.Writer
	c *http.ResponseController
}

func (f flushWriter) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	_ = f.c.Flush()
	return n, err
}
