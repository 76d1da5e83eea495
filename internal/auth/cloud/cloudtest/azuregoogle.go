package cloudtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// TenantID and ClientID are those that Entra ID knows.
const (
	TenantID = "11111111-2222-3333-4444-555555555555"
	ClientID = "66666666-7777-8888-9999-000000000000"
)

// entra is the token endpoint of the Microsoft identity platform: the client credentials grant with a federated
// credential or a secret.
func (c *Clouds) entra(w http.ResponseWriter, r *http.Request, body string) {
	f := form(body)
	proven := f.Get("client_secret") == "canary-client-secret" ||
		f.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" && c.token(f.Get("client_assertion"), "api://AzureADTokenExchange")
	if r.Method != http.MethodPost || r.URL.Path != "/"+TenantID+"/oauth2/v2.0/token" || f.Get("grant_type") != "client_credentials" ||
		f.Get("client_id") != ClientID || !strings.Contains(f.Get("scope"), "/.default") || !proven {
		w.WriteHeader(http.StatusUnauthorized)
		reply(w, map[string]any{"error": "invalid_client", "error_description": "AADSTS700213: No matching federated identity record found. Trace ID: 1 Correlation ID: 2 Timestamp: 3", "error_codes": []int{700213}})
		return
	}
	reply(w, map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": AzureToken + "/" + strings.Fields(f.Get("scope"))[0]})
}

// azureMetadata is the instance metadata service, whose numbers are strings.
func (c *Clouds) azureMetadata(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.Method != http.MethodGet || r.URL.Path != "/metadata/identity/oauth2/token" || r.Header.Get("Metadata") != "true" || q.Get("api-version") == "" || q.Get("resource") == "" {
		w.WriteHeader(http.StatusBadRequest)
		reply(w, map[string]string{"error": "invalid_request", "error_description": "Required metadata header not specified"})
		return
	}
	reply(w, map[string]string{"access_token": AzureToken + "/" + q.Get("resource") + "/" + q.Get("client_id"), "expires_in": "86399", "token_type": "Bearer"})
}

// acr exchanges an access token of the resource manager for a refresh token of the registry.
func (c *Clouds) acr(w http.ResponseWriter, r *http.Request, body string) {
	f := form(body)
	if r.Method != http.MethodPost || r.URL.Path != "/oauth2/exchange" || f.Get("grant_type") != "access_token" || f.Get("service") != r.URL.Host ||
		f.Get("access_token") != AzureToken+"/https://management.azure.com/.default" {
		w.WriteHeader(http.StatusUnauthorized)
		reply(w, map[string]any{"errors": []map[string]string{{"code": "UNAUTHORIZED", "message": "authentication required"}}})
		return
	}
	reply(w, map[string]string{"refresh_token": "canary-acr-refresh-token"})
}

// arm is listClusterUserCredential of AKS.
func (c *Clouds) arm(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/managedClusters/prod/listClusterUserCredential") || r.URL.Query().Get("api-version") == "" ||
		r.Header.Get("Authorization") != "Bearer "+AzureToken+"/https://management.azure.com/.default" {
		w.WriteHeader(http.StatusForbidden)
		reply(w, map[string]any{"error": map[string]string{"code": "AuthorizationFailed", "message": "does not have authorization"}})
		return
	}
	config := "apiVersion: v1\nkind: Config\nclusters:\n- name: prod\n  cluster:\n    server: https://prod.hcp.westeurope.azmk8s.io:443\n    certificate-authority-data: " + base64.StdEncoding.EncodeToString([]byte("aks-ca")) + "\n"
	reply(w, map[string]any{"kubeconfigs": []any{map[string]any{"name": "clusterUser", "value": base64.StdEncoding.EncodeToString([]byte(config))}}})
}

// Pool is a provider of a workload identity pool.
const Pool = "projects/123456/locations/global/workloadIdentityPools/pool/providers/cluster"

// googleSTS is the token exchange of RFC 8693 in Google's form.
func (c *Clouds) googleSTS(w http.ResponseWriter, r *http.Request, body string) {
	var f map[string]string
	err := json.Unmarshal([]byte(body), &f)
	audience := map[string]string{
		"//iam.googleapis.com/" + Pool: "//iam.googleapis.com/" + Pool,
		"identitynamespace:proj.svc.id.goog:https://container.googleapis.com/v1/projects/proj/locations/europe-west1/clusters/main": "proj.svc.id.goog",
	}[f["audience"]]
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/token" || audience == "" ||
		f["grantType"] != "urn:ietf:params:oauth:grant-type:token-exchange" || f["requestedTokenType"] != "urn:ietf:params:oauth:token-type:access_token" ||
		f["subjectTokenType"] != "urn:ietf:params:oauth:token-type:jwt" || f["scope"] == "" || !c.token(f["subjectToken"], audience) {
		w.WriteHeader(http.StatusBadRequest)
		reply(w, map[string]string{"error": "invalid_grant", "error_description": "The audience in ID Token does not match the expected audience."})
		return
	}
	reply(w, map[string]any{"access_token": Federated, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 3600})
}

// googleIAM is generateAccessToken.
func (c *Clouds) googleIAM(w http.ResponseWriter, r *http.Request, body string) {
	var f struct{ Scope []string }
	if json.Unmarshal([]byte(body), &f) != nil || len(f.Scope) == 0 || r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer "+Federated ||
		r.URL.Path != "/v1/projects/-/serviceAccounts/flux@proj.iam.gserviceaccount.com:generateAccessToken" {
		w.WriteHeader(http.StatusForbidden)
		reply(w, map[string]any{"error": map[string]any{"code": 403, "message": "Permission 'iam.serviceAccounts.getAccessToken' denied", "status": "PERMISSION_DENIED"}})
		return
	}
	reply(w, map[string]string{"accessToken": GoogleToken, "expireTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
}

func (c *Clouds) googleMetadata(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.Header.Get("Metadata-Flavor") != "Google" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	switch strings.TrimPrefix(r.URL.Path, "/computeMetadata/v1/") {
	case "project/project-id":
		fmt.Fprint(w, "proj")
	case "instance/attributes/cluster-location":
		fmt.Fprint(w, "europe-west1")
	case "instance/attributes/cluster-name":
		fmt.Fprint(w, "main")
	case "instance/service-accounts/default/token":
		reply(w, map[string]any{"access_token": GoogleToken, "expires_in": 3599, "token_type": "Bearer"})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// gke describes a cluster.
func (c *Clouds) gke(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.URL.Path != "/v1/projects/proj/locations/europe-west1/clusters/prod" || r.Header.Get("Authorization") != "Bearer "+GoogleToken {
		w.WriteHeader(http.StatusForbidden)
		reply(w, map[string]any{"error": map[string]any{"code": 403, "message": "denied", "status": "PERMISSION_DENIED"}})
		return
	}
	reply(w, map[string]any{
		"endpoint": "34.1.2.3", "masterAuth": map[string]string{"clusterCaCertificate": base64.StdEncoding.EncodeToString([]byte("gke-ca"))},
		"controlPlaneEndpointsConfig": map[string]any{"dnsEndpointConfig": map[string]string{"endpoint": "gke-1.europe-west1.gke.goog"}},
	})
}
