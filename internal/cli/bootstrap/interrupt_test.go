package bootstrap_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// diesEnv names the line at which a session's flux dies.
const diesEnv = "FLUX_TEST_DIES_AT"

// mortal writes to stderr, and ends the process at once when the line is written: by SIGKILL, or by an
// interrupt if the line begins with "^C ", or some time later if it ends in "+100ms".
type mortal struct{ line string }

// progress is where a session's flux tells how it goes.
func progress() io.Writer {
	if line := os.Getenv(diesEnv); line != "" {
		return mortal{line}
	}
	return os.Stderr
}

func (m mortal) Write(p []byte) (int, error) {
	n, err := os.Stderr.Write(p)
	line, delay, delayed := strings.Cut(m.line, "+")
	line, gently := strings.CutPrefix(line, "^C ")
	if !bytes.Contains(p, []byte(line)) {
		return n, err
	}
	self, findErr := os.FindProcess(os.Getpid())
	if findErr != nil {
		panic(findErr)
	}
	switch {
	case gently:
		_ = self.Signal(os.Interrupt)
	case delayed:
		wait, parseErr := time.ParseDuration(delay)
		if parseErr != nil {
			panic(parseErr)
		}
		time.AfterFunc(wait, func() { _ = self.Kill() })
	default:
		_ = self.Kill()
		select {}
	}
	return n, err
}

// dies runs a command once for each line of a file, and has it die there: `dies FILE COMMAND...`.
func dies(ts *testscript.TestScript, _ bool, args []string) {
	defer ts.Setenv(diesEnv, "")
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		line = strings.TrimSpace(line)
		ts.Setenv(diesEnv, line)
		err := ts.Exec(args[1], args[2:]...)
		said := ts.ReadFile("stderr")
		word, _, _ := strings.Cut(strings.TrimPrefix(line, "^C "), "+")
		if err == nil || !strings.Contains(said, word) || strings.Contains(said, "all components are healthy") {
			ts.Fatalf("did not die at %q: %v\n%s", line, err, said)
		}
		if strings.HasPrefix(line, "^C ") && !strings.Contains(said, "interrupted") {
			ts.Fatalf("does not say that it was interrupted:\n%s", said)
		}
	}
}

// expired writes a kubeconfig of the sandbox whose credential is good no more.
func (l *lab) expired(path string) error {
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"c": {Server: l.sandbox.Config.Host, CertificateAuthorityData: l.sandbox.Config.CAData, CertificateAuthority: l.sandbox.Config.CAFile}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"u": {Token: "expired"}}, Contexts: map[string]*clientcmdapi.Context{"c": {Cluster: "c", AuthInfo: "u"}}, CurrentContext: "c",
	}, path)
}

// pretend makes the installation look as if it were of another version, which stores Git repositories
// in an API version of its own if one is given: `pretend VERSION [APIVERSION]`.
func (l *lab) pretend(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	client, err := apiextensions.NewForConfig(l.sandbox.Config)
	ts.Check(err)
	crds := client.ApiextensionsV1().CustomResourceDefinitions()
	const name = "gitrepositories.source.toolkit.fluxcd.io"
	_, err = crds.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"labels":{"app.kubernetes.io/version":"`+args[0]+`"}}}`), metav1.PatchOptions{})
	ts.Check(err)
	if len(args) == 1 {
		return
	}
	crd, err := crds.Get(ctx, name, metav1.GetOptions{})
	ts.Check(err)
	crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{Name: args[1], Schema: crd.Spec.Versions[0].Schema})
	crd, err = crds.Update(ctx, crd, metav1.UpdateOptions{})
	ts.Check(err)
	crd.Status.StoredVersions = append(crd.Status.StoredVersions, args[1])
	_, err = crds.UpdateStatus(ctx, crd, metav1.UpdateOptions{})
	ts.Check(err)
}

// halt ends the controllers, as an image that cannot be pulled does.
func (l *lab) halt(ts *testscript.TestScript, _ bool, _ []string) {
	ctx := context.Background()
	for _, name := range []string{"kustomize-controller", "source-controller"} {
		_, err := l.client.AppsV1().Deployments(namespace).Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{})
		ts.Check(err)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			pods, err := l.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
			ts.Check(err)
			if len(pods.Items) == 0 {
				break
			}
			if time.Now().After(deadline) {
				ts.Fatalf("%s does not stop", name)
			}
		}
	}
}
