package testenv

import "net/http"

// RoundTrip is an [http.RoundTripper] made of a function, to stand between a client and its server.
type RoundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f RoundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
