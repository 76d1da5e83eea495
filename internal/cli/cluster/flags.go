// Package cluster is the command line's small typed client. It speaks to the API server in
// JSON over one REST client; every kind brings its own group, version and resource, so that
// no discovery is needed and a command costs only the requests it is about.
package cluster

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // identities that a kubeconfig may name
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitops-toolkit/flux/internal/version"
)

// Flags are kubectl's connection flags.
type Flags struct {
	Kubeconfig  string
	CacheDir    string
	QPS         float32
	Burst       int
	UserExtra   []string
	Compression bool // true means off
	Overrides   clientcmd.ConfigOverrides
}

// AddTo defines the flags.
func (f *Flags) AddTo(flags *pflag.FlagSet) {
	o := &f.Overrides
	flags.StringVar(&f.Kubeconfig, "kubeconfig", "", "path to the kubeconfig file to use for CLI requests")
	flags.StringVar(&o.CurrentContext, "context", "", "name of the kubeconfig context to use")
	flags.StringVar(&o.Context.Cluster, "cluster", "", "name of the kubeconfig cluster to use")
	flags.StringVar(&o.Context.AuthInfo, "user", "", "name of the kubeconfig user to use")
	flags.StringVar(&o.ClusterInfo.Server, "server", "", "address and port of the Kubernetes API server")
	flags.StringVar(&o.ClusterInfo.TLSServerName, "tls-server-name", "", "server name to check the server certificate against, when it is not the one in the address")
	flags.StringVar(&o.ClusterInfo.CertificateAuthority, "certificate-authority", "", "path to the certificate of the authority that signed the server's")
	flags.BoolVar(&o.ClusterInfo.InsecureSkipTLSVerify, "insecure-skip-tls-verify", false, "do not check the server's certificate; this makes the connection insecure")
	flags.BoolVar(&f.Compression, "disable-compression", false, "do not ask the server to compress its responses")
	flags.StringVar(&o.AuthInfo.ClientCertificate, "client-certificate", "", "path to a client certificate for TLS")
	flags.StringVar(&o.AuthInfo.ClientKey, "client-key", "", "path to the key of the client certificate")
	flags.StringVar(&o.AuthInfo.Token, "token", "", "bearer token for the API server")
	flags.StringVar(&o.AuthInfo.Impersonate, "as", "", "user to impersonate; may be a service account in a namespace")
	flags.StringArrayVar(&o.AuthInfo.ImpersonateGroups, "as-group", nil, "group to impersonate; may be given several times")
	flags.StringVar(&o.AuthInfo.ImpersonateUID, "as-uid", "", "UID to impersonate")
	flags.StringArrayVar(&f.UserExtra, "as-user-extra", nil, "user extra to impersonate, as key=value; may be given several times")
	flags.StringVar(&f.CacheDir, "cache-dir", defaultCacheDir(), "directory of the discovery cache")
	flags.Float32Var(&f.QPS, "kube-api-qps", 50, "highest number of requests per second to the API server")
	flags.IntVar(&f.Burst, "kube-api-burst", 300, "highest burst of requests to the API server")
}

func defaultCacheDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	return filepath.Join(home, ".kube", "cache")
}

func (f *Flags) loader() (clientcmd.ClientConfig, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.Kubeconfig
	overrides := f.Overrides
	overrides.ClusterDefaults = clientcmdapi.Cluster{Server: "http://localhost:8080"}
	overrides.ClusterInfo.DisableCompression = f.Compression
	for _, pair := range f.UserExtra {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("invalid --as-user-extra %q: must be key=value", pair)
		}
		if overrides.AuthInfo.ImpersonateUserExtra == nil {
			overrides.AuthInfo.ImpersonateUserExtra = map[string][]string{}
		}
		extra := overrides.AuthInfo.ImpersonateUserExtra
		extra[key] = append(extra[key], value)
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &overrides), nil
}

// ContextNamespace returns the namespace of the chosen kubeconfig context.
func (f *Flags) ContextNamespace() (string, error) {
	loader, err := f.loader()
	if err != nil {
		return "", err
	}
	namespace, _, err := loader.Namespace()
	return namespace, err
}

// Contexts returns the names of the contexts of the kubeconfig, sorted.
func (f *Flags) Contexts() ([]string, error) {
	loader, err := f.loader()
	if err != nil {
		return nil, err
	}
	config, err := loader.RawConfig()
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(config.Contexts)), nil
}

// RESTConfig resolves flags, environment and kubeconfig.
func (f *Flags) RESTConfig() (*rest.Config, error) {
	loader, err := f.loader()
	if err != nil {
		return nil, err
	}
	cfg, err := loader.ClientConfig()
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = f.QPS, f.Burst
	cfg.UserAgent = version.UserAgent()
	// Warnings about old versions come from objects that the person did not write here.
	cfg.WarningHandler = rest.NoWarnings{}
	return cfg, nil
}

// Trace makes every request print its method, path and answer through print.
func Trace(cfg *rest.Config, print func(format string, args ...any)) {
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(req)
			if err != nil {
				print("%s %s: %v\n", req.Method, req.URL.RequestURI(), err)
				return nil, err
			}
			print("%s %s: %s\n", req.Method, req.URL.RequestURI(), resp.Status)
			return resp, nil
		})
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
