package receivers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/time/rate"
)

const (
	oidcTimeout   = 10 * time.Second
	maxOIDCAnswer = 1 << 20
	// issuerLife is how long an issuer's description counts; its keys are looked up as they change.
	issuerLife = time.Hour
	maxIssuers = 200
	maxToken   = 16 << 10
)

// Google's issuer and where it keeps its keys.
const (
	googleIssuer = "https://accounts.google.com"
	googleKeys   = "https://www.googleapis.com/oauth2/v3/certs"
)

// OIDC verifies tokens of issuers, whose descriptions and keys it fetches when they are first needed.
type OIDC struct {
	client *http.Client
	google string

	mu      sync.Mutex
	issuers map[string]*issuer
	keys    oidc.KeySet
}

type issuer struct {
	provider *oidc.Provider
	found    time.Time
}

// NewOIDC returns a verifier that connects through transport.
func NewOIDC(transport http.RoundTripper) *OIDC {
	return &OIDC{
		google: googleKeys, issuers: map[string]*issuer{},
		client: &http.Client{
			Timeout: oidcTimeout,
			// A token with an unknown key makes us ask for keys, so anybody could make us ask often.
			Transport: &limited{base: transport, hosts: map[string]*rate.Limiter{}, others: newLimit()},
			CheckRedirect: func(r *http.Request, via []*http.Request) error {
				if r.URL.Host != via[0].URL.Host || len(via) > 3 {
					return errors.New("the issuer redirects to another host")
				}
				return nil
			},
		},
	}
}

// context carries the client; keys are fetched with it long after a call has ended.
func (o *OIDC) context() context.Context { return oidc.ClientContext(context.Background(), o.client) }

// verify checks signature, issuer, audience and expiry of a token and returns its claims.
func (o *OIDC) verify(ctx context.Context, issuerURL, audience, token string) (map[string]any, error) {
	provider, err := o.issuer(ctx, issuerURL)
	if err != nil {
		return nil, err
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: audience}).Verify(oidc.ClientContext(ctx, o.client), token)
	if err != nil {
		return nil, fmt.Errorf("the token is not valid: %w", err)
	}
	claims := map[string]any{}
	return claims, verified.Claims(&claims)
}

// issuer discovers an issuer, once in a while.
func (o *OIDC) issuer(ctx context.Context, issuerURL string) (*oidc.Provider, error) {
	o.mu.Lock()
	have := o.issuers[issuerURL]
	o.mu.Unlock()
	if have != nil && time.Since(have.found) < issuerLife {
		return have.provider, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	p, err := oidc.NewProvider(o.context(), issuerURL)
	if err != nil {
		return nil, fmt.Errorf("discovery of the issuer failed: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.issuers) >= maxIssuers {
		clear(o.issuers)
	}
	o.issuers[issuerURL] = &issuer{p, time.Now()}
	return p, nil
}

// verifyGoogle checks a token that Google has given to a service account.
func (o *OIDC) verifyGoogle(ctx context.Context, audience, token string) (*googleClaims, error) {
	o.mu.Lock()
	if o.keys == nil {
		o.keys = oidc.NewRemoteKeySet(o.context(), o.google)
	}
	keys := o.keys
	o.mu.Unlock()
	// Google leaves the scheme out of some issuers, so that is checked here.
	verifier := oidc.NewVerifier(googleIssuer, keys, &oidc.Config{ClientID: audience, SkipIssuerCheck: true})
	verified, err := verifier.Verify(oidc.ClientContext(ctx, o.client), token)
	if err != nil {
		return nil, fmt.Errorf("the token is not valid: %w", err)
	}
	if verified.Issuer != googleIssuer && verified.Issuer != strings.TrimPrefix(googleIssuer, "https://") {
		return nil, errors.New("the token's issuer is not Google")
	}
	claims := &googleClaims{}
	return claims, verified.Claims(claims)
}

type googleClaims struct {
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
}

// bearer returns the token of a call.
func (c *Call) bearer() (string, error) {
	scheme, token, ok := strings.Cut(c.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", errors.New("the Authorization header is missing or holds no bearer token")
	}
	if len(token) > maxToken {
		return "", errors.New("the bearer token is too long")
	}
	return token, nil
}

// issuerOf reads the issuer of a token that was not verified yet, to know who has to vouch for it.
func issuerOf(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("the bearer token is not a JSON Web Token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", errors.New("the bearer token is not a JSON Web Token")
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", errors.New("the bearer token is not a JSON Web Token")
	}
	if _, err := url.Parse(claims.Issuer); err != nil || claims.Issuer == "" {
		return "", errors.New("the token names no issuer")
	}
	return claims.Issuer, nil
}
