package controllers

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/gitops-toolkit/flux/internal/artifact/serve"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// listeners are the HTTP servers of a process, one for each address. Controllers that run
// together and listen at the same address share it by method and path: artifacts are read with
// GET, events are posted.
type listeners map[string]*listener

// listener is one address with what is served there.
type listener struct {
	mux      http.ServeMux
	patterns []string
}

// handle serves requests that match a pattern of http.ServeMux at the address of a flag, while
// the process leads. A pattern that another controller of the process has at that address
// already stays with it: the list at GET / is the first one's.
func (ls listeners) handle(m *kernel.Manager, flag, addr, pattern string, handler http.Handler) {
	addr = kernel.ListenAddress(addr)
	l := ls[addr]
	if l == nil {
		l = &listener{}
		ls[addr] = l
		m.Add(func(ctx context.Context) error { return l.run(ctx, flag, addr) })
	}
	if slices.Contains(l.patterns, pattern) {
		return
	}
	l.patterns = append(l.patterns, pattern)
	l.mux.Handle(pattern, handler)
}

func (l *listener) run(ctx context.Context, flag, addr string) error {
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen at --%s: %w", flag, err)
	}
	return serve.Serve(ctx, socket, &l.mux)
}
