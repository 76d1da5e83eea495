package test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/harness"
)

// TestInstalledControllersAnswer installs the controllers as Deployments, and looks at them as a
// person would: with kubectl logs, flux logs, and a forwarded port. (What is installed, and that
// the installation applies a Git repository and can be taken away, is tested beside the words
// themselves.)
func TestInstalledControllersAnswer(t *testing.T) {
	testenv.Kubeconfig(t)
	if testing.Short() {
		t.Skip("takes a sandbox of its own")
	}
	flux, err := harness.Binary("flux")
	if err != nil {
		t.Fatal(err)
	}
	dir, remove, err := harness.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	sandbox, err := harness.StartSandbox(ctx, dir, "installed")
	t.Cleanup(func() { _ = sandbox.Close() })
	if err != nil {
		t.Fatal(err)
	}
	runOn(ctx, t, sandbox, flux, "install", "--timeout=4m")
	c, err := client.New(sandbox.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(harness.Namespace), client.MatchingLabels{"app": "kustomize-controller"}); err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d pods of kustomize-controller, %v", len(pods.Items), err)
	}
	pod := pods.Items[0]
	if pod.Spec.ServiceAccountName != "kustomize-controller" {
		t.Errorf("the pod runs as %q", pod.Spec.ServiceAccountName)
	}
	if out := runOn(ctx, t, sandbox, flux, "logs", "--all-namespaces"); strings.Contains(out, "error") {
		t.Errorf("flux logs prints\n%s", out)
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("no kubectl: its logs and port-forward are not tested")
	}
	out := runOn(ctx, t, sandbox, kubectl, "-n", harness.Namespace, "logs", "deploy/kustomize-controller")
	if !strings.Contains(out, `"logger":"setup"`) || strings.Contains(strings.ToLower(out), "forbidden") {
		t.Errorf("kubectl logs prints\n%s", out)
	}
	forwarded(ctx, t, sandbox, kubectl, pod.Name)
}

// forwarded reads the metrics of a pod through kubectl port-forward.
func forwarded(ctx context.Context, t *testing.T, sandbox *harness.Sandbox, kubectl, pod string) {
	t.Helper()
	ctx, stop := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, kubectl, "-n", harness.Namespace, "port-forward", pod, ":8080")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+sandbox.Kubeconfig)
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); _ = cmd.Wait() }()
	line := make([]byte, 200) // Forwarding from 127.0.0.1:41234 -> 8080
	n, err := output.Read(line)
	_, address, found := strings.Cut(string(line[:n]), "Forwarding from ")
	address, _, cut := strings.Cut(address, " ")
	if err != nil || !found || !cut {
		t.Fatalf("kubectl port-forward says %q, %v", line[:n], err)
	}
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(body, []byte("controller_runtime_")) {
		t.Errorf("no metrics through the forwarded port: %v\n%s", err, body)
	}
}

// runOn runs a program against the sandbox and returns what it printed.
func runOn(ctx context.Context, t *testing.T, sandbox *harness.Sandbox, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+sandbox.Kubeconfig)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, &stderr)
	}
	return string(out)
}
