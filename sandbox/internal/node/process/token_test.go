package process

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// tokens is an API server that knows one thing: to issue tokens.
func tokens(t *testing.T, lifetime time.Duration) (*kubernetes.Clientset, *atomic.Pointer[authenticationv1.TokenRequest]) {
	t.Helper()
	var asked atomic.Pointer[authenticationv1.TokenRequest]
	var count atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request authenticationv1.TokenRequest
		if r.URL.Path != "/api/v1/namespaces/n/serviceaccounts/sa/token" || json.NewDecoder(r.Body).Decode(&request) != nil {
			http.NotFound(w, r)
			return
		}
		asked.Store(request.DeepCopy())
		request.Status = authenticationv1.TokenRequestStatus{
			Token:               "token-" + string(rune('0'+count.Add(1))),
			ExpirationTimestamp: metav1.NewTime(time.Now().Add(lifetime)),
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(request)
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	return client, &asked
}

func TestTokenIsBoundAndRenewed(t *testing.T) {
	t.Parallel()
	client, asked := tokens(t, time.Hour)
	expiration := int64(3607)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u"},
		Spec: corev1.PodSpec{ServiceAccountName: "sa", Volumes: []corev1.Volume{{
			Name: "identity",
			VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
				ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: &expiration, Audience: "them"},
			}}}},
		}}},
	}
	v := &volumes{objects: objects{client: client, namespace: "n"}, pod: func() *corev1.Pod { return pod }, dir: t.TempDir()}
	for _, want := range []string{"token-1", "token-2"} {
		if err := v.fill(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(v.dir, "volumes", "identity", "token"))
		if err != nil || string(got) != want {
			t.Errorf("the file holds %q, %v; want %q", got, err, want)
		}
	}
	spec := asked.Load().Spec
	if ref := spec.BoundObjectRef; ref == nil || ref.Kind != "Pod" || ref.Name != "p" || ref.UID != "u" {
		t.Errorf("the token is bound to %+v", ref)
	}
	if len(spec.Audiences) != 1 || spec.Audiences[0] != "them" || *spec.ExpirationSeconds != expiration {
		t.Errorf("asked for %+v", spec)
	}
	if due := untilDue(v.renewal); due > 48*time.Minute || due < 47*time.Minute {
		t.Errorf("a token of an hour should be renewed after four fifths of it, not after %s", due)
	}
}

func TestKubeconfigNamesTheTokenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := writeKubeconfig(path, "https://127.0.0.1:1", "n", "/v/identity"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tokenFile: /v/identity/token", "certificate-authority: /v/identity/ca.crt", "server: https://127.0.0.1:1"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %q in\n%s", want, data)
		}
	}
}
