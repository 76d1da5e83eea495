package providers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
)

const (
	maxAddress     = 2048
	defaultTimeout = 15 * time.Second
)

// Keys of the Secret that several types read.
const (
	keyAddress  = "address"
	keyProxy    = "proxy"
	keyUsername = "username"
	keyPassword = "password"
	keyToken    = "token"
	keyHeaders  = "headers"
)

// Config is a Provider with what its Secrets say, as plain values.
type Config struct {
	Provider *notificationv1.Provider
	Address  string
	Channel  string
	Username string
	Password string
	Token    string
	Headers  map[string]string
	// Secret is all of the Secret that secretRef names, for types with keys of their own.
	Secret map[string][]byte
	TLS    auth.TLS
	// Proxy to send through; nil: that of the environment.
	Proxy *url.URL
	// Timeout of one attempt.
	Timeout time.Duration
	// Clouds and Account are the identity at clouds, for types that log in without a token: the
	// controller's own without an Account.
	Clouds  *cloud.Clouds
	Account *cloud.Account
	// Policy on addresses.
	Policy Policy
	// Mails is what is known of earlier mails; nil: nothing is kept.
	Mails *Mails
	// RevisionURL finds a page that shows a revision; nil: none is found.
	RevisionURL func(ctx context.Context, n *Notification) string
	// Warnings about the Provider, such as keys of old.
	Warnings []string

	// HTTP is the client of all types that speak HTTP; set by Open.
	HTTP *http.Client
	// transport replaces the network in tests.
	transport http.RoundTripper
}

// Secrets reads the data of a Secret in the Provider's namespace.
type Secrets func(name string) (map[string][]byte, error)

// Read gathers the configuration of a Provider.
func Read(p *notificationv1.Provider, secrets Secrets) (*Config, error) {
	c := &Config{
		Provider: p, Address: p.Spec.Address, Channel: p.Spec.Channel, Username: p.Spec.Username,
		Timeout: p.Spec.Timeout.ValueOr(defaultTimeout),
	}
	proxy := p.Spec.Proxy
	if ref := p.Spec.SecretRef; ref != nil {
		data, err := secrets(ref.Name)
		if err != nil {
			return nil, fmt.Errorf("failed to read secret: %w", err)
		}
		if err := c.readSecret(ref.Name, data); err != nil {
			return nil, err
		}
		if v, ok := data[keyProxy]; ok {
			proxy = text(v)
			c.Warnings = append(c.Warnings, "the key 'proxy' of the Secret is deprecated, use proxySecretRef")
		}
	}
	if err := c.readTLS(secrets); err != nil {
		return nil, err
	}
	return c, c.readProxy(proxy, secrets)
}

func text(v []byte) string { return strings.TrimSpace(string(v)) }

// readSecret takes what the Secret says in place of the spec.
func (c *Config) readSecret(name string, data map[string][]byte) error {
	c.Secret = data
	c.Address = cmp.Or(text(data[keyAddress]), c.Address)
	c.Username = cmp.Or(text(data[keyUsername]), c.Username)
	c.Password, c.Token = text(data[keyPassword]), text(data[keyToken])
	if len(c.Address) > maxAddress {
		return fmt.Errorf("invalid address in secret '%s': it is longer than %d characters", name, maxAddress)
	}
	if raw, ok := data[keyHeaders]; ok {
		if err := yaml.Unmarshal(raw, &c.Headers); err != nil {
			return fmt.Errorf("invalid '%s' in secret '%s': it is not a YAML map of strings", keyHeaders, name)
		}
	}
	return nil
}

// readTLS takes the files of certSecretRef; commit statuses may have theirs beside the token.
func (c *Config) readTLS(secrets Secrets) (err error) {
	name, data := "", map[string][]byte(nil)
	if ref := c.Provider.Spec.CertSecretRef; ref != nil {
		if data, err = secrets(ref.Name); err != nil {
			return fmt.Errorf("failed to read TLS secret: %w", err)
		}
		name = ref.Name
	} else if t, ok := known[c.Provider.Spec.Type]; ok && t.Class == alert.CommitStatus && c.Provider.Spec.SecretRef != nil {
		name, data = c.Provider.Spec.SecretRef.Name, c.Secret
	}
	files, legacy, err := auth.ReadTLS(name, data)
	if err != nil {
		return err
	}
	if legacy {
		c.Warnings = append(c.Warnings, "the TLS keys caFile, certFile and keyFile are deprecated, use ca.crt, tls.crt and tls.key")
	}
	if c.Provider.Spec.CertSecretRef != nil && files.IsZero() {
		return fmt.Errorf("invalid '%s' secret data: it has none of '%s', '%s' and '%s'", name, auth.KeyCA, auth.KeyCert, auth.KeyKey)
	}
	c.TLS = files
	return nil
}

func (c *Config) readProxy(address string, secrets Secrets) error {
	if ref := c.Provider.Spec.ProxySecretRef; ref != nil {
		data, err := secrets(ref.Name)
		if err != nil {
			return fmt.Errorf("failed to read proxy secret: %w", err)
		}
		c.Proxy, err = auth.ReadProxy(ref.Name, data)
		return err
	}
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("invalid proxy: it is not a URL with http or https")
	}
	c.Proxy = u
	return nil
}

// Open makes the sender of a configuration. Nothing is connected yet.
func (c *Config) Open() (BatchSender, error) {
	t, err := Find(c.Provider.Spec.Type)
	if err != nil {
		return nil, err
	}
	if c.HTTP == nil {
		if c.HTTP, err = newClient(c); err != nil {
			return nil, err
		}
	}
	sender, err := t.New(c)
	if err != nil {
		return nil, fmt.Errorf("failed to initialize provider: %w", c.mask(err))
	}
	return &bounded{c, sender, t.MaxMessage}, nil
}

// bounded gives each attempt its time, cuts what the service would refuse, and keeps credentials out of errors.
type bounded struct {
	c          *Config
	sender     Sender
	maxMessage int
}

func (b *bounded) Send(ctx context.Context, n *Notification) error {
	return b.SendAll(ctx, []*Notification{n})
}

func (b *bounded) SendAll(ctx context.Context, all []*Notification) error {
	ctx, cancel := context.WithTimeout(ctx, b.c.Timeout)
	defer cancel()
	if batch, ok := b.sender.(BatchSender); ok {
		return b.c.mask(batch.SendAll(ctx, all))
	}
	for _, n := range all {
		if err := b.sender.Send(ctx, b.fit(n)); err != nil {
			return b.c.mask(err)
		}
	}
	return nil
}

// fit cuts a message that is longer than the service takes.
func (b *bounded) fit(n *Notification) *Notification {
	if b.maxMessage == 0 || len(n.Event.Message) <= b.maxMessage {
		return n
	}
	e := *n.Event
	e.Message = cut(e.Message, b.maxMessage)
	return &Notification{Event: &e, Alert: n.Alert}
}

// Close lets go of connections.
func (c *Config) Close() {
	if c.HTTP != nil {
		c.HTTP.CloseIdleConnections()
	}
}

// endpoint checks the address of a type that needs one with http or https.
func (c *Config) endpoint() (*url.URL, error) {
	if c.Address == "" {
		return nil, errors.New("address is missing: set spec.address or the Secret's key 'address'")
	}
	// What does not parse is not shown: it may hold a token.
	u, err := url.ParseRequestURI(c.Address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("address is not a URL with http or https")
	}
	return u, nil
}

// needToken is for types that cannot do without.
func (c *Config) needToken() error {
	if c.Token == "" {
		return fmt.Errorf("%s needs a token: set the key 'token' in the Secret of secretRef", c.Provider.Spec.Type)
	}
	return nil
}

func (c *Config) needChannel(what string) error {
	if c.Channel == "" {
		return fmt.Errorf("%s needs spec.channel: %s", c.Provider.Spec.Type, what)
	}
	return nil
}
