// Package proxy is the node's forward proxy. It stands in for the cluster's
// network and DNS: a request for a Service, a pod's DNS name or a pod's address
// goes to the loopback port of a process; any other goes where it says.
//
// It listens on loopback and is handed to processes as HTTP_PROXY and
// HTTPS_PROXY.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"
)

// Resolver finds the address behind a host and port of the cluster.
type Resolver interface {
	// Resolve returns the address to connect to. ok is false for hosts that are
	// not the cluster's.
	Resolve(host string, port int) (address string, ok bool, err error)
}

// Serve serves the handler until ctx ends.
func Serve(ctx context.Context, address string, handler http.Handler) error {
	s := &http.Server{
		Addr: address, Handler: handler, ReadHeaderTimeout: 30 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	err := s.ListenAndServe()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the node's proxy: %w", err)
}

// NewHandler returns the proxy as a handler.
func NewHandler(r Resolver) http.Handler {
	p := &proxy{resolver: r}
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			// The request's own words are kept, but for the proxy's.
			r.Out.Host = r.In.Host
			r.Out.Header.Del("Proxy-Connection")
			r.Out.Header.Del("Proxy-Authorization")
		},
		Transport: &http.Transport{
			Proxy:                 p.outer,
			DialContext:           p.dial,
			DisableCompression:    true,
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       30 * time.Second,
			ResponseHeaderTimeout: 5 * time.Minute,
		},
		FlushInterval: -1,
		ErrorHandler:  refuse,
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	return p
}

type proxy struct {
	resolver Resolver
	forward  *httputil.ReverseProxy
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.tunnel(w, r)
	case !r.URL.IsAbs():
		http.Error(w, "this is a proxy: ask for an absolute URL", http.StatusBadRequest)
	default:
		p.forward.ServeHTTP(w, r)
	}
}

func refuse(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, "sandbox proxy: "+err.Error(), http.StatusBadGateway)
}

// dial connects to the cluster's hosts by the resolver, and to others directly.
func (p *proxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	target, ok, err := p.resolver.Resolve(host, port)
	if err != nil {
		return nil, err
	}
	if ok {
		address = target
	}
	return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, address)
}

// tunnel serves CONNECT.
func (p *proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	upstream, err := p.connect(r.Context(), r.Host)
	if err != nil {
		refuse(w, r, err)
		return
	}
	defer upstream.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, r, err)
		return
	}
	defer client.Close()
	stop := context.AfterFunc(r.Context(), func() { client.Close(); upstream.Close() })
	defer stop()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var group sync.WaitGroup
	group.Go(func() { pipe(upstream, buffered) })
	group.Go(func() { pipe(client, upstream) })
	group.Wait()
}

func pipe(to net.Conn, from io.Reader) {
	io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		return
	}
	to.Close()
}
