package supervise

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
)

// waitHealthy waits until the component answers that it is well.
func (s *Supervisor) waitHealthy(ctx context.Context, name string) error {
	ca, err := os.ReadFile(s.plane.CA())
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool},
		DisableKeepAlives: true,
	}}
	url := s.plane.HealthURLs()[name]
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = poll(ctx, func() error {
		if s.restarts(name) >= maxFailedStarts {
			cancel(fmt.Errorf("it has ended %d times", maxFailedStarts))
		}
		return get(ctx, client, url)
	})
	if err != nil {
		return fmt.Errorf("%s did not become healthy (log: %s): %w", name, s.dir.Log(name), err)
	}
	return nil
}

// maxFailedStarts is how often a component may end before its first sign of
// health; more often means that waiting is of no use.
const maxFailedStarts = 3

func (s *Supervisor) restarts(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.children {
		if c.name == name {
			return c.describe().Restarts
		}
	}
	return 0
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}

// waitUsable waits until a pod could be created and scheduled: the node is
// ready and without taints, and the default service account exists.
func (s *Supervisor) waitUsable(ctx context.Context) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	err = poll(ctx, func() error {
		node, err := client.CoreV1().Nodes().Get(ctx, plane.NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(node.Spec.Taints) > 0 || !nodeReady(node) {
			return errors.New("the node is not ready")
		}
		_, err = client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("the sandbox did not become usable (logs: %s): %w", s.dir.Path("logs"), err)
	}
	return nil
}

func nodeReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (s *Supervisor) client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.plane.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 100, 200
	return kubernetes.NewForConfig(config)
}

// poll asks every 50 ms until there is no error; it is used at start only.
func poll(ctx context.Context, ask func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
