// Package githubapp gets access tokens for installations of GitHub Apps, on github.com and on GitHub Enterprise Server.
//
// An App proves itself with a token that it signs with its private key (RS256, valid for ten minutes) and exchanges
// that for a token of one installation, valid for an hour, which is the password for Git over HTTPS. Tokens keeps
// them: what a thousand objects with the same App need is one token an hour.
//
// The contract is that of GitHub's REST API, "Generating an installation access token for a GitHub App".
package githubapp

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// Keys of a Secret that describes an App.
const (
	KeyAppID             = "githubAppID"
	KeyPrivateKey        = "githubAppPrivateKey"
	KeyInstallationID    = "githubAppInstallationID"
	KeyInstallationOwner = "githubAppInstallationOwner"
	KeyBaseURL           = "githubAppBaseURL"
)

// Username goes with a token as the password.
const Username = "x-access-token"

const defaultBaseURL = "https://api.github.com"

// App is one installation of a GitHub App.
type App struct {
	id           string
	key          *rsa.PrivateKey
	installation string // its id, or
	owner        string // the organisation or user
	base         *url.URL
	// TLS is for the API.
	TLS auth.TLS
	// Proxy to the API; nil lets the environment decide.
	Proxy *url.URL
	// Client, if set, sends the requests instead of one made of TLS and Proxy.
	Client Client
}

// Client sends requests; *http.Client does.
type Client interface {
	Do(*http.Request) (*http.Response, error)
}

// Or is the App with what its Secret leaves out: the address of the API, and the organisation or user.
type Or struct{ BaseURL, Owner string }

// Described tells whether the data of a Secret has a key that describes an App.
func Described(data map[string][]byte) bool {
	for _, key := range []string{KeyAppID, KeyPrivateKey, KeyInstallationID, KeyInstallationOwner, KeyBaseURL} {
		if _, ok := data[key]; ok {
			return true
		}
	}
	return false
}

// Read reads the App that a Secret describes. secret names it in errors.
func Read(secret string, data map[string][]byte) (App, error) { return ReadOr(secret, data, Or{}) }

// ReadOr reads the App that a Secret describes, and takes from or what the Secret leaves out.
func ReadOr(secret string, data map[string][]byte, or Or) (App, error) {
	text := func(key string) string { return strings.TrimSpace(string(data[key])) }
	a := App{id: text(KeyAppID), installation: text(KeyInstallationID), owner: text(KeyInstallationOwner)}
	if a.installation == "" && a.owner == "" {
		a.owner = or.Owner
	}
	bad := func(format string, args ...any) (App, error) {
		return App{}, fmt.Errorf("secret '%s' %s", secret, fmt.Sprintf(format, args...))
	}
	if (a.installation == "") == (a.owner == "") {
		return bad("must contain exactly one of '%s' or '%s'", KeyInstallationOwner, KeyInstallationID)
	}
	for key, value := range map[string]string{KeyAppID: a.id, KeyInstallationID: a.installation} {
		if _, err := strconv.ParseUint(value, 10, 63); err != nil && (value != "" || key == KeyAppID) {
			return bad("must contain a number in '%s'", key)
		}
	}
	var err error
	if a.key, err = parseKey(data[KeyPrivateKey]); err != nil {
		return bad("must contain an RSA private key in PEM format in '%s'", KeyPrivateKey)
	}
	base := cmp.Or(text(KeyBaseURL), or.BaseURL, defaultBaseURL)
	a.base, err = url.Parse(strings.TrimRight(base, "/"))
	if err != nil || a.base.Scheme != "https" && a.base.Scheme != "http" || a.base.Host == "" || a.base.User != nil {
		return bad("must contain the address of an API, such as https://HOST/api/v3, in '%s'", KeyBaseURL)
	}
	files, _, err := auth.ReadTLS(secret, data)
	a.TLS = files
	return a, err
}

func parseKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if rsaKey, ok := key.(*rsa.PrivateKey); ok {
		return rsaKey, nil
	}
	return nil, errors.New("not an RSA key")
}

// Principal names the installation as somebody who holds this private key; it says nothing of the key.
func (a App) Principal() string {
	h := sha256.New()
	proxy := ""
	if a.Proxy != nil {
		proxy = a.Proxy.String()
	}
	for _, part := range []string{a.base.String(), a.id, a.installation, a.owner, a.TLS.Fingerprint(), proxy, string(x509.MarshalPKCS1PrivateKey(a.key))} {
		fmt.Fprintf(h, "%d:%s,", len(part), part)
	}
	return "githubapp:" + hex.EncodeToString(h.Sum(nil))
}

// Lifetime of the App's own token. GitHub allows ten minutes; its clock may differ from ours.
const (
	issuedBefore = time.Minute
	expiresAfter = 9 * time.Minute
)

// assertion is the App's own token.
func (a App) assertion(now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iat": now.Add(-issuedBefore).Unix(), "exp": now.Add(expiresAfter).Unix(), "iss": a.id,
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", errors.New("the App's private key cannot sign")
	}
	return signed + "." + encode(sig), nil
}
