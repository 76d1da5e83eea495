package repo

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"github.com/gitops-toolkit/flux/internal/retryafter"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Validators are what a server gave to tell whether a file has changed. The zero value is nothing.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
}

// IsZero tells whether there is nothing to ask with.
func (v Validators) IsZero() bool { return v == Validators{} }

// ErrNotModified says that a file is still what the validators came with.
var ErrNotModified = errors.New("not modified")

// Index writes the index to out, at most limit bytes, unless it is still the one that the validators came with:
// ErrNotModified.
func (r *Repository) Index(ctx context.Context, known Validators, limit int64, out io.Writer) (Validators, error) {
	u, err := r.resolve("index.yaml")
	if err != nil {
		return Validators{}, err
	}
	header := http.Header{"Accept-Encoding": {"gzip"}}
	if known.ETag != "" {
		header.Set("If-None-Match", known.ETag)
	}
	if known.LastModified != "" {
		header.Set("If-Modified-Since", known.LastModified)
	}
	resp, err := r.get(ctx, u, header)
	if err != nil {
		return Validators{}, err
	}
	defer drain(resp)
	if resp.StatusCode == http.StatusNotModified && !known.IsZero() {
		return known, ErrNotModified
	}
	if err := failed(u, resp); err != nil {
		return Validators{}, err
	}
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(resp.Body); err != nil {
			return Validators{}, fmt.Errorf("failed to fetch %s : %w", shown(u), err)
		}
	}
	err = copyBounded(out, body, limit, tooLarge(fmt.Sprintf("index exceeds the maximum index file size of %d bytes", limit)))
	return Validators{ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified")}, wrapped(u, err)
}

// Chart writes a file that the index names to out, at most limit bytes.
func (r *Repository) Chart(ctx context.Context, ref string, limit int64, out io.Writer) error {
	u, err := r.resolve(ref)
	if err != nil {
		return err
	}
	resp, err := r.get(ctx, u, http.Header{})
	if err != nil {
		return err
	}
	defer drain(resp)
	if err := failed(u, resp); err != nil {
		return err
	}
	err = copyBounded(out, resp.Body, limit, tooLarge(fmt.Sprintf("chart exceeds the maximum size of %d bytes", limit)))
	return wrapped(u, err)
}

func (r *Repository) get(ctx context.Context, u *url.URL, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be requested", ErrURL)
	}
	req.Header = header
	req.Header.Set("User-Agent", userAgent)
	client := http.Client{Transport: &login{repo: r, chart: u}, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}}
	resp, err := client.Do(req)
	return resp, wrapped(u, err)
}

// login adds the credentials to requests that may have them.
type login struct {
	repo *Repository
	// chart is the URL that was asked for, before any redirect.
	chart *url.URL
}

// RoundTrip implements http.RoundTripper.
func (l *login) RoundTrip(req *http.Request) (*http.Response, error) {
	remote := l.repo.remote
	if remote.Username == "" && remote.Password == "" || !l.allowed(req.URL) {
		if req.Header.Get("Authorization") == "" && req.URL.User == nil {
			return l.repo.inner.RoundTrip(req)
		}
		req = req.Clone(req.Context())
		req.Header.Del("Authorization") // A redirect brought it.
		req.URL.User = nil
		return l.repo.inner.RoundTrip(req)
	}
	req = req.Clone(req.Context())
	req.SetBasicAuth(remote.Username, remote.Password)
	return l.repo.inner.RoundTrip(req)
}

// allowed tells whether the credentials may go to a URL.
func (l *login) allowed(u *url.URL) bool {
	base := l.repo.base
	if u.Scheme != "https" && base.Scheme == "https" {
		return false
	}
	return u.Host == base.Host || l.repo.remote.PassCredentials && u.Host == l.chart.Host
}

// StatusError is an answer other than success.
type StatusError struct {
	URL        string
	Status     string
	StatusCode int
	// After is the pause that the server asks for.
	After time.Duration
}

// Error has the text that upstream's users know.
func (e *StatusError) Error() string { return fmt.Sprintf("failed to fetch %s : %s", e.URL, e.Status) }

// Pause is how long the server wants to be left alone, zero if it does not say.
func (e *StatusError) Pause() time.Duration { return e.After }

func failed(u *url.URL, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &StatusError{URL: shown(u), Status: resp.Status, StatusCode: resp.StatusCode, After: retryafter.Wanted(resp)}
}

// shown is the URL without what may be secret in it.
func shown(u *url.URL) string {
	c := *u
	c.User, c.RawQuery, c.Fragment = nil, "", ""
	return c.String()
}

// wrapped names the URL of an error, without what a redirect may have put into it.
func wrapped(u *url.URL, err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	if err == nil || errors.Is(err, ErrTooLarge) {
		return err
	}
	return fmt.Errorf("failed to fetch %s : %w", shown(u), err)
}

// tooLarge is an ErrTooLarge with a text of its own.
type tooLarge string

func (e tooLarge) Error() string        { return string(e) }
func (e tooLarge) Is(target error) bool { return target == ErrTooLarge }

func copyBounded(out io.Writer, in io.Reader, limit int64, tooLarge error) error {
	n, err := io.Copy(out, io.LimitReader(in, limit+1))
	if err == nil && n > limit {
		err = tooLarge
	}
	return err
}

// drain lets the connection be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}
