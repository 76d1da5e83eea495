// Package plane describes the control plane of a sandbox: its certificates,
// kubeconfigs, ports and the arguments of each process. It starts nothing.
package plane

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitops-toolkit/flux/sandbox/internal/pki"
	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// KubernetesVersion is the version of the linked Kubernetes.
const KubernetesVersion = "1.37.1"

// The networks of a sandbox. Nothing routes them: pods and Services get
// addresses from them because the API asks for addresses.
const (
	ServiceCIDR = "10.96.0.0/16"
	PodCIDR     = "10.244.0.0/16"
	// APIServiceIP is the address of the Service `kubernetes`.
	APIServiceIP = "10.96.0.1"
	// NodeName is the name of the sandbox's only node.
	NodeName = "sandbox"
	// Provisioner provides the volumes of the default storage class.
	Provisioner = "gitops-toolkit.dev/sandbox"
	// Issuer issues the service account tokens.
	Issuer = "https://kubernetes.default.svc.cluster.local"
)

const loopback = "127.0.0.1"

// Names of the components.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Node              = "node"
)

// Plane holds the files that the components share.
type Plane struct {
	dir   state.Dir
	ports state.Ports

	ca                                        pki.Pair
	etcdServer, apiServer, apiServerToEtcd    pki.Pair
	apiServerToKubelet, kubelet, frontProxy   pki.Pair
	serviceAccountKey, serviceAccountPublic   string
	admin, controllerManager, scheduler, node string
	auditPolicy, schedulerConfig, egress      string
	tokens                                    string
}

// Prepare writes everything that the components read.
func Prepare(dir state.Dir, ports state.Ports) (*Plane, error) {
	p := &Plane{dir: dir, ports: ports}
	authority, err := pki.Open(dir.Path("pki"))
	if err != nil {
		return nil, err
	}
	p.ca = authority.CA()
	if err := p.issue(authority); err != nil {
		return nil, err
	}
	if err := p.writeKubeconfigs(authority); err != nil {
		return nil, err
	}
	return p, p.writeConfigs()
}

// Kubeconfig is the path of the cluster-admin kubeconfig.
func (p *Plane) Kubeconfig() string { return p.admin }

// NodeKubeconfig is the path of the node agent's kubeconfig.
func (p *Plane) NodeKubeconfig() string { return p.node }

// URL is the address of the API server.
func (p *Plane) URL() string { return "https://" + address(p.ports.APIServer) }

// AuditLog is the path of the API server's audit log.
func (p *Plane) AuditLog() string { return p.dir.Path("audit.log") }

// CA is the path of the sandbox's certificate authority.
func (p *Plane) CA() string { return p.ca.Cert }

// KubeletCertificate is the node agent's serving certificate.
func (p *Plane) KubeletCertificate() pki.Pair { return p.kubelet }

func (p *Plane) issue(a *pki.Authority) error {
	server := []string{loopback, "localhost"}
	for _, item := range []struct {
		into    *pki.Pair
		name    string
		subject pki.Subject
	}{
		{&p.etcdServer, "etcd", pki.Subject{Name: "etcd", Hosts: server}},
		{&p.apiServerToEtcd, "apiserver-etcd-client", pki.Subject{Name: "kube-apiserver"}},
		{&p.apiServer, "apiserver", pki.Subject{Name: "kube-apiserver", Hosts: append([]string{
			APIServiceIP, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"}, server...)}},
		{&p.apiServerToKubelet, "apiserver-kubelet-client", pki.Subject{Name: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}}},
		{&p.kubelet, "kubelet", pki.Subject{Name: "system:node:" + NodeName, Hosts: append([]string{NodeName}, server...)}},
		{&p.frontProxy, "front-proxy-client", pki.Subject{Name: "front-proxy-client"}},
	} {
		pair, err := a.Issue(item.name, item.subject)
		if err != nil {
			return err
		}
		*item.into = pair
	}
	var err error
	p.serviceAccountKey, p.serviceAccountPublic, err = a.Key("service-account")
	return err
}

// writeKubeconfigs gives each client of the API server a token: the server verifies a certificate anew for each request,
// which took a tenth of its time.
func (p *Plane) writeKubeconfigs(a *pki.Authority) error {
	var tokens strings.Builder
	for _, item := range []struct {
		into                      *string
		file, client, user, group string
	}{
		{&p.admin, p.dir.Path("kubeconfig"), "client-admin", "kubernetes-admin", "system:masters"},
		// The controller manager runs all its controllers under one identity,
		// which saves forty service accounts and their tokens at every start;
		// so that identity needs what all of them need.
		{&p.controllerManager, p.dir.Path("pki", "controller-manager.kubeconfig"), "client-controller-manager", "system:kube-controller-manager", "system:masters"},
		{&p.scheduler, p.dir.Path("pki", "scheduler.kubeconfig"), "client-scheduler", "system:kube-scheduler", "system:authenticated"},
		{&p.node, p.dir.Path("pki", "node.kubeconfig"), "client-node", "system:node:" + NodeName, "system:nodes"},
	} {
		token, err := a.Token(item.client)
		if err != nil {
			return err
		}
		if err := p.writeKubeconfig(item.file, token); err != nil {
			return err
		}
		*item.into = item.file
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, item.user, item.user, item.group)
	}
	p.tokens = p.dir.Path("pki", "tokens.csv")
	return state.WriteFile(p.tokens, []byte(tokens.String()))
}

// writeKubeconfig embeds everything, so that the file can be copied.
func (p *Plane) writeKubeconfig(path, token string) error {
	ca, err := os.ReadFile(p.ca.Cert)
	if err != nil {
		return err
	}
	name := "flux-sandbox-" + p.dir.Name()
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: p.URL(), CertificateAuthorityData: ca}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	return state.WriteFile(path, data)
}

// FreePorts fills the ports that are not set, or no longer free, with free
// loopback ports.
func FreePorts(ports state.Ports) (state.Ports, error) {
	for _, port := range []*int{
		&ports.Etcd, &ports.EtcdPeer, &ports.APIServer, &ports.ControllerManager, &ports.Scheduler,
		&ports.Kubelet, &ports.Proxy, &ports.GitHTTP, &ports.GitHTTPS, &ports.GitSSH, &ports.Registry,
	} {
		// All stay open until every one is chosen, so that no port is given twice.
		listener, err := listen(*port)
		if err != nil {
			return ports, fmt.Errorf("find a free port on %s: %w", loopback, err)
		}
		defer listener.Close()
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// listen opens the port, or another one when it is not set or not free. The system gives the ports above 32767 to
// connections, and a component that starts some seconds later may find its port taken by one of them.
func listen(port int) (listener net.Listener, err error) {
	const lowest, highest, attempts = 20000, 32767, 100
	for range attempts {
		if port == 0 {
			port = lowest + rand.IntN(highest-lowest+1)
		}
		if listener, err = net.Listen("tcp", address(port)); err == nil {
			return listener, nil
		}
		port = 0
	}
	return nil, err
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
