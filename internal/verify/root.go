package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
)

// KeyTrustedRoot is the entry of a Secret that holds a trusted root.
const KeyTrustedRoot = "trusted_root.json"

// TrustedRoot is the root of a private Sigstore instance, from the entry trusted_root.json of a Secret. The name of the
// Secret is for messages.
func TrustedRoot(secret string, data map[string][]byte) (Root, error) {
	text, ok := data[KeyTrustedRoot]
	if !ok {
		return nil, fmt.Errorf("%w: the Secret '%s' has no '%s'", ErrTrust, secret, KeyTrustedRoot)
	}
	parsed, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%w: '%s' of the Secret '%s' is not a trusted root of Sigstore: %w", ErrTrust, KeyTrustedRoot, secret, err)
	}
	switch {
	case len(parsed.FulcioCertificateAuthorities()) == 0:
		return nil, fmt.Errorf("%w: '%s' of the Secret '%s' names no certificate authority", ErrTrust, KeyTrustedRoot, secret)
	case len(parsed.RekorLogs()) == 0:
		return nil, fmt.Errorf("%w: '%s' of the Secret '%s' names no transparency log", ErrTrust, KeyTrustedRoot, secret)
	}
	return fixed{parsed}, nil
}

type fixed struct{ *root.TrustedRoot }

// Material returns the root.
func (f fixed) Material(context.Context) (root.TrustedMaterial, error) { return f.TrustedRoot, nil }

const (
	// publicLife is how long the public root is used before it is looked up again.
	publicLife = 24 * time.Hour
	// publicPause is the shortest time between two attempts.
	publicPause = time.Minute
)

// PublicRoot is the root of the public Sigstore instance, fetched when first needed and then once a day.
type PublicRoot struct {
	// fetch and now are replaced by tests.
	fetch func() (*root.TrustedRoot, error)
	now   func() time.Time

	turn  chan struct{} // held while the fields below are used
	root  *root.TrustedRoot
	until time.Time // of root
	next  time.Time // attempt
	err   error     // of the last attempt
}

// NewPublicRoot returns a root that has not been fetched.
func NewPublicRoot() *PublicRoot {
	return publicRoot(tuf.DefaultOptions())
}

// publicRoot is what the TUF repository of the options says. Nothing is kept on disk: the metadata is a few files a day.
func publicRoot(o *tuf.Options) *PublicRoot {
	return &PublicRoot{
		fetch: func() (*root.TrustedRoot, error) { return root.FetchTrustedRootWithOptions(o.WithDisableLocalCache()) },
		now:   time.Now, turn: make(chan struct{}, 1),
	}
}

// Material returns the root. One that is too old is used on while no newer one is to be had.
func (p *PublicRoot) Material(ctx context.Context) (root.TrustedMaterial, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if now := p.now(); now.After(p.until) && now.After(p.next) {
		fetched, err := p.fetch()
		p.next, p.err = now.Add(publicPause), err
		if err == nil {
			p.root, p.until = fetched, now.Add(publicLife)
		}
	}
	if p.root == nil {
		return nil, fmt.Errorf("the trusted root of the public Sigstore instance cannot be fetched: %w; allow it, or use a key or spec.verify.trustedRootSecretRef", p.err)
	}
	return p.root, nil
}
