// Package kubeconfig turns a kubeconfig that a tenant wrote into a client configuration that can do nothing but
// reach the server named in it: no program is run, no file of the controller is read, no certificate goes unchecked,
// unless the operator allows it.
package kubeconfig

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// maxSize is the largest kubeconfig that is parsed, in bytes; a Secret cannot hold more.
const maxSize = 1 << 20

// Policy is what the operator allows.
type Policy struct {
	// AllowExec lets a kubeconfig name a program that prints credentials (--insecure-kubeconfig-exec).
	AllowExec bool
	// AllowInsecureTLS lets a kubeconfig skip the check of the server's certificate (--insecure-kubeconfig-tls).
	AllowInsecureTLS bool
}

// Parse reads a kubeconfig and returns the configuration of its current context: address, TLS data, proxy, user and
// password or bearer token. What the policy forbids is refused with the name of the field. Requests time out after
// 30 seconds and are not limited in rate: that is up to the server.
func Parse(content []byte, policy Policy) (*rest.Config, error) {
	if len(content) > maxSize {
		return nil, fmt.Errorf("the kubeconfig has more than %d bytes", maxSize)
	}
	raw, err := clientcmd.Load(content)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be parsed: %w", withoutContent(err))
	}
	cluster, user, err := current(raw)
	if err != nil {
		return nil, err
	}
	if err := policy.check(cluster, user); err != nil {
		return nil, err
	}
	config, err := clientcmd.NewDefaultClientConfig(*raw, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig is not valid: %w", err)
	}
	return clean(config, policy), nil
}

// withoutContent drops the text of an error that may quote the input.
func withoutContent(error) error { return errors.New("it is no valid YAML or JSON of kind Config") }

// current finds what the current context names.
func current(raw *api.Config) (*api.Cluster, *api.AuthInfo, error) {
	context := raw.Contexts[raw.CurrentContext]
	if context == nil {
		return nil, nil, fmt.Errorf("the kubeconfig's current-context '%s' is not among its contexts", raw.CurrentContext)
	}
	cluster := raw.Clusters[context.Cluster]
	if cluster == nil {
		return nil, nil, fmt.Errorf("the kubeconfig has no cluster '%s'", context.Cluster)
	}
	user := raw.AuthInfos[context.AuthInfo]
	if user == nil {
		user = api.NewAuthInfo()
	}
	return cluster, user, nil
}

// check refuses what would let a tenant reach beyond the named server.
func (p Policy) check(cluster *api.Cluster, user *api.AuthInfo) error {
	for _, f := range []struct {
		field, next string
		used        bool
	}{
		{"users[].user.exec", "use a token or a client certificate", user.Exec != nil && !p.AllowExec},
		{"users[].user.auth-provider", "use a token or a client certificate", user.AuthProvider != nil},
		{"users[].user.tokenFile", "put the token into users[].user.token", user.TokenFile != ""},
		{"users[].user.client-certificate", "use client-certificate-data", user.ClientCertificate != ""},
		{"users[].user.client-key", "use client-key-data", user.ClientKey != ""},
		{"clusters[].cluster.certificate-authority", "use certificate-authority-data", cluster.CertificateAuthority != ""},
		{"clusters[].cluster.insecure-skip-tls-verify", "use certificate-authority-data", cluster.InsecureSkipTLSVerify && !p.AllowInsecureTLS},
	} {
		if f.used {
			return fmt.Errorf("the kubeconfig sets %s, which is not allowed: %s", f.field, f.next)
		}
	}
	return nil
}

// clean copies what is allowed and nothing else.
func clean(config *rest.Config, policy Policy) *rest.Config {
	out := &rest.Config{
		Host: config.Host, APIPath: config.APIPath,
		Username: config.Username, Password: config.Password, BearerToken: config.BearerToken,
		Impersonate: config.Impersonate,
		TLSClientConfig: rest.TLSClientConfig{
			ServerName: config.ServerName, CAData: config.CAData, CertData: config.CertData, KeyData: config.KeyData,
			NextProtos: config.NextProtos, Insecure: config.Insecure && policy.AllowInsecureTLS,
		},
		DisableCompression: config.DisableCompression,
		Proxy:              config.Proxy,
		Timeout:            30 * time.Second,
		QPS:                -1,
	}
	if policy.AllowExec {
		out.ExecProvider = config.ExecProvider
	}
	return out
}
