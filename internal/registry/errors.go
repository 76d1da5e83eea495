package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// ThrottledError says that a registry wants to be left alone for a while.
type ThrottledError struct {
	Method, Host, Path string
	Status             int
	After              time.Duration
}

// Error tells which request, and how long.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("%s '%s%s': %d %s: the registry asks to wait %s", e.Method, e.Host, e.Path, e.Status, http.StatusText(e.Status), e.After.Round(time.Second))
}

// Pause is how long the registry wants to be left alone.
func (e *ThrottledError) Pause() time.Duration { return e.After }

// maxText bounds what an error repeats of a registry's answer.
const maxText = 1024

// Error is a failure in talking to a registry. Its text is safe to show.
type Error struct {
	text  string
	kind  error // one of the errors of this package, or nil
	cause error
}

// Error returns the text without credentials.
func (e *Error) Error() string { return e.text }

// Unwrap returns the kind and the cause, for errors.Is and errors.As; the texts of causes may hold what must not be shown.
func (e *Error) Unwrap() []error {
	if e.kind == nil {
		return []error{e.cause}
	}
	return []error{e.kind, e.cause}
}

// clean makes an error of the library safe to show, and tells its kind.
func (r *Repository) clean(err error) error {
	if err == nil {
		return nil
	}
	var throttle *ThrottledError
	if errors.As(err, &throttle) {
		return throttle
	}
	return &Error{text: r.hide(describe(err)), kind: kindOf(err), cause: err}
}

// describe words the error: that of the registry as it is, others without what a redirect may have put into the URL.
func describe(err error) string {
	var answered *transport.Error
	if errors.As(err, &answered) {
		return answered.Error()
	}
	var request *url.Error
	if errors.As(err, &request) {
		return fmt.Sprintf("%s '%s': %s", strings.ToUpper(request.Op), withoutQuery(request.URL), request.Err)
	}
	if strings.Contains(err.Error(), "no token in bearer response") { // The answer follows.
		return "the registry's token service answered without a token"
	}
	return err.Error()
}

func withoutQuery(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the registry"
	}
	u.RawQuery, u.Fragment = "", ""
	return u.Redacted()
}

// hide takes out credentials, wherever they may come from, and shortens.
func (r *Repository) hide(text string) string {
	for _, secret := range r.remote.Login.Secrets() {
		if len(secret) >= 4 {
			text = strings.ReplaceAll(text, secret, "*****")
		}
	}
	text = strings.ToValidUTF8(text, "?")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "..."
	}
	return text
}

func kindOf(err error) error {
	for _, kind := range []error{ErrPlain, ErrLimit, ErrNoLayer, ErrNoMatch} {
		if errors.Is(err, kind) {
			return nil // It is in the chain already.
		}
	}
	var answered *transport.Error
	if !errors.As(err, &answered) {
		return nil
	}
	switch answered.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return ErrAuthentication
	case http.StatusNotFound:
		return ErrNotFound
	}
	return nil
}
