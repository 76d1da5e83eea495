// Package kubelet serves the part of a kubelet's API that the API server calls
// for kubectl: container logs and port-forward. exec, attach and run answer 501,
// because there is no container to enter.
//
// It is also the API server's way to pods: CONNECT requests go to the tunnel.
//
// Only the API server may call: it must show a certificate of the sandbox's
// authority for the group system:masters.
package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/logs"
	"github.com/gitops-toolkit/flux/sandbox/internal/pki"
)

// Pods is what the server asks its node.
type Pods interface {
	// Pod returns a pod of this node.
	Pod(namespace, name string) (*corev1.Pod, error)
	// Log returns the output of a container of a pod that really runs; false
	// when there is none. real says whether the pod is more than simulated.
	Log(pod *corev1.Pod, container string, previous bool) (log *logs.Log, real, ok bool)
	// Host returns the loopback address that stands for the pod's.
	Host(pod *corev1.Pod) (string, error)
}

// Options configure the server.
type Options struct {
	Address     string
	Certificate pki.Pair
	// ClientCA is the file of the authority that signs the API server's
	// client certificate.
	ClientCA string
	Pods     Pods
	// Tunnel serves CONNECT requests.
	Tunnel http.Handler
}

// Serve serves until ctx ends.
func Serve(ctx context.Context, o Options) error {
	ca, err := os.ReadFile(o.ClientCA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	s := &server{pods: o.Pods, tunnel: o.Tunnel}
	h := &http.Server{
		Addr:              o.Address,
		Handler:           s.routes(),
		ReadHeaderTimeout: 30 * time.Second,
		TLSConfig:         &tls.Config{ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { h.Close() })
	defer stop()
	err = h.ListenAndServeTLS(o.Certificate.Cert, o.Certificate.Key)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the node's endpoints: %w", err)
}

type server struct {
	pods   Pods
	tunnel http.Handler
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.logs)
	mux.HandleFunc("/portForward/{namespace}/{pod}", s.portForward)
	mux.HandleFunc("/portForward/{namespace}/{pod}/{uid}", s.portForward)
	for _, verb := range []string{"exec", "attach", "run"} {
		mux.HandleFunc("/"+verb+"/", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, verb+" is not possible in the sandbox: its pods are processes of this machine, or simulated", http.StatusNotImplemented)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromAPIServer(r) {
			http.Error(w, "only the API server may ask this", http.StatusForbidden)
			return
		}
		if r.Method == http.MethodConnect {
			s.tunnel.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func fromAPIServer(r *http.Request) bool {
	return r.TLS != nil && len(r.TLS.PeerCertificates) > 0 &&
		slices.Contains(r.TLS.PeerCertificates[0].Subject.Organization, "system:masters")
}

func (s *server) logs(w http.ResponseWriter, r *http.Request) {
	pod, err := s.pods.Pod(r.PathValue("namespace"), r.PathValue("pod"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	options, err := logOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	previous := boolean(r, "previous")
	log, real, ok := s.pods.Log(pod, r.PathValue("container"), previous)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch {
	case !real:
		io.WriteString(w, "This pod is simulated by the sandbox, so it prints nothing.\n")
	case !ok && previous:
		http.Error(w, fmt.Sprintf("previous terminated container %q in pod %q not found", r.PathValue("container"), pod.Name), http.StatusBadRequest)
	case !ok:
		http.Error(w, fmt.Sprintf("container %q in pod %q has not started yet", r.PathValue("container"), pod.Name), http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusOK)
		out := io.Writer(w)
		if options.Follow {
			out = flushing{w, http.NewResponseController(w)}
			http.NewResponseController(w).Flush()
		}
		// The answer has begun; an error can only end it early.
		log.Read(r.Context(), options, out)
	}
}

// flushing hands on every line at once.
type flushing struct {
	io.Writer
	controller *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err != nil {
		return n, err
	}
	return n, f.controller.Flush()
}

func logOptions(r *http.Request) (logs.Options, error) {
	query := r.URL.Query()
	o := logs.Options{Tail: -1, Follow: boolean(r, "follow"), Timestamps: boolean(r, "timestamps")}
	switch query.Get("stream") {
	case "Stdout":
		o.Stream = "stdout"
	case "Stderr":
		o.Stream = "stderr"
	}
	for name, set := range map[string]func(int64){
		"tailLines":    func(n int64) { o.Tail = n },
		"limitBytes":   func(n int64) { o.Limit = n },
		"sinceSeconds": func(n int64) { o.Since = time.Now().Add(-time.Duration(n) * time.Second) },
	} {
		value := query.Get(name)
		if value == "" {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return o, fmt.Errorf("%s=%q is not a number of at least 0", name, value)
		}
		set(n)
	}
	if value := query.Get("sinceTime"); value != "" {
		since, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return o, fmt.Errorf("sinceTime=%q is not a time: %w", value, err)
		}
		o.Since = since
	}
	return o, nil
}

func boolean(r *http.Request, name string) bool {
	value, _ := strconv.ParseBool(r.URL.Query().Get(name))
	return value
}

// Times after which a port-forward without traffic, or without its streams, is
// given up; they are a kubelet's.
const (
	idleTimeout     = 4 * time.Hour
	creationTimeout = 30 * time.Second
)

func (s *server) portForward(w http.ResponseWriter, r *http.Request) {
	pod, err := s.pods.Pod(r.PathValue("namespace"), r.PathValue("pod"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	host, err := s.pods.Host(pod)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, forwarder(host), pod.Name, string(pod.UID), options,
		idleTimeout, creationTimeout, portforward.SupportedProtocols)
}

// forwarder connects to the ports of one host.
type forwarder string

// PortForward copies between the stream and a port until either end closes.
func (f forwarder) PortForward(ctx context.Context, _ string, _ string, port int32, stream io.ReadWriteCloser) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(string(f), strconv.Itoa(int(port))))
	if err != nil {
		return fmt.Errorf("nothing listens on port %d of the pod: %w", port, err)
	}
	defer conn.Close()
	defer stream.Close()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, stream)
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.CloseWrite()
		}
		if err != nil {
			ended <- err
		}
	}()
	go func() {
		_, err := io.Copy(stream, conn)
		ended <- err
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}
