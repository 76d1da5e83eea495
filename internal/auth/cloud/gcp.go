package cloud

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// scopeGCP is what tokens are good for; what they may do is up to IAM.
const scopeGCP = "https://www.googleapis.com/auth/cloud-platform"

var (
	gcpProvider = pattern(`^projects/\d{1,30}/locations/global/workloadIdentityPools/[^/]{1,100}/providers/[^/]{1,100}$`)
	gcpAccount  = pattern(`^[a-zA-Z0-9._-]{1,100}@[a-zA-Z0-9.-]{1,200}\.gserviceaccount\.com$`)
)

// GCP returns an access token of Google Cloud.
func (c *Clouds) GCP(ctx context.Context, id Identity) (Token, error) {
	value, until, err := kept(ctx, c, "gcp/"+id.key(), func(ctx context.Context) (string, time.Time, error) {
		if id.Account == nil {
			return c.gcpOwn(ctx, id)
		}
		return c.gcpAccountToken(ctx, id)
	})
	return Token{Value: value, Until: until}, err
}

// gcpAccountToken exchanges a token of the account for one of the workload identity pool, and that for one of a service
// account of Google's if the annotations name one.
func (c *Clouds) gcpAccountToken(ctx context.Context, id Identity) (string, time.Time, error) {
	a := id.Account
	email := a.Annotations[annotationGCPAccount]
	if email != "" && !gcpAccount().MatchString(email) {
		return "", time.Time{}, fmt.Errorf("invalid annotation '%s' of the service account '%s': '%s' is not the address of a service account", annotationGCPAccount, a, email)
	}
	subject, audience, err := c.gcpAudiences(ctx, a)
	if err != nil {
		return "", time.Time{}, err
	}
	minted, err := c.mint(ctx, a, subject)
	if err != nil {
		return "", time.Time{}, err
	}
	const service = "Google Security Token Service"
	body, err := json.Marshal(map[string]string{
		"grantType": "urn:ietf:params:oauth:grant-type:token-exchange", "audience": audience, "scope": scopeGCP,
		"requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
		"subjectToken":       minted, "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
	})
	if err != nil {
		return "", time.Time{}, err
	}
	answer, err := c.do(ctx, id, call{
		method: http.MethodPost, url: "https://sts.googleapis.com/v1/token", body: body, service: service,
		header: http.Header{"Content-Type": {"application/json"}},
	})
	if err != nil {
		return "", time.Time{}, err
	}
	token, ends, err := c.readOAuth(service, answer)
	if err != nil || email == "" {
		return token, ends, err
	}
	return c.impersonate(ctx, id, token, email)
}

// gcpAudiences is for whom the account's token is, and what it is exchanged at: the pool that the annotation names, or
// that of the GKE cluster that the controller runs in.
func (c *Clouds) gcpAudiences(ctx context.Context, a *Account) (subject, audience string, err error) {
	if provider := a.Annotations[annotationGCPProvider]; provider != "" {
		if !gcpProvider().MatchString(provider) {
			return "", "", fmt.Errorf("invalid annotation '%s' of the service account '%s': '%s' does not match %s", annotationGCPProvider, a, provider, gcpProvider())
		}
		audience = "//iam.googleapis.com/" + provider
		return audience, audience, nil
	}
	var parts [3]string
	for i, path := range []string{"project/project-id", "instance/attributes/cluster-location", "instance/attributes/cluster-name"} {
		if parts[i], err = c.gcpMetadata(ctx, path); err != nil {
			return "", "", fmt.Errorf("outside of GKE the service account '%s' needs the annotation '%s': %w", a, annotationGCPProvider, err)
		}
	}
	pool := parts[0] + ".svc.id.goog"
	return pool, fmt.Sprintf("identitynamespace:%s:https://container.googleapis.com/v1/projects/%s/locations/%s/clusters/%s", pool, parts[0], parts[1], parts[2]), nil
}

// impersonate gets a token of a service account of Google's.
func (c *Clouds) impersonate(ctx context.Context, id Identity, token, email string) (string, time.Time, error) {
	const service = "Google IAM Credentials"
	answer, err := c.do(ctx, id, call{
		method: http.MethodPost, service: service, body: []byte(`{"scope":["` + scopeGCP + `"]}`),
		url:    "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + url.PathEscape(email) + ":generateAccessToken",
		header: http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}},
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("service account '%s': %w", email, err)
	}
	var got struct {
		Token   string    `json:"accessToken"`
		Expires time.Time `json:"expireTime"`
	}
	if err := decode(service, answer, &got); err != nil {
		return "", time.Time{}, err
	}
	if got.Token == "" {
		return "", time.Time{}, fmt.Errorf("%s: the answer holds no token", service)
	}
	return got.Token, got.Expires, nil
}

// gcpOwn is the controller's own identity: the file of GOOGLE_APPLICATION_CREDENTIALS, else the metadata server.
func (c *Clouds) gcpOwn(ctx context.Context, id Identity) (string, time.Time, error) {
	if file := c.opts.Getenv("GOOGLE_APPLICATION_CREDENTIALS"); file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", time.Time{}, fmt.Errorf("GOOGLE_APPLICATION_CREDENTIALS: %w", err)
		}
		client := c.client(id, false)
		defer client.CloseIdleConnections()
		ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
		//lint:ignore SA1019 the file is the operator's own, of whatever kind
		credentials, err := google.CredentialsFromJSON(ctx, data, scopeGCP)
		if err != nil {
			return "", time.Time{}, fmt.Errorf("GOOGLE_APPLICATION_CREDENTIALS: %w", err)
		}
		return oauthToken(credentials.TokenSource)
	}
	answer, err := c.gcpMetadata(ctx, "instance/service-accounts/default/token")
	if err != nil {
		return "", time.Time{}, fmt.Errorf("gcp: %w: %w", ErrNoIdentity, err)
	}
	return c.readOAuth(gcpMetadataService, []byte(answer))
}

// serviceAccountKey is what is read of a key file before it is used.
type serviceAccountKey struct {
	Type     string `json:"type"`
	TokenURI string `json:"token_uri"`
}

// GCPKey returns an access token for a key file of a service account, which somebody else has written: other kinds of
// credentials, which read files or ask any host, are refused.
func (c *Clouds) GCPKey(ctx context.Context, key []byte, proxy *url.URL) (Token, error) {
	var file serviceAccountKey
	if err := json.Unmarshal(key, &file); err != nil || file.Type != "service_account" {
		return Token{}, fmt.Errorf("the key is not a JSON file of the type 'service_account'")
	}
	if u, err := url.Parse(file.TokenURI); err != nil || u.Scheme != "https" || u.Hostname() != "googleapis.com" && !strings.HasSuffix(u.Hostname(), ".googleapis.com") && u.Hostname() != "accounts.google.com" {
		return Token{}, fmt.Errorf("the key's token_uri is not an https address of googleapis.com")
	}
	config, err := google.JWTConfigFromJSON(key, scopeGCP)
	if err != nil {
		return Token{}, fmt.Errorf("the key is not valid") // The cause may repeat parts of it.
	}
	id := Identity{Proxy: proxy}
	value, until, err := kept(ctx, c, "gcp/key/"+id.key()+string(key), func(ctx context.Context) (string, time.Time, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		client := c.client(id, false)
		defer client.CloseIdleConnections()
		client.Transport = within{ctx, client.Transport}
		return oauthToken(config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client)))
	})
	return Token{Value: value, Until: until}, err
}

// within bounds requests of a library that makes them without a context.
type within struct {
	ctx  context.Context
	base http.RoundTripper
}

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
	return w.base.RoundTrip(r.WithContext(w.ctx))
}

func oauthToken(s oauth2.TokenSource) (string, time.Time, error) {
	t, err := s.Token()
	if err == nil {
		return t.AccessToken, t.Expiry, nil
	}
	const service = "Google OAuth 2"
	if r, ok := err.(*oauth2.RetrieveError); ok {
		return "", time.Time{}, answered(service, r.Response, r.Body)
	}
	return "", time.Time{}, fmt.Errorf("%s cannot be asked: %w", service, bare(err))
}

const gcpMetadataService = "the Google metadata server"

func (c *Clouds) gcpMetadata(ctx context.Context, path string) (string, error) {
	host := cmp.Or(c.opts.Getenv("GCE_METADATA_HOST"), "169.254.169.254")
	answer, err := c.do(ctx, Identity{}, call{
		method: http.MethodGet, url: "http://" + host + "/computeMetadata/v1/" + path,
		header: http.Header{"Metadata-Flavor": {"Google"}}, service: gcpMetadataService, local: true,
	})
	return strings.TrimSpace(string(answer)), err
}

var gcpRegistry = pattern(`^(gcr\.io|[a-z0-9-]+\.gcr\.io|[a-z0-9-]+-docker\.pkg\.dev|docker\.s3nsregistry\.fr|[a-z0-9-]+-docker\.s3nsregistry\.fr)$`)

func checkGCPRegistry(host string) error {
	if gcpRegistry().MatchString(host) {
		return nil
	}
	return fmt.Errorf("invalid GCP registry: '%s'. must match %s", host, gcpRegistry())
}

// gcpRegistryLogin logs in to the Artifact Registry, or what answers for the Container Registry.
func (c *Clouds) gcpRegistryLogin(ctx context.Context, id Identity, host string) (auth.Login, time.Time, error) {
	if err := checkGCPRegistry(host); err != nil {
		return auth.Login{}, time.Time{}, err
	}
	t, err := c.GCP(ctx, id)
	return auth.Login{Username: "oauth2accesstoken", Password: t.Value}, t.Until, err
}

var gkeCluster = pattern(`^projects/[^/?#]{1,200}/locations/[^/?#]{1,100}/clusters/[^/?#]{1,100}$`)

// gkeDescribe finds out where a cluster is. Its address by name is trusted by public authorities.
func (c *Clouds) gkeDescribe(ctx context.Context, id Identity, cluster string) (addresses []string, ca []byte, err error) {
	const service = "Google Kubernetes Engine"
	token, err := c.GCP(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	answer, err := c.do(ctx, id, call{
		method: http.MethodGet, url: "https://container.googleapis.com/v1/" + cluster,
		header: http.Header{"Authorization": {"Bearer " + token.Value}}, service: service,
	})
	if err != nil {
		return nil, nil, err
	}
	var got struct {
		Endpoint string `json:"endpoint"`
		Auth     struct {
			CA string `json:"clusterCaCertificate"`
		} `json:"masterAuth"`
		Endpoints struct {
			DNS struct {
				Endpoint string `json:"endpoint"`
			} `json:"dnsEndpointConfig"`
		} `json:"controlPlaneEndpointsConfig"`
	}
	if err := decode(service, answer, &got); err != nil {
		return nil, nil, err
	}
	if got.Endpoint == "" {
		return nil, nil, fmt.Errorf("%s: the cluster '%s' has no endpoint yet", service, cluster)
	}
	if ca, err = base64.StdEncoding.DecodeString(got.Auth.CA); err != nil {
		return nil, nil, fmt.Errorf("%s: the authority of the cluster is not base64", service)
	}
	addresses = []string{"https://" + got.Endpoint}
	if dns := got.Endpoints.DNS.Endpoint; dns != "" {
		addresses = append(addresses, "https://"+dns)
	}
	return addresses, ca, nil
}
