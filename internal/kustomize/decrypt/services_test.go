package decrypt_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/kms"

	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt"
	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt/decrypttest"
)

// hosts answers requests by the host that they are for, as the network would.
type hosts map[string]http.HandlerFunc

func (h hosts) RoundTrip(req *http.Request) (*http.Response, error) {
	handler, ok := h[req.URL.Host]
	if !ok {
		return nil, fmt.Errorf("no such host %s", req.URL.Host)
	}
	rec := httptest.NewRecorder()
	handler(rec, req)
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// somebody is a workload that every service knows.
type somebody struct{ login *decrypt.VaultLogin }

func (somebody) AWS(_ context.Context, region string) (decrypt.AWSCredentials, error) {
	return decrypt.AWSCredentials{AccessKeyID: "AKWORKLOAD", SecretAccessKey: "s-" + region, SessionToken: "session"}, nil
}
func (somebody) Azure(_ context.Context, scope string) (string, error) {
	return "workload for " + scope, nil
}
func (somebody) GCP(context.Context) (string, error) { return "workload", nil }
func (s somebody) Vault(_ context.Context, address string) (*decrypt.VaultLogin, error) {
	if s.login == nil {
		return nil, nil
	}
	login := *s.login
	login.Token += address
	return &login, nil
}

// check opens a file that has one key, with the Secret and the network of a test.
func check(t *testing.T, key keys.MasterKey, secret map[string]string, w decrypt.Workload, network http.RoundTripper, env map[string]string) error {
	t.Helper()
	entries := map[string][]byte{}
	for k, v := range secret {
		entries[k] = []byte(v)
	}
	parsed, err := decrypt.ParseKeys("apps/sops", entries)
	if err != nil {
		t.Fatal(err)
	}
	d := decrypt.New(decrypt.Options{Keys: parsed, Workload: w, Transport: network, Getenv: func(name string) string { return env[name] }})
	sealed := decrypttest.Encrypt(t, "password: canary\n", decrypttest.File{Format: "yaml", Groups: decrypttest.Key(key)})
	plain, _, err := d.File(t.Context(), []byte(sealed), decrypt.YAML)
	if err == nil && string(plain) != "password: canary\n" {
		t.Errorf("got %q", plain)
	}
	return err
}

func refuse(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

const awsKey = "arn:aws:kms:eu-west-1:111122223333:key/mrk-1"

// fakeKMS is AWS KMS as its API reference describes the action Decrypt of the JSON 1.1 protocol.
func fakeKMS(t *testing.T, access string) http.HandlerFunc {
	authorization := regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/eu-west-1/kms/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}$`)
	return func(w http.ResponseWriter, r *http.Request) {
		m := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
		if m == nil || m[1] != access || !strings.Contains(m[2], "host") || !strings.Contains(m[2], "x-amz-date") || !strings.Contains(m[2], "x-amz-target") {
			refuse(w, 400, `{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}`)
			return
		}
		var in struct {
			CiphertextBlob    []byte
			KeyId             string
			EncryptionContext map[string]string
		}
		if r.Method != "POST" || r.Header.Get("X-Amz-Target") != "TrentService.Decrypt" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" || json.NewDecoder(r.Body).Decode(&in) != nil {
			refuse(w, 400, `{"__type":"SerializationException"}`)
			return
		}
		if string(in.CiphertextBlob) != "sealed" || in.KeyId != awsKey || in.EncryptionContext["app"] != "web" {
			refuse(w, 400, `{"__type":"InvalidCiphertextException"}`)
			return
		}
		if err := json.NewEncoder(w).Encode(map[string]any{"KeyId": awsKey, "Plaintext": []byte(decrypttest.DataKey), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}); err != nil {
			t.Error(err)
		}
	}
}

func awsMasterKey(role string) *kms.MasterKey {
	app := "web"
	return &kms.MasterKey{
		Arn: awsKey, Role: role, EncryptionContext: map[string]*string{"app": &app}, EncryptedKey: base64.StdEncoding.EncodeToString([]byte("sealed")),
	}
}

func TestAWSKMS(t *testing.T) {
	t.Parallel()
	static := map[string]string{"sops.aws-kms": "aws_access_key_id: AKSTATIC\naws_secret_access_key: x\n"}
	if err := check(t, awsMasterKey(""), static, nobody{}, hosts{"kms.eu-west-1.amazonaws.com": fakeKMS(t, "AKSTATIC")}, nil); err != nil {
		t.Errorf("static: %v", err)
	}
	if err := check(t, awsMasterKey(""), nil, somebody{}, hosts{"kms.eu-west-1.amazonaws.com": fakeKMS(t, "AKWORKLOAD")}, nil); err != nil {
		t.Errorf("workload identity: %v", err)
	}
	sts := func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "AssumeRole" || r.Form.Get("RoleArn") != "arn:aws:iam::111122223333:role/sops" || r.Form.Get("RoleSessionName") == "" || r.Form.Get("Version") != "2011-06-15" {
			refuse(w, 403, `<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>`)
			return
		}
		_, _ = io.WriteString(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>AKROLE</AccessKeyId><SecretAccessKey>y</SecretAccessKey><SessionToken>z</SessionToken></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	}
	network := hosts{"kms.eu-west-1.amazonaws.com": fakeKMS(t, "AKROLE"), "sts.eu-west-1.amazonaws.com": sts}
	if err := check(t, awsMasterKey("arn:aws:iam::111122223333:role/sops"), static, nobody{}, network, nil); err != nil {
		t.Errorf("with a role: %v", err)
	}
	err := check(t, awsMasterKey("arn:aws:iam::111122223333:role/other"), static, nobody{}, network, nil)
	wantError(t, err, "failed to assume role 'arn:aws:iam::111122223333:role/other': AWS STS answers 403 AccessDenied")
	err = check(t, awsMasterKey(""), static, nobody{}, hosts{"kms.eu-west-1.amazonaws.com": fakeKMS(t, "AKOTHER")}, nil)
	wantError(t, err, "AWS KMS answers 400 Bad Request (UnrecognizedClientException: The security token")
	err = check(t, &kms.MasterKey{Arn: "arn:aws:kms:evil.example/x-1:111122223333:key/k", EncryptedKey: "eA=="}, static, nobody{}, hosts{}, nil)
	wantError(t, err, "this is no ARN of a KMS key or alias")
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Errorf("it tells a secret: %v", err)
	}
}

// fakeKeyVault is Azure Key Vault as its REST reference 7.4 describes the operation decrypt.
func fakeKeyVault(token string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Alg, Value string }
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			refuse(w, 401, `{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}`)
		case r.Method != "POST" || r.URL.Path != "/keys/sops/v1/decrypt" || r.URL.Query().Get("api-version") != "7.4":
			refuse(w, 404, `{"error":{"code":"KeyNotFound"}}`)
		case json.NewDecoder(r.Body).Decode(&in) != nil || in.Alg != "RSA-OAEP-256" || in.Value != base64.RawURLEncoding.EncodeToString([]byte("sealed")):
			refuse(w, 400, `{"error":{"code":"BadParameter","message":"bad"}}`)
		default:
			_ = json.NewEncoder(w).Encode(map[string]string{"kid": "k", "value": base64.RawURLEncoding.EncodeToString([]byte(decrypttest.DataKey))})
		}
	}
}

func TestAzureKeyVault(t *testing.T) {
	t.Parallel()
	key := &azkv.MasterKey{VaultURL: "https://team.vault.azure.net", Name: "sops", Version: "v1", EncryptedKey: base64.RawURLEncoding.EncodeToString([]byte("sealed"))}
	if err := check(t, key, nil, somebody{}, hosts{"team.vault.azure.net": fakeKeyVault("workload for https://vault.azure.net/.default")}, nil); err != nil {
		t.Errorf("workload identity: %v", err)
	}
	network := hosts{"team.vault.azure.net": fakeKeyVault("static"), "login.microsoftonline.com": fakeEntra}
	for name, secret := range map[string]string{
		"a client secret": "tenantId: 11111111-1111-1111-1111-111111111111\nclientId: app\nclientSecret: pass\n",
		"as az writes it": `{"appId":"app","tenant":"11111111-1111-1111-1111-111111111111","password":"pass"}`,
		"with a BOM":      "\xEF\xBB\xBF" + `{"tenantId":"11111111-1111-1111-1111-111111111111","clientId":"app","clientSecret":"pass"}`,
		"in UTF-16":       utf16(`{"tenantId":"11111111-1111-1111-1111-111111111111","clientId":"app","clientSecret":"pass"}`),
	} {
		if err := check(t, key, map[string]string{"sops.azure-kv": secret}, nobody{}, network, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := check(t, key, map[string]string{"sops.azure-kv": "tenantId: 11111111-1111-1111-1111-111111111111\nclientId: app\nclientSecret: wrong\n"}, nobody{}, network, nil)
	wantError(t, err, "Microsoft Entra ID refuses the login of Secret 'apps/sops', entry 'sops.azure-kv': 401")
	key.VaultURL = "https://vault.azure.net.evil.example"
	wantError(t, check(t, key, nil, somebody{}, hosts{}, nil), "this is no address of a vault")
}

// fakeEntra is Microsoft Entra ID: discovery of its endpoints, and the grant client_credentials.
func fakeEntra(w http.ResponseWriter, r *http.Request) {
	tenant := "https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111"
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/discovery/instance"):
		_ = json.NewEncoder(w).Encode(map[string]any{
			"tenant_discovery_endpoint": tenant + "/v2.0/.well-known/openid-configuration", "api-version": "1.1",
			"metadata": []any{map[string]any{"preferred_network": "login.microsoftonline.com", "preferred_cache": "login.windows.net", "aliases": []string{"login.microsoftonline.com"}}},
		})
	case strings.HasSuffix(r.URL.Path, "/openid-configuration"):
		_ = json.NewEncoder(w).Encode(map[string]string{
			"token_endpoint": tenant + "/oauth2/v2.0/token", "authorization_endpoint": tenant + "/oauth2/v2.0/authorize", "issuer": tenant + "/v2.0",
		})
	case strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token"):
		if err := r.ParseForm(); err != nil || r.Form.Get("client_secret") != "pass" || r.Form.Get("grant_type") != "client_credentials" || !strings.Contains(r.Form.Get("scope"), "https://vault.azure.net/.default") {
			refuse(w, 401, `{"error":"invalid_client","error_description":"canary"}`)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "static", "expires_in": 3600, "token_type": "Bearer"})
	default:
		refuse(w, 404, "")
	}
}

func utf16(s string) string {
	out := []byte{0xFF, 0xFE}
	for _, b := range []byte(s) {
		out = append(out, b, 0)
	}
	return string(out)
}

const gcpResource = "projects/p/locations/global/keyRings/r/cryptoKeys/k"

// fakeGoogle is Google Cloud KMS as its REST reference v1 describes the method cryptoKeys.decrypt.
func fakeGoogle(token string, damaged bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Ciphertext []byte }
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			refuse(w, 401, `{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}`)
		case r.Method != "POST" || r.URL.Path != "/v1/"+gcpResource+":decrypt" || json.NewDecoder(r.Body).Decode(&in) != nil || string(in.Ciphertext) != "sealed":
			refuse(w, 400, `{"error":{"code":400,"status":"INVALID_ARGUMENT"}}`)
		default:
			sum := crc32.Checksum([]byte(decrypttest.DataKey), crc32.MakeTable(crc32.Castagnoli))
			if damaged {
				sum++
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"plaintext": []byte(decrypttest.DataKey), "plaintextCrc32c": fmt.Sprint(sum)})
		}
	}
}

func serviceAccountKey(t *testing.T) string {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "sops@p.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestGoogleCloudKMS(t *testing.T) {
	t.Parallel()
	key := &gcpkms.MasterKey{ResourceID: gcpResource, EncryptedKey: base64.StdEncoding.EncodeToString([]byte("sealed"))}
	if err := check(t, key, nil, somebody{}, hosts{"cloudkms.googleapis.com": fakeGoogle("workload", false)}, nil); err != nil {
		t.Errorf("workload identity: %v", err)
	}
	tokens := func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || strings.Count(r.Form.Get("assertion"), ".") != 2 {
			refuse(w, 400, `{"error":"invalid_grant"}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"static","token_type":"Bearer","expires_in":3599}`)
	}
	secret := map[string]string{"sops.gcp-kms": serviceAccountKey(t)}
	network := hosts{"cloudkms.googleapis.com": fakeGoogle("static", false), "oauth2.googleapis.com": tokens}
	if err := check(t, key, secret, nobody{}, network, nil); err != nil {
		t.Errorf("static: %v", err)
	}
	if err := check(t, key, nil, somebody{}, hosts{"kms.example.com": fakeGoogle("workload", false)}, map[string]string{"SOPS_GCP_KMS_ENDPOINT": "kms.example.com:443"}); err != nil {
		t.Errorf("another endpoint: %v", err)
	}
	wantError(t, check(t, key, nil, somebody{}, hosts{"cloudkms.googleapis.com": fakeGoogle("other", false)}, nil), "Google Cloud KMS answers 401 Unauthorized (UNAUTHENTICATED: Request had invalid")
	wantError(t, check(t, key, nil, somebody{}, hosts{"cloudkms.googleapis.com": fakeGoogle("workload", true)}, nil), "the answer was damaged on its way")
	wantError(t, check(t, key, nil, nobody{}, hosts{}, nil), errNobody.Error())
}

// fakeVault is a Vault or OpenBao as their API documents the transit engine and the Kubernetes login.
func fakeVault(t *testing.T, token string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if r.Method != "PUT" && r.Method != "POST" || json.NewDecoder(r.Body).Decode(&in) != nil {
			refuse(w, 405, `{"errors":["unsupported operation"]}`)
			return
		}
		switch {
		case r.URL.Path == "/v1/auth/kubernetes/login":
			if in["jwt"] != "jwt for "+server.URL || in["role"] != "apps_decryptor" {
				refuse(w, 403, `{"errors":["permission denied"]}`)
				return
			}
			_, _ = io.WriteString(w, `{"auth":{"client_token":"logged-in","lease_duration":3600}}`)
		case r.Header.Get("X-Vault-Token") != token:
			refuse(w, 403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)
		case r.URL.Path != "/v1/team/transit/decrypt/sops" || in["ciphertext"] != "vault:v1:sealed":
			refuse(w, 400, `{"errors":["invalid ciphertext: no prefix"]}`)
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]string{"plaintext": base64.StdEncoding.EncodeToString([]byte(decrypttest.DataKey))}})
		}
	})
	return server
}

func TestVault(t *testing.T) {
	t.Parallel()
	key := func(s *httptest.Server) *hcvault.MasterKey {
		return &hcvault.MasterKey{VaultAddress: s.URL, EnginePath: "team/transit", KeyName: "sops", EncryptedKey: "vault:v1:sealed"}
	}
	static := map[string]string{"sops.vault-token": "  s.token\n"}
	if err := check(t, key(fakeVault(t, "s.token")), static, nobody{}, nil, nil); err != nil {
		t.Errorf("static: %v", err)
	}
	login := somebody{login: &decrypt.VaultLogin{Path: "auth/kubernetes/login", Role: "apps_decryptor", Token: "jwt for "}}
	if err := check(t, key(fakeVault(t, "logged-in")), nil, login, nil, nil); err != nil {
		t.Errorf("login: %v", err)
	}
	login.login.Role = "apps_other"
	wantError(t, check(t, key(fakeVault(t, "logged-in")), nil, login, nil, nil), "the login with role 'apps_other' at 'auth/kubernetes/login' is refused with status 403: permission denied")
	own := fakeVault(t, "own")
	if err := check(t, key(own), nil, nobody{}, nil, map[string]string{"VAULT_TOKEN": "own"}); err != nil {
		t.Errorf("the controller's own token: %v", err)
	}
	wantError(t, check(t, key(own), nil, nobody{}, nil, map[string]string{"VAULT_TOKEN": "own", "VAULT_ADDR": "https://vault.example.com"}), "the controller's own Vault token is for https://vault.example.com only")
	wantError(t, check(t, key(own), static, nobody{}, nil, nil), "decryption is refused with status 403")
	wantError(t, check(t, key(own), nil, nobody{}, nil, nil), "no Vault token is at hand: Secret 'apps/sops' has no entry 'sops.vault-token'")
}
