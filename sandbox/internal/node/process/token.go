package process

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// token requests a token of the pod's service account, bound to the pod: it
// dies with it.
func (v *volumes) token(ctx context.Context, source *corev1.ServiceAccountTokenProjection) (map[string][]byte, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: v.pod().Name, UID: v.pod().UID,
		},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	account := v.pod().Spec.ServiceAccountName
	answer, err := v.client.CoreV1().ServiceAccounts(v.pod().Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("request a token of service account %q: %w", account, err)
	}
	now := time.Now()
	// As a kubelet does: at four fifths of its life.
	renewal := now.Add(answer.Status.ExpirationTimestamp.Sub(now) * 4 / 5)
	if v.renewal.IsZero() || renewal.Before(v.renewal) {
		v.renewal = renewal
	}
	return map[string][]byte{source.Path: []byte(answer.Status.Token)}, nil
}

// writeKubeconfig gives a container its identity in the form that a process
// without a file system of its own can find. It names the token's file, which
// is renewed in place.
func writeKubeconfig(path, server, namespace, dir string) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["sandbox"] = &clientcmdapi.Cluster{
		Server: server, CertificateAuthority: filepath.Join(dir, "ca.crt"),
	}
	config.AuthInfos["pod"] = &clientcmdapi.AuthInfo{TokenFile: filepath.Join(dir, "token")}
	config.Contexts["pod"] = &clientcmdapi.Context{Cluster: "sandbox", AuthInfo: "pod", Namespace: namespace}
	config.CurrentContext = "pod"
	data, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	return state.WriteFile(path, data)
}
