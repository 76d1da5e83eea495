package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// outer is the proxy that this machine itself uses for hosts that are not the
// cluster's.
func (p *proxy) outer(r *http.Request) (*url.URL, error) {
	if p.ours(r.URL.Hostname()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

func (p *proxy) ours(host string) bool {
	_, ok, err := p.resolver.Resolve(host, 0)
	return ok || err != nil
}

// connect opens the far end of a tunnel, through the machine's own proxy if it
// has one.
func (p *proxy) connect(ctx context.Context, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if p.ours(host) {
		return p.dial(ctx, "tcp", address)
	}
	through, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: address}})
	if err != nil {
		return nil, err
	}
	if through == nil {
		return p.dial(ctx, "tcp", address)
	}
	return connectThrough(ctx, through, address)
}

func connectThrough(ctx context.Context, through *url.URL, address string) (net.Conn, error) {
	port := through.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[through.Scheme]
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(through.Hostname(), port))
	if err != nil {
		return nil, err
	}
	if through.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: through.Hostname()})
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if user := through.User; user != nil {
		password, _ := user.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := request.Write(conn); err != nil {
		conn.Close()
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		conn.Close()
		return nil, fmt.Errorf("the proxy %s answered %s", through.Host, response.Status)
	}
	return conn, nil
}
