package verify

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// TestPublicRootIsKept tries at most once a minute, keeps what it has for a day, and longer if there is nothing newer.
func TestPublicRootIsKept(t *testing.T) {
	t.Parallel()
	now, fetched, fail := time.Now(), 0, errors.New("no route")
	p := NewPublicRoot()
	p.now = func() time.Time { return now }
	p.fetch = func() (*root.TrustedRoot, error) {
		fetched++
		if fail != nil {
			return nil, fail
		}
		return &root.TrustedRoot{}, nil
	}
	step := func(pass time.Duration, ok bool, want int) {
		t.Helper()
		now = now.Add(pass)
		m, err := p.Material(context.Background())
		if (err == nil) != ok || (m != nil) != ok || fetched != want {
			t.Errorf("after %s: %v, %v, fetched %d times, want %d", pass, m, err, fetched, want)
		}
		if !ok && !strings.Contains(err.Error(), "no route") {
			t.Errorf("the cause is missing: %v", err)
		}
	}
	step(0, false, 1)
	step(30*time.Second, false, 1)
	step(31*time.Second, false, 2)
	fail = nil
	step(time.Minute+1, true, 3)
	step(23*time.Hour, true, 3)
	fail = errors.New("no route")
	step(2*time.Hour, true, 4)
	step(time.Second, true, 4)
	fail = nil
	step(time.Minute, true, 5)
}

// TestPublicGood holds a bundle of the public instance against its root: certificate, its timestamp, log and identity.
func TestPublicGood(t *testing.T) {
	t.Parallel()
	trusted, err := root.NewTrustedRootFromPath("testdata/public-good.json")
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.LoadJSONFromPath("testdata/sigstore-js.sigstore.json")
	if err != nil {
		t.Fatal(err)
	}
	material := fixed{trusted}
	if len(material.CTLogs()) == 0 {
		t.Fatal("the public root names no log of certificates")
	}
	for subject, want := range map[string]bool{"^https://github.com/sigstore/sigstore-js/": true, "^https://github.com/evil/": false} {
		v, err := Keyless([]Identity{{Issuer: "^https://token.actions.githubusercontent.com$", Subject: subject}}, material)
		if err != nil {
			t.Fatal(err)
		}
		err = v.(cosign).judge.judge(context.Background(), &candidate{
			bundle:   fixedBundle(b),
			artifact: func() verify.ArtifactPolicyOption { return verify.WithoutArtifactUnsafe() },
		})
		if (err == nil) != want {
			t.Errorf("%s: %v", subject, err)
		}
	}
}

func fixedBundle(b *bundle.Bundle) func(context.Context, root.TrustedMaterial) (*bundle.Bundle, error) {
	return func(context.Context, root.TrustedMaterial) (*bundle.Bundle, error) { return b, nil }
}
