package receivers

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Tokens that somebody makes up about one issuer do not keep those of another from being verified.
func TestForgedTokensOfOneIssuerDoNotStopAnother(t *testing.T) {
	t.Parallel()
	victim, other := newGoogle(t), newGoogle(t)
	other.oidc = victim.oidc // one process
	forger, _ := rsa.GenerateKey(rand.Reader, 2048)
	v := calls(victim)["generic-oidc"]
	try := func(g *google, token string) error {
		c := v.call("generic-oidc", g)
		c.Receiver.Spec.OIDCProviders[0].IssuerURL = g.server.URL
		c.Header.Set("Authorization", "Bearer "+token)
		_, err := Accept(t.Context(), g.oidc, c)
		return err
	}
	for range 100 {
		claims := map[string]any{"iss": victim.server.URL, "aud": defaultAudience, "exp": time.Now().Add(time.Hour).Unix()}
		if err := try(victim, victim.signed(forger, jose.RS256, claims)); err == nil {
			t.Fatal("a forged token is accepted")
		}
	}
	if err := try(other, other.token(map[string]any{"aud": defaultAudience})); err != nil {
		t.Errorf("another issuer's token: %v", err)
	}
}

type silent struct{}

func (silent) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(""))}, nil
}

// Hosts that tenants make up take little memory, and share a limit when they are too many.
func TestLimitsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := NewOIDC(silent{}).client.Transport.(*limited)
		ask := func(host string) error {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/", nil)
			resp, err := l.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		}
		refused := 0
		for i := range 2 * maxLimits {
			if ask(fmt.Sprint("host", i)) != nil {
				refused++
			}
		}
		if len(l.hosts) != maxLimits || refused != maxLimits-lookUps {
			t.Errorf("%d limits, %d refused", len(l.hosts), refused)
		}
		time.Sleep(time.Minute) // the bubble's clock
		for i := range lookUps + 1 {
			if err := ask("New.example.com"); (err != nil) != (i == lookUps) {
				t.Errorf("look-up %d: %v", i, err)
			}
		}
		if len(l.hosts) != 1 {
			t.Errorf("%d limits are left a minute later", len(l.hosts))
		}
	})
}
