package kernel

import (
	"net/http"
	"net/http/pprof"
)

// profileHandlers serves the Go profiles on the metrics port under the usual paths.
func profileHandlers() map[string]http.Handler {
	h := map[string]http.Handler{
		"/debug/pprof/":        http.HandlerFunc(pprof.Index),
		"/debug/pprof/cmdline": http.HandlerFunc(pprof.Cmdline),
		"/debug/pprof/profile": http.HandlerFunc(pprof.Profile),
		"/debug/pprof/symbol":  http.HandlerFunc(pprof.Symbol),
		"/debug/pprof/trace":   http.HandlerFunc(pprof.Trace),
	}
	for _, name := range []string{"heap", "goroutine", "threadcreate", "block", "mutex"} {
		h["/debug/pprof/"+name] = pprof.Handler(name)
	}
	return h
}
