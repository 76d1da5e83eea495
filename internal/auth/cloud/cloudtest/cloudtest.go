// Package cloudtest stands in for the token endpoints of the clouds in tests. Each answers only to requests that follow
// what its cloud publishes (methods, headers, parameters, signatures), so that a client that strays fails.
package cloudtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// What the clouds hand out.
const (
	AccessKey    = "ASIAEXAMPLE"
	SecretKey    = "canary-aws-secret-key"
	SessionToken = "canary-aws-session-token"
	AzureToken   = "canary-azure-access-token"
	GoogleToken  = "canary-google-access-token"
	Federated    = "canary-google-federated-token"
)

// Request is one that came.
type Request struct{ Method, Host, Path string }

// Clouds is a transport that leads to the fakes. The zero value is ready.
type Clouds struct {
	// Claims of the ServiceAccount tokens that came, by audience.
	mu     sync.Mutex
	claims map[string]map[string]any
	seen   []Request
}

// Seen returns the requests so far.
func (c *Clouds) Seen() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// Subject is whom the token for an audience was issued to, "" if none came.
func (c *Clouds) Subject(audience string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, _ := c.claims[audience]["sub"].(string)
	return s
}

// RoundTrip implements http.RoundTripper.
func (c *Clouds) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	c.mu.Lock()
	c.seen = append(c.seen, Request{r.Method, r.URL.Host, r.URL.Path})
	c.mu.Unlock()
	w := httptest.NewRecorder()
	c.serve(w, r, string(body))
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

func (c *Clouds) serve(w http.ResponseWriter, r *http.Request, body string) {
	host, path := r.URL.Host, r.URL.Path
	secure := r.URL.Scheme == "https"
	switch {
	case secure && strings.HasPrefix(host, "sts.") && strings.HasSuffix(host, "amazonaws.com"):
		c.sts(w, r, body)
	case secure && strings.HasPrefix(host, "api.ecr"):
		c.ecr(w, r, body)
	case secure && strings.HasPrefix(host, "eks."):
		c.eks(w, r, body)
	case secure && host == "login.microsoftonline.com":
		c.entra(w, r, body)
	case secure && strings.HasSuffix(host, ".azurecr.io"):
		c.acr(w, r, body)
	case secure && host == "management.azure.com":
		c.arm(w, r)
	case secure && host == "sts.googleapis.com":
		c.googleSTS(w, r, body)
	case secure && host == "iamcredentials.googleapis.com":
		c.googleIAM(w, r, body)
	case secure && host == "container.googleapis.com":
		c.gke(w, r)
	case !secure && host == "169.254.169.254" && strings.HasPrefix(path, "/computeMetadata/v1/"):
		c.googleMetadata(w, r)
	case !secure && host == "169.254.169.254" && strings.HasPrefix(path, "/metadata/identity/"):
		c.azureMetadata(w, r)
	case !secure && host == "169.254.169.254" && strings.HasPrefix(path, "/latest/"):
		c.awsMetadata(w, r)
	case !secure && host == "169.254.170.23":
		c.podIdentity(w, r)
	default:
		http.Error(w, "nobody is at "+r.URL.Scheme+"://"+host+path, http.StatusTeapot)
	}
}

// token checks a ServiceAccount token: a JWT for the audience. The cloud would check its signature, too.
func (c *Clouds) token(text, audience string) bool {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return false
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err != nil || json.Unmarshal(data, &claims) != nil {
		return false
	}
	list, _ := claims["aud"].([]any)
	if !slices.Contains(list, any(audience)) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claims == nil {
		c.claims = map[string]map[string]any{}
	}
	c.claims[audience] = claims
	return true
}

// Token makes a JWT for an audience, as an API server would.
func Token(subject string, audiences ...string) string {
	claims, err := json.Marshal(map[string]any{"sub": subject, "aud": audiences})
	if err != nil {
		panic(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".c2ln"
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func form(body string) url.Values {
	v, err := url.ParseQuery(body)
	if err != nil {
		return url.Values{}
	}
	return v
}

// sts answers AssumeRoleWithWebIdentity, as the API reference of AWS STS has it.
func (c *Clouds) sts(w http.ResponseWriter, r *http.Request, body string) {
	f := form(body)
	ok := r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/x-www-form-urlencoded" &&
		f.Get("Action") == "AssumeRoleWithWebIdentity" && f.Get("Version") == "2011-06-15" && len(f.Get("RoleArn")) >= 20 && len(f.Get("RoleSessionName")) >= 2
	if !ok || strings.HasSuffix(f.Get("RoleArn"), "/forbidden") || !c.token(f.Get("WebIdentityToken"), "sts.amazonaws.com") {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error><RequestId>1</RequestId></ErrorResponse>`)
		return
	}
	fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials><SessionToken>%s</SessionToken><SecretAccessKey>%s</SecretAccessKey><Expiration>%s</Expiration><AccessKeyId>%s</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`,
		SessionToken, SecretKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), AccessKey)
}

func (c *Clouds) awsCredentials(w http.ResponseWriter) {
	reply(w, map[string]any{
		"Code": "Success", "AccessKeyId": AccessKey, "SecretAccessKey": SecretKey, "Token": SessionToken, "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	})
}

// awsMetadata is the second version of the instance metadata service: nothing without a session token.
func (c *Clouds) awsMetadata(w http.ResponseWriter, r *http.Request) {
	const session = "imds-session"
	if r.URL.Path == "/latest/api/token" {
		if r.Method != http.MethodPut || r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, session)
		return
	}
	switch {
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != session:
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/":
		fmt.Fprint(w, "node-role")
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/node-role":
		c.awsCredentials(w)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// podIdentity is the agent of EKS Pod Identity, which wants the projected token as it is.
func (c *Clouds) podIdentity(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/credentials" || r.Header.Get("Authorization") != "pod-token" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	c.awsCredentials(w)
}

func (c *Clouds) ecr(w http.ResponseWriter, r *http.Request, body string) {
	service, target, region := "ecr", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken", strings.Split(r.URL.Host, ".")[2]
	public := strings.HasPrefix(r.URL.Host, "api.ecr-public.")
	if public {
		service, target = "ecr-public", "SpencerFrontendService.GetAuthorizationToken"
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" || r.Header.Get("X-Amz-Target") != target || !Signed(r, body, region, service) {
		w.WriteHeader(http.StatusBadRequest)
		reply(w, map[string]string{"__type": "com.amazon.coral.service#InvalidSignatureException", "message": "The request signature we calculated does not match"})
		return
	}
	data := map[string]any{"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:canary-ecr-password")), "expiresAt": float64(time.Now().Add(12*time.Hour).UnixMilli()) / 1000}
	if public {
		reply(w, map[string]any{"authorizationData": data})
		return
	}
	reply(w, map[string]any{"authorizationData": []any{data}})
}

func (c *Clouds) eks(w http.ResponseWriter, r *http.Request, body string) {
	if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/clusters/") || !Signed(r, body, strings.Split(r.URL.Host, ".")[1], "eks") {
		w.WriteHeader(http.StatusForbidden)
		reply(w, map[string]string{"message": "Missing Authentication Token"})
		return
	}
	reply(w, map[string]any{"cluster": map[string]any{"endpoint": "https://ABC.gr7.eu-west-1.eks.amazonaws.com", "certificateAuthority": map[string]string{"data": base64.StdEncoding.EncodeToString([]byte("eks-ca"))}}})
}

// Signed checks a signature of version 4, by the steps that AWS publishes.
func Signed(r *http.Request, body, region, service string) bool {
	fields := map[string]string{}
	rest, isV4 := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	for _, part := range strings.Split(rest, ", ") {
		name, value, _ := strings.Cut(part, "=")
		fields[name] = value
	}
	at := r.Header.Get("X-Amz-Date")
	if !isV4 || len(at) != 16 || r.Header.Get("X-Amz-Security-Token") != SessionToken {
		return false
	}
	scope := at[:8] + "/" + region + "/" + service + "/aws4_request"
	if fields["Credential"] != AccessKey+"/"+scope {
		return false
	}
	var headers strings.Builder
	for _, name := range strings.Split(fields["SignedHeaders"], ";") {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.URL.Host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(value))
	}
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, headers.String(), fields["SignedHeaders"], hash(body)}, "\n")
	return fields["Signature"] == Sign(SecretKey, at, scope, hash(canonical))
}

// Sign is the signature over a canonical request of this hash.
func Sign(secret, at, scope, canonicalHash string) string {
	key := []byte("AWS4" + secret)
	for _, part := range append(strings.Split(scope, "/"), "AWS4-HMAC-SHA256\n"+at+"\n"+scope+"\n"+canonicalHash) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return hex.EncodeToString(key)
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Hash is the SHA-256 of a canonical request, in hex.
func Hash(text string) string { return hash(text) }
