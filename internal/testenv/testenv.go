// Package testenv gives tests the API server that make started for the whole run: one sandbox,
// its kubeconfig in FLUX_TEST_KUBECONFIG, a namespace for each test.
package testenv

import (
	"context"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// KubeconfigEnv names the variable that carries the path of the shared sandbox's kubeconfig.
const KubeconfigEnv = "FLUX_TEST_KUBECONFIG"

// Kubeconfig returns the path of the shared sandbox's kubeconfig; without one the test is skipped.
func Kubeconfig(t testing.TB) string {
	t.Helper()
	path := os.Getenv(KubeconfigEnv)
	if path == "" {
		t.Skipf("no API server: run `make test`, or start `flux sandbox up` and set %s to its kubeconfig", KubeconfigEnv)
	}
	return path
}

// Config returns a cluster-admin client configuration without client-side rate limits.
func Config(t testing.TB) *rest.Config {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", Kubeconfig(t))
	if err != nil {
		t.Fatalf("read the sandbox's kubeconfig: %v", err)
	}
	cfg.QPS = -1
	return cfg
}

// Namespace creates a namespace of the test's own and deletes it at the end of the test.
func Namespace(t testing.TB) string {
	t.Helper()
	cfg := Config(t)
	cs, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ns, err := cs.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create a namespace for the test: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		release(ctx, t, cfg, ns.Name)
		_ = cs.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{})
	})
	return ns.Name
}
