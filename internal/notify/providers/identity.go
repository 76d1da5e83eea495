package providers

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// minted keeps an access token until shortly before it ends.
type minted struct {
	mu    sync.Mutex
	token string
	ends  time.Time
}

func (m *minted) get(mint func() (token string, life time.Duration, err error)) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Until(m.ends) > time.Minute {
		return m.token, nil
	}
	token, life, err := mint()
	if err != nil {
		return "", err
	}
	m.token, m.ends = token, time.Now().Add(life)
	return token, nil
}

// tokenAnswer is what OAuth 2 token endpoints and metadata services give. Azure's metadata service
// puts the number in quotes.
type tokenAnswer struct {
	Token   string      `json:"access_token"`
	Expires json.Number `json:"expires_in"`
}

func readTokenAnswer(data []byte) (string, time.Duration, error) {
	var a tokenAnswer
	if err := json.Unmarshal(data, &a); err != nil || a.Token == "" {
		return "", 0, refused("the identity service answered without a token")
	}
	seconds, err := a.Expires.Int64()
	if err != nil || seconds <= 0 {
		seconds = 300
	}
	return a.Token, time.Duration(seconds) * time.Second, nil
}

// own is the client for the identity services of the machine that the controller runs on: they are
// at addresses which the policy is there to keep others from.
func (c *Config) own() *Config {
	out := *c
	out.HTTP = &http.Client{
		Transport:     &http.Transport{DialContext: Policy{}.Dialer().DialContext, DisableKeepAlives: true},
		CheckRedirect: sameHost,
	}
	if c.transport != nil {
		out.HTTP.Transport = c.transport
	}
	return &out
}

func (c *Config) postForm(ctx context.Context, address string, form url.Values) ([]byte, error) {
	return c.do(ctx, request{
		method: http.MethodPost, url: address, body: []byte(form.Encode()), header: header("Content-Type", "application/x-www-form-urlencoded"),
	})
}

// azureToken is the controller's identity at Azure, for a resource: a federated token where workload
// identity is set up, else the managed identity of the node.
func (c *Config) azureToken(ctx context.Context, resource string) (string, time.Duration, error) {
	file, tenant, id := os.Getenv("AZURE_FEDERATED_TOKEN_FILE"), os.Getenv("AZURE_TENANT_ID"), os.Getenv("AZURE_CLIENT_ID")
	if file == "" || tenant == "" || id == "" {
		return c.azureManaged(ctx, resource, id)
	}
	assertion, err := os.ReadFile(file)
	if err != nil {
		return "", 0, passing("the federated token of AZURE_FEDERATED_TOKEN_FILE cannot be read")
	}
	authority := os.Getenv("AZURE_AUTHORITY_HOST")
	if authority == "" {
		authority = "https://login.microsoftonline.com/"
	}
	answer, err := c.own().postForm(ctx, strings.TrimSuffix(authority, "/")+"/"+url.PathEscape(tenant)+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "scope": {resource + "/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {strings.TrimSpace(string(assertion))},
	})
	if err != nil {
		return "", 0, err
	}
	return readTokenAnswer(answer)
}

func (c *Config) azureManaged(ctx context.Context, resource, id string) (string, time.Duration, error) {
	q := url.Values{"api-version": {"2018-02-01"}, "resource": {resource}}
	if id != "" {
		q.Set("client_id", id)
	}
	answer, err := c.own().do(ctx, request{
		method: http.MethodGet, url: "http://169.254.169.254/metadata/identity/oauth2/token?" + q.Encode(), header: header("Metadata", "true"),
	})
	if err != nil {
		return "", 0, err
	}
	return readTokenAnswer(answer)
}
