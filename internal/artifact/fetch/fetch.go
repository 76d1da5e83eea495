// Package fetch downloads artifacts and verifies their digest on the way.
//
// It retries what may pass: connections that fail or break and answers of 500 and above, up to nine
// times, five to thirty seconds apart. It does not retry an artifact that is gone (ErrNotFound:
// there is a newer one, or soon will be) or one that is not what its digest says (*DigestError). It
// follows redirects only to the same host, and ends at once when its context does.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/netcause"
)

// ErrNotFound says that the server does not have the artifact any more or not yet.
var ErrNotFound = errors.New("artifact not found")

// ErrTooLarge says that an artifact is larger than its source said or than is allowed.
var ErrTooLarge = errors.New("artifact is too large")

var errRedirect = errors.New("redirect to another host refused")

// DigestError says that what was downloaded is not what the source advertises.
type DigestError struct {
	Want, Got artifact.Digest
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("failed to verify archive: computed digest doesn't match provided '%s' (computed '%s')", e.Want, e.Got)
}

// The environment that overrides the host of artifact URLs, for controllers outside the cluster.
const (
	// SourceControllerEnv names the variable with the address of source-controller.
	SourceControllerEnv = "SOURCE_CONTROLLER_LOCALHOST"
	// SourceWatcherEnv names the variable with the address of source-watcher, for URLs whose host
	// starts with source-watcher.
	SourceWatcherEnv = "SOURCE_WATCHER_LOCALHOST"

	watcherHost = "source-watcher"
)

// Options configure a Client. The zero value is what controllers use.
type Options struct {
	// Retries after the first attempt, 0 for nine, negative for none.
	Retries int
	// MinWait and MaxWait bound the time between attempts, 0 for 5s and 30s.
	MinWait, MaxWait time.Duration
	// MaxBytes limits the size of an artifact whose size its source does not tell, 0 for 4 GiB.
	MaxBytes int64
	// IdleTimeout is how long a download may stand still, 0 for a minute.
	IdleTimeout time.Duration
	// SourceController and SourceWatcher override hosts; empty means the environment.
	SourceController, SourceWatcher string
	// Transport is the way to the servers, nil for one of its own with the proxies of the
	// environment.
	Transport http.RoundTripper

	// after waits between attempts, time.After if nil.
	after func(time.Duration) <-chan time.Time
}

// Client downloads artifacts. It is safe for concurrent use.
type Client struct {
	opts Options
	http *http.Client
}

// New returns a client.
func New(opts Options) *Client {
	set(&opts.Retries, 9)
	set(&opts.MinWait, 5*time.Second)
	set(&opts.MaxWait, 30*time.Second)
	set(&opts.MaxBytes, 4<<30)
	set(&opts.IdleTimeout, time.Minute)
	set(&opts.SourceController, os.Getenv(SourceControllerEnv))
	set(&opts.SourceWatcher, os.Getenv(SourceWatcherEnv))
	if opts.after == nil {
		opts.after = time.After
	}
	if opts.Transport == nil {
		opts.Transport = transport()
	}
	return &Client{opts: opts, http: &http.Client{Transport: opts.Transport, CheckRedirect: sameHost}}
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func transport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   4,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // archives are compressed, and the digest is of the bytes stored
	}
}

func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		return fmt.Errorf("%w: from '%s' to '%s'", errRedirect, first.Host, req.URL.Host)
	}
	return nil
}

// Fetch downloads an artifact into f, which it empties before each attempt, and verifies it. On any
// error the content of f is worthless.
func (c *Client) Fetch(ctx context.Context, ref artifact.Ref, f *os.File) error {
	want, err := artifact.ParseDigest(string(ref.Digest))
	if err != nil {
		return fmt.Errorf("failed to verify archive: %w", err)
	}
	target, err := c.target(ref.URL)
	if err != nil {
		return fmt.Errorf("failed to download archive: %w", err)
	}
	wait := c.opts.MinWait
	for attempt := 0; ; attempt++ {
		passing, err := c.attempt(ctx, target, ref, want, f)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("failed to download archive: %w", context.Cause(ctx))
		}
		if !passing {
			return err
		}
		if attempt >= c.opts.Retries {
			return fmt.Errorf("%w (%d attempts)", err, attempt+1)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; no further attempt: %w", err, context.Cause(ctx))
		case <-c.opts.after(wait):
		}
		wait = min(2*wait, c.opts.MaxWait)
	}
}

// target returns the address to ask, after overrides.
func (c *Client) target(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) { // which would repeat the URL, credentials included
			err = parse.Err
		}
		return nil, fmt.Errorf("invalid artifact URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("artifact URL '%s' must be of scheme http or https and have a host", u.Redacted())
	}
	if c.opts.SourceController != "" {
		u.Host = c.opts.SourceController
	}
	if original, _ := url.Parse(raw); c.opts.SourceWatcher != "" && strings.HasPrefix(original.Hostname(), watcherHost) {
		u.Host = c.opts.SourceWatcher
	}
	return u, nil
}

// attempt tries once and reports whether an error may pass by itself.
func (c *Client) attempt(ctx context.Context, target *url.URL, ref artifact.Ref, want artifact.Digest, f *os.File) (passing bool, err error) {
	ctx, idle := withIdleTimeout(ctx, c.opts.IdleTimeout)
	defer idle.stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return false, fmt.Errorf("failed to download archive: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return !errors.Is(err, errRedirect) && !netcause.Of(err).Untrusted(), fmt.Errorf("failed to download archive: %w", idle.explain(err))
	}
	defer resp.Body.Close() //nolint:errcheck // what was read is verified
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode >= http.StatusInternalServerError, statusError(target, resp)
	}
	return c.receive(resp.Body, idle, ref, want, f)
}

func statusError(target *url.URL, resp *http.Response) error {
	err := fmt.Errorf("failed to download archive: GET %s returned status %d", target.Redacted(), resp.StatusCode)
	if resp.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w: %w", err, ErrNotFound)
	}
	return err
}

// receive writes a body to f and verifies it.
func (c *Client) receive(body io.Reader, idle *idleTimer, ref artifact.Ref, want artifact.Digest, f *os.File) (passing bool, err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	if err := f.Truncate(0); err != nil {
		return false, err
	}
	limit := c.opts.MaxBytes
	if ref.Size > 0 {
		limit = ref.Size
	}
	h := want.Algorithm().New()
	source := &sourceReader{r: io.LimitReader(body, limit+1), idle: idle}
	n, err := io.Copy(io.MultiWriter(h, f), source)
	if err != nil {
		return source.failed, fmt.Errorf("failed to download archive: %w", idle.explain(err))
	}
	if n > limit {
		return false, fmt.Errorf("failed to download archive: %w: more than %d bytes", ErrTooLarge, limit)
	}
	if got := artifact.NewDigest(want.Algorithm(), h); got != want {
		return false, &DigestError{Want: want, Got: got}
	}
	return false, nil
}
