package notify

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/cloud/cloudtest"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// A Provider sets commit statuses as the ServiceAccount that it names: the API server issues the account's token, and the
// cloud exchanges it. Without the gate the Alert's owner is told why not.
func TestProviderIdentity(t *testing.T) {
	t.Parallel()
	for _, gate := range []bool{true, false} {
		logins := make(chan string, 100)
		host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			logins <- r.Header.Get("Authorization")
			_, _ = w.Write([]byte(`{"value": []}`))
		}))
		t.Cleanup(host.Close)
		fake := &cloudtest.Clouds{}
		l := newLabWith(t, func(m *kernel.Manager, o *Options) {
			o.Clouds = cloud.New(cloud.Options{Transport: fake, Mint: m.RequestToken, Getenv: func(string) string { return "" }})
		}, func(s *kernel.Settings) { s.Gates = map[string]bool{kernel.GateObjectLevelWorkloadIdentity: gate} })
		l.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
			"azure.workload.identity/client-id": cloudtest.ClientID, "azure.workload.identity/tenant-id": cloudtest.TenantID,
		}}}, "reporter", "")
		l.create(&notificationv1.Provider{}, "status", "spec: {type: azuredevops, serviceAccountName: reporter, address: "+host.URL+"/org/pro/_git/repo}")
		l.create(&notificationv1.Alert{}, "status", `spec: {providerRef: {name: status}, eventSources: [{kind: Kustomization, name: app}]}`)
		var login string
		for i := 0; ; i++ { // until the Alert is known
			l.post("Kustomization", "app", "error", fmt.Sprint("broken ", i), map[string]string{"own/revision": "main@sha1:" + strings.Repeat("a", 40)})
			if !gate && l.find("status", "NotificationDispatchFailed", kernel.GateObjectLevelWorkloadIdentity) != nil {
				break
			}
			select {
			case login = <-logins:
			case <-l.ctx.Done():
				t.Fatalf("gate %t: nothing comes of an event", gate)
			case <-time.After(50 * time.Millisecond):
			}
			if login != "" {
				break
			}
		}
		if !gate {
			if login != "" {
				t.Errorf("logged in with %q although the gate is shut", login)
			}
			continue
		}
		if want := "Bearer " + cloudtest.AzureToken + "/499b84ac-1321-427f-aa17-267ca6975798/.default"; login != want {
			t.Errorf("logged in with %q, want %q", login, want)
		}
		if got, want := fake.Subject("api://AzureADTokenExchange"), "system:serviceaccount:"+l.ns+":reporter"; got != want {
			t.Errorf("the token was issued to %q, want %q", got, want)
		}
	}
}
