package receivers

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
)

const secretToken = "sample-token"

func sign(algorithm func() hash.Hash, body string) string {
	mac := hmac.New(algorithm, []byte(secretToken))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

// valid is a call that a type accepts. The suite then takes it apart.
type valid struct {
	body   string
	header map[string]string
	// proof is the header without which, or with another value of which, nothing is accepted; none
	// where the path is the only secret.
	proof string
	// signed says that the proof depends on the body.
	signed bool
	// event is the header with the name of the event.
	event string
	// shape says that the body must decode.
	shape bool
}

func calls(g *google) map[string]valid {
	body := `{"ref":"refs/heads/main"}`
	json := func(pairs ...string) map[string]string {
		h := map[string]string{"Content-Type": "application/json"}
		for i := 0; i+1 < len(pairs); i += 2 {
			h[pairs[i]] = pairs[i+1]
		}
		return h
	}
	data := base64.StdEncoding.EncodeToString([]byte(`{"action":"INSERT","digest":"d","tag":"t"}`))
	cd := `{"context":{"version":"0.4.1","id":"1","source":"/ci","type":"dev.cdevents.artifact.published.0.2.0","timestamp":"2026-01-02T03:04:05Z"},"subject":{"id":"x","type":"artifact","content":{}}}`
	return map[string]valid{
		"generic":      {body: body},
		"generic-hmac": {body: body, header: json("X-Signature", "sha512="+sign(sha512.New, body)), proof: "X-Signature", signed: true},
		"github":       {body: body, header: json("X-Hub-Signature-256", "sha256="+sign(sha256.New, body), "X-GitHub-Event", "push"), proof: "X-Hub-Signature-256", signed: true, event: "X-GitHub-Event"},
		"gitlab":       {body: body, header: json("X-Gitlab-Token", secretToken, "X-Gitlab-Event", "Push Hook"), proof: "X-Gitlab-Token", event: "X-Gitlab-Event"},
		"bitbucket":    {body: body, header: json("X-Hub-Signature", "sha256="+sign(sha256.New, body), "X-Event-Key", "repo:refs_changed"), proof: "X-Hub-Signature", signed: true, event: "X-Event-Key"},
		"harbor":       {body: body, header: json("Authorization", secretToken), proof: "Authorization"},
		"dockerhub":    {body: `{"push_data":{"tag":"v1"},"repository":{"repo_url":"u"}}`, shape: true},
		"quay":         {body: `{"docker_url":"u","updated_tags":["v1"]}`, shape: true},
		"acr":          {body: `{"action":"push","target":{"repository":"r","tag":"t"}}`, shape: true},
		"nexus":        {body: `{"action":"CREATED","repositoryName":"r"}`, header: json("X-Nexus-Webhook-Signature", sign(sha1.New, `{"action":"CREATED","repositoryName":"r"}`)), proof: "X-Nexus-Webhook-Signature", signed: true, shape: true},
		"cdevents":     {body: cd, header: json("Ce-Type", "dev.cdevents.artifact.published.0.2.0"), event: "Ce-Type", shape: true},
		"gcr":          {body: `{"message":{"data":"` + data + `"}}`, header: json("Authorization", "Bearer "+g.token(nil)), proof: "Authorization", shape: true},
		"generic-oidc": {body: body, header: json("Authorization", "Bearer "+g.token(map[string]any{"aud": defaultAudience})), proof: "Authorization"},
	}
}

func (v valid) call(name string, g *google) *Call {
	h := http.Header{}
	for k, value := range v.header {
		h.Set(k, value)
	}
	c := &Call{
		Header: h, Body: []byte(v.body),
		Receiver: &notificationv1.Receiver{Spec: notificationv1.ReceiverSpec{Type: name, SecretRef: &meta.LocalObjectReference{Name: "s"}}},
		Secret:   map[string][]byte{"token": []byte(secretToken), "email": []byte(googleEmail), "audience": []byte(googleAudience)},
	}
	if name == "generic-oidc" {
		c.Receiver.Spec.SecretRef, c.Secret = nil, nil
		c.Receiver.Spec.OIDCProviders = []notificationv1.OIDCProvider{{
			IssuerURL: g.server.URL, Validations: []notificationv1.OIDCValidation{{Expression: "claims.email == '" + googleEmail + "'", Message: "wrong person"}},
		}}
	}
	return c
}

func TestContract(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	all := calls(g)
	for _, name := range Names() {
		v, ok := all[name]
		if !ok {
			t.Errorf("%s has no row in the contract suite", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused := func(reason string, change func(*Call)) {
				t.Helper()
				c := v.call(name, g)
				change(c)
				if _, err := Accept(t.Context(), g.oidc, c); err == nil {
					t.Errorf("%s is accepted", reason)
				} else if strings.Contains(err.Error(), secretToken) {
					t.Errorf("%s: the error shows the token: %v", reason, err)
				}
			}
			result, err := Accept(t.Context(), g.oidc, v.call(name, g))
			if err != nil {
				t.Fatalf("a valid call is refused: %v", err)
			}
			if name == "gcr" && result.Request["tag"] != "t" {
				t.Errorf("filters see %v", result.Request)
			}
			if name == "generic-oidc" && result.Claims["email"] != googleEmail {
				t.Errorf("filters see the claims %v", result.Claims)
			}
			if v.proof != "" {
				refused("no proof", func(c *Call) { c.Header.Del(v.proof) })
				refused("an empty proof", func(c *Call) { c.Header.Set(v.proof, "") })
				refused("another proof", func(c *Call) { c.Header.Set(v.proof, flip(c.Header.Get(v.proof))) })
				refused("half a proof", func(c *Call) { p := c.Header.Get(v.proof); c.Header.Set(v.proof, p[:len(p)/2]) })
				refused("an unknown algorithm", func(c *Call) { c.Header.Set(v.proof, "md5=00") })
			}
			if v.proof != "" && name != "generic-oidc" {
				refused("a Secret without data", func(c *Call) { c.Secret = nil })
			}
			if v.signed {
				refused("another body", func(c *Call) { c.Body = append(c.Body, ' ') })
				refused("another token", func(c *Call) { c.Secret["token"] = []byte("other") })
				refused("a signature with an empty key", func(c *Call) {
					mac := hmac.New(sha256.New, nil)
					mac.Write(c.Body)
					c.Secret["token"] = nil
					c.Header.Set(v.proof, "sha256="+hex.EncodeToString(mac.Sum(nil)))
				})
			}
			if v.shape && !v.signed {
				for _, body := range []string{"", "{", "[]", `"x"`, "\x00"} {
					refused("the body "+body, func(c *Call) { c.Body = []byte(body) })
				}
			}
			if v.event != "" {
				v.events(t, name, g, refused)
			}
		})
	}
}

// flip changes the last character.
func flip(s string) string {
	// Four from the end: the last character of a token carries bits that decode to nothing.
	at, other := len(s)-4, "0"
	if s[at] == '0' {
		other = "1"
	}
	return s[:at] + other + s[at+1:]
}

func (v valid) events(t *testing.T, name string, g *google, refused func(string, func(*Call))) {
	t.Helper()
	refused("an event that is not listed", func(c *Call) { c.Receiver.Spec.Events = []string{"other"} })
	refused("a missing event", func(c *Call) { c.Receiver.Spec.Events = []string{"other"}; c.Header.Del(v.event) })
	c := v.call(name, g)
	c.Receiver.Spec.Events = []string{"other", strings.ToUpper(v.header[v.event])}
	if _, err := Accept(t.Context(), g.oidc, c); err != nil {
		t.Errorf("the case of an event counts: %v", err)
	}
}

// The reasons in the log are those of the recorded run.
func TestReasons(t *testing.T) {
	t.Parallel()
	body := `{"ref":"refs/heads/main"}`
	for _, tt := range []struct {
		name   string
		header map[string]string
		want   string
	}{
		{"github", map[string]string{"X-Hub-Signature-256": "sha256=b97527e1a894597fb8e56c8944a4cf06916f6eb13e25317c98969bd06fd086bb"}, "the GitHub signature header is invalid, err: payload signature check failed"},
		{"github", nil, "the GitHub signature header is invalid, err: missing signature"},
		{"github", map[string]string{"X-Hub-Signature-256": "sha256=3e154a0cd7194d85325a4e641b99a392cdf633deb8144c75a41349c9aee68fa5", "X-GitHub-Event": "fork", "Content-Type": "application/json"}, `the GitHub event "fork" is not authorised`},
		{"gitlab", map[string]string{"X-Gitlab-Token": "nope"}, "the X-Gitlab-Token header value does not match the receiver token"},
		{"generic-hmac", map[string]string{"X-Signature": "sha256=00"}, "unable to validate HMAC signature: payload signature check failed"},
	} {
		c := valid{body: body, header: tt.header}.call(tt.name, nil)
		c.Receiver.Spec.Events = []string{"ping", "push"}
		if _, err := Accept(t.Context(), nil, c); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func FuzzAccept(f *testing.F) {
	f.Add("cdevents", []byte(`{"context":{},"subject":{"content":null}}`), "sha256=00")
	f.Add("github", []byte("payload={}"), "sha1=")
	f.Add("quay", []byte(`null`), "")
	f.Add("generic-oidc", []byte(`{}`), "Bearer a.e30.c")
	f.Fuzz(func(t *testing.T, name string, body []byte, proof string) {
		h := http.Header{}
		for _, k := range []string{"Authorization", "X-Signature", "X-Hub-Signature", "X-Hub-Signature-256", "X-Gitlab-Token", "X-Nexus-Webhook-Signature"} {
			h.Set(k, proof)
		}
		h.Set("Content-Type", "application/json")
		c := &Call{Header: h, Body: body, Receiver: &notificationv1.Receiver{Spec: notificationv1.ReceiverSpec{Type: name}}, Secret: map[string][]byte{"token": []byte(secretToken)}}
		_, _ = Accept(t.Context(), NewOIDC(nowhere{}), c)
		_, _ = c.JSON()
	})
}
