package githost

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/netcause"
	"github.com/gitops-toolkit/flux/internal/version"
)

const (
	requestLimit = 30 * time.Second
	maxAnswer    = 8 << 20
	maxPages     = 100
)

// client makes the requests of one host.
type client struct {
	base   string
	header http.Header
	http   *http.Client
}

func newClient(base string, o Options, header http.Header) (*client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if len(o.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("--ca-file has no certificate in PEM format")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if o.Hostname == "" || strings.ContainsAny(o.Hostname, "/@?# ") {
		return nil, fmt.Errorf("invalid hostname %q", o.Hostname)
	}
	if strings.TrimSpace(o.Token) == "" {
		return nil, errors.New("the token is empty")
	}
	header.Set("User-Agent", version.UserAgent())
	return &client{base: base, header: header, http: &http.Client{
		Transport: transport, Timeout: requestLimit,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme || len(via) > 3 {
				return fmt.Errorf("it redirects to %s://%s, which is not followed", req.URL.Scheme, req.URL.Host)
			}
			return nil
		},
	}}, nil
}

// Error is an answer that is no success.
type Error struct {
	Method, URL string
	Status      int
	Message     string
}

// Error tells what was asked, what the host said, and what to do.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	switch {
	case e.Method == http.MethodPost && strings.Contains(e.Message, "already in use"):
		return text + " (a deploy key opens one repository only: leave out --private-key-file, and the cluster gets a key of its own)"
	case e.Method == http.MethodPost && strings.Contains(e.Message, "already"):
		return text + " (it exists, but the token may not see it: give the token access to it, or choose another name)"
	}
	switch e.Status {
	case http.StatusUnauthorized:
		text += " (the token is wrong or has expired)"
	case http.StatusForbidden:
		text += " (the token lacks a scope or the owner a right: bootstrap needs to read, create and administer repositories)"
	case http.StatusTooManyRequests:
		text += " (the host asks to wait; run again later, what was done is kept)"
	}
	return text
}

// do sends one request; in and out may be nil. It returns the headers of the answer.
func (c *client) do(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	address := c.base + path
	if strings.HasPrefix(path, "https://") {
		address = path
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	req.Header = c.header.Clone()
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if netcause.Of(err) == netcause.Authority {
			return nil, fmt.Errorf("cannot reach the Git host: %w (give the certificate of its authority with --ca-file)", err)
		}
		return nil, fmt.Errorf("cannot reach the Git host: %w (check --hostname, the network and HTTPS_PROXY)", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(data) > maxAnswer {
		return nil, errors.Join(fmt.Errorf("%s %s: the answer is broken off or too large", method, address), err)
	}
	if resp.StatusCode >= 300 {
		return nil, &Error{Method: method, URL: plain(address), Status: resp.StatusCode, Message: message(data)}
	}
	if out == nil {
		return resp.Header, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("%s %s: the answer is not what the API promises: %w", method, plain(address), err)
	}
	return resp.Header, nil
}

// plain leaves the query out of an address.
func plain(address string) string {
	address, _, _ = strings.Cut(address, "?")
	return address
}

// message finds what a host says of a failure: each has its own words for it.
func message(data []byte) string {
	var answer struct {
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
		Errors  json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(data, &answer) != nil {
		return ""
	}
	var parts []string
	for _, raw := range []json.RawMessage{answer.Message, answer.Error, answer.Errors} {
		var text string
		if len(raw) > 0 && json.Unmarshal(raw, &text) != nil && string(raw) != "null" {
			text = string(raw)
		}
		if text != "" {
			parts = append(parts, text)
		}
	}
	text := strings.Join(parts, ": ")
	return text[:min(len(text), 500)]
}

// pages calls each with every page of a list whose next page a Link header names.
func pages[T any](ctx context.Context, c *client, path string, each func([]T)) error {
	for range maxPages {
		var page []T
		header, err := c.do(ctx, http.MethodGet, path, nil, &page)
		if err != nil {
			return err
		}
		each(page)
		if path = c.next(header); path == "" {
			return nil
		}
	}
	return fmt.Errorf("%s has more than %d pages", path, maxPages)
}

// next returns the address of the next page, if it is at the same host.
func (c *client) next(header http.Header) string {
	for link := range strings.SplitSeq(header.Get("Link"), ",") {
		address, params, ok := strings.Cut(link, ";")
		if !ok || !strings.Contains(params, `rel="next"`) {
			continue
		}
		next, err := url.Parse(strings.Trim(strings.TrimSpace(address), "<>"))
		base, _ := url.Parse(c.base)
		if err == nil && next.Host == base.Host && next.Scheme == base.Scheme {
			return next.String()
		}
	}
	return ""
}
