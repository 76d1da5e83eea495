package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitops-toolkit/flux/manifests"
)

// Sandbox is a cluster of a scenario's own, for what would disturb the others: chaos, storms that
// are counted in the audit log, whole installations.
type Sandbox struct {
	// Kubeconfig is the path of cluster-admin's; AuditLog that of the API server's audit log.
	Kubeconfig, AuditLog string
	// Config is Kubeconfig read, without a limit on requests.
	Config *rest.Config

	home, name string
}

// StartSandbox starts a sandbox that keeps its state below dir. Close it even after an error.
func StartSandbox(ctx context.Context, dir, name string) (*Sandbox, error) {
	s := &Sandbox{home: filepath.Join(dir, "sandbox"), name: name}
	if err := s.Up(ctx); err != nil {
		return s, err
	}
	out, err := s.run(ctx, "status", "-o", "json")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, s); err != nil {
		return s, fmt.Errorf("read the sandbox's status: %w", err)
	}
	if s.Config, err = clientcmd.BuildConfigFromFlags("", s.Kubeconfig); err != nil {
		return s, err
	}
	s.Config.QPS = -1
	return s, nil
}

// Up starts the sandbox, or what of it is not running.
func (s *Sandbox) Up(ctx context.Context) error {
	_, err := s.run(ctx, "up")
	return err
}

// Close stops the sandbox and removes what it kept.
func (s *Sandbox) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := s.run(ctx, "down")
	return err
}

func (s *Sandbox) run(ctx context.Context, args ...string) ([]byte, error) {
	binary, err := Binary("flux-sandbox")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, append(args, "--name", s.name)...)
	cmd.Env = append(os.Environ(), "FLUX_SANDBOX_HOME="+s.home)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("flux-sandbox %s: %w: %s", strings.Join(args, " "), err, &stderr)
	}
	return out, nil
}

// Kill ends a component at once, such as kube-apiserver; the supervisor starts it again.
func (s *Sandbox) Kill(ctx context.Context, component string) error {
	out, err := s.run(ctx, "status", "-o", "json")
	var status struct{ PIDs map[string]int }
	if len(out) == 0 {
		return err // status fails also when the sandbox is not healthy, and prints all the same
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return fmt.Errorf("read the sandbox's status: %w", err)
	}
	if status.PIDs[component] == 0 {
		return fmt.Errorf("the sandbox has no process of %s", component)
	}
	return syscall.Kill(status.PIDs[component], syscall.SIGKILL)
}

// Await returns when the API server answers again.
func (s *Sandbox) Await(ctx context.Context) error {
	client, err := discovery.NewDiscoveryClientForConfig(s.Config)
	if err != nil {
		return err
	}
	for {
		err := client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// InstallCRDs creates our definitions and waits until the API server serves them all.
func (s *Sandbox) InstallCRDs(ctx context.Context) error {
	client, err := dynamic.NewForConfig(s.Config)
	if err != nil {
		return err
	}
	crds, err := manifests.CRDs()
	if err != nil {
		return err
	}
	definitions := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, crd := range crds {
		if _, err := definitions.Create(ctx, crd, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s: %w", crd.GetName(), err)
		}
	}
	for _, crd := range crds {
		for {
			live, err := definitions.Get(ctx, crd.GetName(), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if established(live) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s is not established: %w", crd.GetName(), ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, item := range conditions {
		if c, _ := item.(map[string]any); c["type"] == "Established" {
			return c["status"] == "True"
		}
	}
	return false
}

// Map has the node run pods of an image, REPOSITORY[:TAG], as processes of a program.
func (s *Sandbox) Map(image, program string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := s.run(ctx, "up", "--image", image+"="+program)
	return err
}
