package providers

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/cloud/cloudtest"
)

// split leads logins to the clouds and the rest to the service.
type split struct {
	clouds  *cloudtest.Clouds
	service *network
}

func (s split) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, part := range []string{"login.microsoftonline.com", "sts.googleapis.com", "iamcredentials.googleapis.com", "169.254.169.254"} {
		if r.URL.Host == part {
			return s.clouds.RoundTrip(r)
		}
	}
	return s.service.RoundTrip(r)
}

// Providers without a token log in as their ServiceAccount, or as the controller, by the published exchange of each
// cloud; what they get is kept for the next event.
func TestWorkloadIdentity(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(cloudtest.Token("system:serviceaccount:flux-system:notification-controller", "api://AzureADTokenExchange")), 0o600); err != nil {
		t.Fatal(err)
	}
	azure := &cloud.Account{Namespace: "apps", Name: "sender", UID: "1", Annotations: map[string]string{
		"azure.workload.identity/client-id": cloudtest.ClientID, "azure.workload.identity/tenant-id": cloudtest.TenantID,
	}}
	google := &cloud.Account{Namespace: "apps", Name: "sender", UID: "2", Annotations: map[string]string{
		"iam.gke.io/gcp-service-account": "flux@proj.iam.gserviceaccount.com", "gcp.auth.fluxcd.io/workload-identity-provider": cloudtest.Pool,
	}}
	federated := map[string]string{"AZURE_CLIENT_ID": cloudtest.ClientID, "AZURE_TENANT_ID": cloudtest.TenantID, "AZURE_FEDERATED_TOKEN_FILE": file}
	const (
		devops = "Bearer " + cloudtest.AzureToken + "/499b84ac-1321-427f-aa17-267ca6975798/.default"
		hub    = "Bearer " + cloudtest.AzureToken + "/https://eventhubs.azure.net/.default"
		pubsub = "Bearer " + cloudtest.GoogleToken
	)
	for _, tt := range []struct {
		reason, name string
		contract     contract
		account      *cloud.Account
		env          map[string]string
		want, fails  string
		again        bool
	}{
		{reason: "Azure DevOps, the account", name: "azuredevops", contract: contract{address: "https://dev.azure.com/org/pro/_git/repo"}, account: azure, want: devops},
		{reason: "Azure DevOps, the controller", name: "azuredevops", contract: contract{address: "https://dev.azure.com/org/pro/_git/repo"}, env: federated, want: devops},
		{reason: "Event Hub, the account", name: "azureeventhub", contract: contract{address: "hub", channel: "ns"}, account: azure, want: hub},
		{reason: "Event Hub, the controller", name: "azureeventhub", contract: contract{address: "hub", channel: "ns"}, env: federated, want: hub},
		{reason: "Event Hub, a JWT of the Secret", name: "azureeventhub", contract: contract{address: "hub", channel: "ns", secret: token()}, want: "Bearer " + canary},
		{reason: "Pub/Sub, the account", name: "googlepubsub", contract: contract{address: "project", channel: "topic"}, account: google, want: pubsub},
		{reason: "Pub/Sub, the controller", name: "googlepubsub", contract: contract{address: "project", channel: "topic"}, want: pubsub},
		{reason: "an account without the right", name: "azureeventhub", contract: contract{address: "hub", channel: "ns"}, account: &cloud.Account{
			Namespace: "apps", Name: "stranger", UID: "3", Annotations: map[string]string{
				"azure.workload.identity/client-id": "00000000-0000-0000-0000-000000000000", "azure.workload.identity/tenant-id": cloudtest.TenantID,
			}}, fails: "AADSTS700213"},
		{reason: "an account whose annotation makes no sense", name: "googlepubsub", contract: contract{address: "project", channel: "topic"}, account: &cloud.Account{
			Namespace: "apps", Name: "plain", UID: "4", Annotations: map[string]string{"gcp.auth.fluxcd.io/workload-identity-provider": "nonsense"}}, fails: "gcp.auth.fluxcd.io/workload-identity-provider", again: true},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			n := split{&cloudtest.Clouds{}, &network{c: tt.contract}}
			config, sender, err := tt.contract.open(t, tt.name, n)
			if err != nil {
				t.Fatal(err)
			}
			config.Account = tt.account
			config.Clouds = cloud.New(cloud.Options{
				Transport: n, Getenv: func(key string) string { return tt.env[key] },
				Mint: func(_ context.Context, namespace, name string, audiences []string) (string, time.Time, error) {
					return cloudtest.Token("system:serviceaccount:"+namespace+":"+name, audiences...), time.Now().Add(time.Hour), nil
				},
			})
			err = sender.Send(t.Context(), sample())
			if tt.fails != "" {
				var e *Error
				if !errors.As(err, &e) || e.again != tt.again || !strings.Contains(err.Error(), tt.fails) || len(n.service.sent) != 0 {
					t.Fatalf("%v, sent %v", err, n.service.sent)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := n.service.header.Get("Authorization"); got != tt.want {
				t.Errorf("logged in with %q, want %q", got, tt.want)
			}
			logins := len(n.clouds.Seen())
			if err := sender.Send(t.Context(), sample()); err != nil || len(n.clouds.Seen()) != logins {
				t.Errorf("another event: %v, %d logins more", err, len(n.clouds.Seen())-logins)
			}
			if tt.account == azure && n.clouds.Subject("api://AzureADTokenExchange") != "system:serviceaccount:apps:sender" {
				t.Errorf("the token was issued to %q", n.clouds.Subject("api://AzureADTokenExchange"))
			}
		})
	}
}
