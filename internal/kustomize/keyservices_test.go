package kustomize_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/hcvault"
	sopskeys "github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/kms"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/cloud/cloudtest"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt/decrypttest"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// keyServices are those of the clouds, which decrypt for whoever the clouds' token services gave their proof to.
type keyServices struct{}

func (keyServices) RoundTrip(r *http.Request) (*http.Response, error) {
	proof, crc := r.Header.Get("Authorization"), crc32.Checksum([]byte(decrypttest.DataKey), crc32.MakeTable(crc32.Castagnoli))
	service := map[string]struct {
		proof  string
		answer any
	}{
		"kms.eu-west-1.amazonaws.com": {"Credential=" + cloudtest.AccessKey + "/", map[string]any{"Plaintext": []byte(decrypttest.DataKey)}},
		"team.vault.azure.net":        {"Bearer " + cloudtest.AzureToken + "/https://vault.azure.net/.default", map[string]any{"value": base64.RawURLEncoding.EncodeToString([]byte(decrypttest.DataKey))}},
		"cloudkms.googleapis.com":     {"Bearer " + cloudtest.GoogleToken, map[string]any{"plaintext": []byte(decrypttest.DataKey), "plaintextCrc32c": fmt.Sprint(crc)}},
	}[r.URL.Host]
	w := httptest.NewRecorder()
	if service.proof == "" || !strings.Contains(proof, service.proof) {
		w.WriteHeader(http.StatusForbidden)
	} else if err := json.NewEncoder(w).Encode(service.answer); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// newVault is a Vault that lets one role log in after the API server has vouched for its token, as Vault's login for
// Kubernetes does, and decrypts for it.
func newVault(t *testing.T, review client.Client, role func() string) *httptest.Server {
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if r.URL.Path == "/v1/auth/cluster/login" {
			token := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: in["jwt"], Audiences: []string{server.URL}}}
			err := review.Create(context.Background(), token)
			who := "system:serviceaccount:" + strings.Replace(role(), "_", ":", 1)
			if err != nil || !token.Status.Authenticated || in["role"] != role() || token.Status.User.Username != who {
				w.WriteHeader(http.StatusForbidden)
				_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
				return
			}
			_, _ = io.WriteString(w, `{"auth":{"client_token":"hvs.logged-in","lease_duration":3600}}`)
			return
		}
		if r.URL.Path != "/v1/transit/decrypt/flux" || r.Header.Get("X-Vault-Token") != "hvs.logged-in" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"errors":["permission denied"]}`)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]string{"plaintext": base64.StdEncoding.EncodeToString([]byte(decrypttest.DataKey))}})
	})
	return server
}

// TestKeyServicesWithTheAccountsIdentity decrypts by each key service with nothing but the ServiceAccount of the spec:
// its token is exchanged where the service belongs to a cloud, and is the login at a Vault.
func TestKeyServicesWithTheAccountsIdentity(t *testing.T) {
	t.Parallel()
	admin, err := client.New(testenv.Config(t), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	namespace := ""
	vault := newVault(t, admin, func() string { return namespace + "_keys" })
	l := newLab(t, func(s *setup) {
		s.settings.Gates[kernel.GateObjectLevelWorkloadIdentity] = true
		s.options.Decryption.Transport, s.options.Decryption.VaultConfigMap = keyServices{}, "vaults"
		s.options.Clouds = cloud.New(cloud.Options{Transport: &cloudtest.Clouds{}, Getenv: func(string) string { return "" }, Mint: func(ctx context.Context, namespace, name string, audiences []string) (string, time.Time, error) {
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
			sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
			err := admin.SubResource("token").Create(ctx, sa, request)
			return request.Status.Token, request.Status.ExpirationTimestamp.Time, err
		}})
	})
	namespace = l.namespace
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "keys", Annotations: map[string]string{
			"eks.amazonaws.com/role-arn":        "arn:aws:iam::123456789012:role/sync",
			"azure.workload.identity/client-id": cloudtest.ClientID, "azure.workload.identity/tenant-id": cloudtest.TenantID,
			"iam.gke.io/gcp-service-account": "flux@proj.iam.gserviceaccount.com", "gcp.auth.fluxcd.io/workload-identity-provider": cloudtest.Pool,
		}}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "stranger"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "vaults"}, Data: map[string]string{
			"config.yaml": "instances: [{address: '" + vault.URL + "', loginPath: auth/cluster/login}]",
		}},
	} {
		if err := l.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	sealed := base64.StdEncoding.EncodeToString([]byte("sealed"))
	for name, key := range map[string]sopskeys.MasterKey{
		"aws":   &kms.MasterKey{Arn: "arn:aws:kms:eu-west-1:111122223333:key/k", EncryptedKey: sealed},
		"azure": &azkv.MasterKey{VaultURL: "https://team.vault.azure.net", Name: "sops", Version: "v1", EncryptedKey: base64.RawURLEncoding.EncodeToString([]byte("sealed"))},
		"gcp":   &gcpkms.MasterKey{ResourceID: "projects/p/locations/global/keyRings/r/cryptoKeys/k", EncryptedKey: sealed},
		"vault": &hcvault.MasterKey{VaultAddress: vault.URL, EnginePath: "transit", KeyName: "flux", EncryptedKey: "vault:v1:sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			l := l.with(t)
			l.source(name, "r1", map[string]string{"s.yaml": sealedSecret(t, decrypttest.File{Groups: decrypttest.Key(key)}, "from-"+name, canary)})
			as := func(account string) func(*kustomizev1.KustomizationSpec) {
				return func(s *kustomizev1.KustomizationSpec) {
					s.SourceRef.Name, s.Decryption.ServiceAccountName = name, account
				}
			}
			l.create(name+"-stranger", withDecryption(""), as("stranger"))
			if _, message := l.failed(name+"-stranger", "BuildFailed"); strings.Contains(message, canary) || !strings.Contains(message, "cannot get sops data key") {
				t.Errorf("somebody else's attempt: %s", message)
			}
			l.create(name, withDecryption(""), as("keys"))
			k := l.ready(name, "r1")
			got := &corev1.Secret{}
			if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: "from-" + name}, got); err != nil || string(got.Data["value"]) != canary {
				t.Errorf("the Secret holds %q, %v", got.Data["value"], err)
			}
			l.nothingTells(k, canary, "hvs.logged-in", cloudtest.SecretKey, cloudtest.AzureToken, cloudtest.GoogleToken)
			if n := tokenEvents(t, name, "decrypt_with_"+name); n == 0 {
				t.Errorf("gotk_token_cache_events_total does not count decrypt_with_%s", name)
			}
		})
	}
}

// tokenEvents is how often an object's passes looked for a token for an operation.
func tokenEvents(t *testing.T, object, operation string) (n float64) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if family.GetName() == "gotk_token_cache_events_total" && labels["name"] == object && labels["operation"] == operation {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}
