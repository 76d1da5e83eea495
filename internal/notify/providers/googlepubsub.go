package providers

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"time"
)

func init() { register(Type{Name: "googlepubsub", New: newPubSub}) }

const (
	pubSubAPI     = "https://pubsub.googleapis.com/v1"
	pubSubScope   = "https://www.googleapis.com/auth/pubsub"
	googleTokens  = "https://oauth2.googleapis.com/token"
	googleMachine = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
)

// pubSub publishes to a topic of Google Pub/Sub, as the service account whose key the Secret holds, or
// as the controller.
type pubSub struct {
	*Config
	url     string
	account *googleAccount
	own     minted
}

// googleAccount is the key file of a service account.
type googleAccount struct {
	Type     string `json:"type"`
	Email    string `json:"client_email"`
	Key      string `json:"private_key"`
	KeyID    string `json:"private_key_id"`
	TokenURI string `json:"token_uri"`
	key      *rsa.PrivateKey
}

func newPubSub(c *Config) (Sender, error) {
	if c.Address == "" || !plainID(c.Address) {
		return nil, errors.New("address must be the id of the Google Cloud project")
	}
	if err := c.needChannel("the id of the Pub/Sub topic"); err != nil {
		return nil, err
	}
	p := &pubSub{Config: c, url: pubSubAPI + "/projects/" + url.PathEscape(c.Address) + "/topics/" + url.PathEscape(c.Channel) + ":publish"}
	if c.Token == "" {
		return p, nil
	}
	p.account = &googleAccount{TokenURI: googleTokens}
	if err := json.Unmarshal([]byte(c.Token), p.account); err != nil || p.account.Type != "service_account" {
		return nil, errors.New("the Secret's key 'token' must be the JSON key file of a service account")
	}
	block, _ := pem.Decode([]byte(p.account.Key))
	if block == nil {
		return nil, errors.New("the Secret's key 'token' holds no private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the Secret's key 'token' holds no private key")
	}
	var ok bool
	if p.account.key, ok = key.(*rsa.PrivateKey); !ok {
		return nil, errors.New("the Secret's key 'token' holds no RSA key")
	}
	return p, nil
}

// plainID tells whether an id is free of what would change the meaning of a URL.
func plainID(s string) bool { return url.PathEscape(s) == s }

type pubSubMessage struct {
	Data       []byte            `json:"data"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

func (p *pubSub) Send(ctx context.Context, n *Notification) error {
	data, err := json.Marshal(n.Event)
	if err != nil {
		return refused("the event cannot be encoded: %v", err)
	}
	token, err := p.own.get(func() (string, time.Duration, error) { return p.mint(ctx) })
	if err != nil {
		return err
	}
	_, err = p.postJSON(ctx, p.url, map[string]any{"messages": []pubSubMessage{{Data: data, Attributes: p.Headers}}}, header("Authorization", "Bearer "+token))
	return err
}

// mint gets an access token.
func (p *pubSub) mint(ctx context.Context) (string, time.Duration, error) {
	if p.account == nil {
		answer, err := p.Config.own().do(ctx, request{method: http.MethodGet, url: googleMachine, header: header("Metadata-Flavor", "Google")})
		if err != nil {
			return "", 0, err
		}
		return readTokenAnswer(answer)
	}
	now := time.Now()
	assertion, err := signRS256(p.account.key, map[string]any{"kid": p.account.KeyID}, map[string]any{
		"iss": p.account.Email, "scope": pubSubScope, "aud": p.account.TokenURI, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	if err != nil {
		return "", 0, refused("%v", err)
	}
	answer, err := p.postForm(ctx, p.account.TokenURI, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}})
	if err != nil {
		return "", 0, err
	}
	return readTokenAnswer(answer)
}
