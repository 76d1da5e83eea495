package harness

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitops-toolkit/flux/internal/testenv/sealed"
)

// Namespace is where the controllers' ServiceAccounts and leases live.
const Namespace = "flux-system"

// Stack is a set of controllers on one cluster.
type Stack struct {
	Config    *rest.Config
	Processes []*Process
	// Runtime is the namespace that controllers take for their own, Namespace when empty.
	Runtime string

	dir    string
	client kubernetes.Interface
	binary string
}

// New prepares a stack on the cluster of the kubeconfig; dir takes logs, kubeconfigs and artifacts.
func New(ctx context.Context, kubeconfig, dir string) (*Stack, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.QPS = -1
	cs, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	binary, err := Binary("flux-controller")
	if err != nil {
		return nil, err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}
	if _, err := cs.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	return &Stack{Config: cfg, dir: dir, client: cs, binary: binary}, nil
}

// Add starts a controller under a ServiceAccount of its own name with the given extra flags.
func (s *Stack) Add(ctx context.Context, name string, flags ...string) (*Process, error) {
	kubeconfig, err := s.identity(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("prepare the ServiceAccount %s/%s: %w", Namespace, name, err)
	}
	p := &Process{
		Name:    name,
		User:    "system:serviceaccount:" + Namespace + ":" + name,
		LogPath: filepath.Join(s.dir, name+".log"),
		path:    s.binary,
		env:     []string{"KUBECONFIG=" + kubeconfig, "RUNTIME_NAMESPACE=" + cmp.Or(s.Runtime, Namespace), "TMPDIR=" + s.dir},
	}
	listen := map[string]*string{"--metrics-addr": &p.MetricsURL, "--health-addr": &p.HealthURL}
	switch name {
	case "source-controller", "source-watcher":
		listen["--storage-addr"] = &p.StorageURL
	case "notification-controller":
		listen["--events-addr"], listen["--receiverAddr"] = &p.EventsURL, &p.HooksURL
	}
	for flag, url := range listen {
		addr, err := FreeAddr()
		if err != nil {
			return nil, err
		}
		*url = "http://" + addr
		p.args = append(p.args, flag+"="+addr)
		if flag == "--storage-addr" {
			p.args = append(p.args, "--storage-adv-addr="+addr, "--storage-path="+filepath.Join(s.dir, name+"-data"))
		}
	}
	p.args = append(p.args, flags...)
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	s.Processes = append(s.Processes, p)
	return p, nil
}

// Stop ends all controllers, the last one started first.
func (s *Stack) Stop() {
	for i := len(s.Processes) - 1; i >= 0; i-- {
		s.Processes[i].Stop()
	}
}

// identity creates the ServiceAccount with the rights of the default install and returns the path
// of a kubeconfig that carries a token of it.
func (s *Stack) identity(ctx context.Context, name string) (string, error) {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace}}
	if _, err := s.client.CoreV1().ServiceAccounts(Namespace).Create(ctx, sa, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "harness-" + name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: Namespace}},
	}
	if _, err := s.client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	seconds := int64((12 * time.Hour).Seconds())
	token, err := s.client.CoreV1().ServiceAccounts(Namespace).CreateToken(ctx, name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.dir, name+".kubeconfig")
	return path, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"sandbox": {
			Server: s.Config.Host, CertificateAuthorityData: s.Config.CAData, CertificateAuthority: s.Config.CAFile}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {Token: token.Status.Token}},
		Contexts:       map[string]*clientcmdapi.Context{"sandbox": {Cluster: "sandbox", AuthInfo: name, Namespace: Namespace}},
		CurrentContext: "sandbox",
	}, path)
}

// TempDir creates a directory for a stack that outlives no test run.
func TempDir() (string, func(), error) {
	dir, err := os.MkdirTemp("", "flux-stack-")
	return dir, func() { sealed.Open(dir); os.RemoveAll(dir) }, err
}
