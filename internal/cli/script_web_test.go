package cli

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitops-toolkit/flux/internal/cli/create"
)

// receiverToken opens the receivers of receiverServer.
const receiverToken = "sample-token"

// receiverServer listens as the notification controller does for the Receivers generic, hmac, oidc and
// busy of flux-system. What does not prove itself is told 404, or 401.
func receiverServer(t *testing.T) *httptest.Server {
	t.Helper()
	var attempts atomic.Int32
	path := func(token, name string) string { return create.WebhookPath(token, name, "flux-system") }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte(receiverToken))
		mac.Write(body)
		ok := r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/json"
		switch r.URL.Path {
		case path(receiverToken, "generic"):
			ok = ok && bytes.Equal(body, []byte("{}"))
		case path(receiverToken, "hmac"):
			ok = ok && r.Header.Get("X-Signature") == "sha256="+hex.EncodeToString(mac.Sum(nil))
		case path("", "oidc"):
			ok = ok && r.Header.Get("Authorization") == "Bearer good-jwt"
		case path(receiverToken, "busy"):
			if attempts.Add(1) < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
		case "/identity":
			if r.URL.Query().Get("audience") != "notification-controller" || r.Header.Get("Authorization") != "Bearer job-secret" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, `{"value":"good-jwt"}`)
			return
		default:
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// receivers serves webhooks as $RECEIVER.
func receivers(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) { ts.Setenv("RECEIVER", receiverServer(t).URL) }
}

// serveFiles serves the files of a directory as $WEB; in YAML files, WEB stands for the address,
// OS and ARCH for this machine, and SHA(file) for a checksum.
func serveFiles(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		dir := ts.MkAbs(args[0])
		var server *httptest.Server
		server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, ".yaml") {
				http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
				return
			}
			text, err := fill(dir, r.URL.Path, server.URL)
			if err != nil {
				http.NotFound(w, r)
				return
			}
			_, _ = io.WriteString(w, text)
		}))
		ts.Defer(server.Close)
		ts.Setenv("WEB", server.URL)
	}
}
