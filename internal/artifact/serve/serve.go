// Package serve offers an artifact store over HTTP: byte ranges, conditional requests by time and by
// digest, and listings of what is there. Lock files, temporary files and the store's own directory
// are not there for it, and no path leads out of the store.
//
// Files have fixed content types, whatever the machine knows. The entity tag is the digest, so a
// name whose content was replaced is never answered with 304.
package serve

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/gitops-toolkit/flux/internal/artifact/store"
)

// Handler serves the artifacts of st below the path "/".
func Handler(st *store.Store) http.Handler {
	mux := http.NewServeMux() // answers paths with .. by a redirect to what they mean
	mux.Handle("/", &handler{store: st})
	return mux
}

type handler struct {
	store *store.Store
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := strings.TrimPrefix(r.URL.Path, "/")
	f, err := h.store.OpenFile(p)
	if errors.Is(err, store.ErrMissing) {
		h.list(w, r, p)
		return
	}
	if err != nil {
		// the reason is for the operator; the world learns nothing of the disk
		logr.FromContextOrDiscard(r.Context()).Error(err, "cannot serve artifact", "path", p)
		http.Error(w, "500 Internal Server Error", http.StatusInternalServerError)
		return
	}
	defer f.Close() //nolint:errcheck // read only
	w.Header().Set("Content-Type", contentType(p))
	if f.Digest != "" {
		w.Header().Set("ETag", `"`+f.Digest.String()+`"`)
	}
	http.ServeContent(w, r, "", f.ModTime, f.File)
}

// contentType returns the type of a file by its name.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".gz":
		return "application/gzip"
	case ".tgz":
		return "application/x-compressed-tar"
	case ".yaml", ".yml":
		return "application/x-yaml"
	}
	return "application/octet-stream"
}

// list answers with the names in a directory, or 404.
func (h *handler) list(w http.ResponseWriter, r *http.Request, dir string) {
	names, changed, err := h.store.List(strings.TrimSuffix(dir, "/"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if dir != "" && !strings.HasSuffix(dir, "/") {
		// relative, because a proxy may serve the store below another path
		w.Header().Set("Location", path.Base(dir)+"/")
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	var b strings.Builder
	b.WriteString("<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n")
	for _, name := range names {
		link := url.URL{Path: name}
		fmt.Fprintf(&b, "<a href=\"%s\">%s</a>\n", link.String(), html.EscapeString(name))
	}
	b.WriteString("</pre>\n")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	http.ServeContent(w, r, "", changed, strings.NewReader(b.String()))
}

// Timeouts of the server. The longest download counts as long as it keeps an artifact from being
// collected.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	downloadTimeout = 30 * time.Minute
	shutdownTimeout = 10 * time.Second
	maxHeaderBytes  = 256 << 10 // as upstream allows for events and webhooks
)

// Serve serves handler on a listener until ctx ends, then lets running downloads finish for a few
// seconds. It closes the listener. Failures go to the logger in ctx.
func Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      downloadTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("artifact server on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		return errors.Join(fmt.Errorf("artifact server on %s: downloads did not finish: %w", l.Addr(), err), server.Close())
	}
	return nil
}
