package providers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/retryafter"
)

// Error is an attempt that failed. Its text is free of credentials.
type Error struct {
	text string
	// Code of the answer, 0 when there was none.
	Code  int
	after time.Duration
	again bool
}

// Error implements error.
func (e *Error) Error() string { return e.text }

// Retry tells whether another attempt may help and when the service wants it.
func (e *Error) Retry() (after time.Duration, ok bool) { return e.after, e.again }

// refused is an error that another attempt does not heal.
func refused(format string, args ...any) *Error { return &Error{text: fmt.Sprintf(format, args...)} }

// passing is an error that another attempt may heal.
func passing(format string, args ...any) *Error {
	return &Error{text: fmt.Sprintf(format, args...), again: true}
}

// maxShown is how much of an answer an error repeats, in bytes.
const maxShown = 512

// answered judges an answer that is no success.
func answered(code int, header http.Header, body []byte) *Error {
	e := &Error{Code: code, text: fmt.Sprintf("request failed with status code %d: %s", code, shorten(body))}
	switch {
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable, code == http.StatusForbidden && limited(header):
		e.again, e.after = true, pauseOf(header)
	case code >= 500 && code != http.StatusNotImplemented, code == http.StatusRequestTimeout:
		e.again = true
	}
	return e
}

// limited tells a 403 that stands for 429, as GitHub says it.
func limited(header http.Header) bool {
	return header.Get("Retry-After") != "" || header.Get(rateRemaining) == "0"
}

// Headers of GitHub, GitLab and Gitea about how many requests are left, and when there are more, in seconds since 1970.
const (
	rateRemaining = "X-RateLimit-Remaining"
	rateReset     = "X-RateLimit-Reset"
)

// pauseOf is how long a service wants to be left alone; zero: it does not say.
func pauseOf(header http.Header) time.Duration {
	if after, ok := retryafter.Read(header); ok {
		return after
	}
	reset, err := strconv.ParseInt(header.Get(rateReset), 10, 64)
	if err != nil || header.Get(rateRemaining) != "0" {
		return 0
	}
	return max(0, time.Until(time.Unix(reset, 0)))
}

func shorten(body []byte) string {
	return cut(strings.ToValidUTF8(strings.TrimSpace(string(body)), "?"), maxShown)
}

// unreachable judges an attempt without an answer. The URL, which may be a secret, is left out.
func unreachable(err error) *Error {
	var refusal *policyError
	if errors.As(err, &refusal) {
		return refused("%s", refusal.Error())
	}
	var redirect *redirectError
	if errors.As(err, &redirect) {
		return refused("%s", redirect.Error())
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return refused("the service is not trusted: %v; put the certificate of its authority into the Secret of spec.certSecretRef, under ca.crt", err)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" { // a TLS alert
		return refused("the service ends the connection: %v; check tls.crt and tls.key in the Secret of spec.certSecretRef", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return passing("no answer in time: %v", context.DeadlineExceeded)
	}
	return passing("failed to send: %v", err)
}

// mask hides credentials in an error that is about to leave the package.
func (c *Config) mask(err error) error {
	if err == nil {
		return nil
	}
	text := c.hide(err.Error())
	e := &Error{}
	if !errors.As(err, &e) {
		return &Error{text: text, again: errors.Is(err, context.DeadlineExceeded)}
	}
	out := *e
	out.text = text
	return &out
}

// hide replaces credentials in a text.
func (c *Config) hide(text string) string {
	for _, secret := range c.credentials() {
		text = strings.ReplaceAll(text, secret, "*****")
	}
	return text
}

// shortest credential that is masked; hiding shorter ones would garble every text.
const shortestMasked = 4

// credentials lists what must not be shown, the longest first.
func (c *Config) credentials() []string {
	var out []string
	add := func(s string) {
		if len(s) >= shortestMasked {
			out = append(out, s, url.QueryEscape(s), url.PathEscape(s))
		}
	}
	add(c.Token)
	add(c.Password)
	if _, password, ok := strings.Cut(c.Token, ":"); ok {
		add(password) // Bitbucket's tokens are a login
	}
	for _, v := range c.Headers {
		add(v)
	}
	for key, v := range c.Secret {
		if key != keyUsername && key != "ca.crt" && key != "caFile" {
			add(text(v))
		}
	}
	for _, address := range []string{c.Address, c.Provider.Spec.Proxy} {
		for _, part := range secretsOfURL(address) {
			add(part)
		}
	}
	if c.Proxy != nil && c.Proxy.User != nil {
		password, _ := c.Proxy.User.Password()
		add(password)
	}
	sort.Slice(out, func(i, j int) bool { return len(out[i]) > len(out[j]) })
	return out
}

// shortestPathSecret is the length from which a part of a webhook's path counts as a credential.
const shortestPathSecret = 16

// secretsOfURL lists what of an address may be a credential: the login, and what is long in path and
// query, as webhooks have it.
func secretsOfURL(address string) []string {
	var out []string
	for part := range strings.SplitSeq(address, ";") {
		if name, value, ok := strings.Cut(part, "="); ok && name == "SharedAccessKey" {
			out = append(out, value) // Azure's connection strings
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		return out
	}
	if u.User != nil {
		password, _ := u.User.Password()
		out = append(out, password)
		if len(u.User.Username()) >= shortestPathSecret {
			out = append(out, u.User.Username()) // the key of a Sentry DSN
		}
	}
	parts := strings.Split(u.Path, "/")
	for _, values := range u.Query() {
		parts = append(parts, values...)
	}
	for _, part := range parts {
		if len(part) >= shortestPathSecret {
			out = append(out, part)
		}
	}
	return out
}
