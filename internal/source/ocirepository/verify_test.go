package ocirepository_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/verify/verifytest"
)

// target is an artifact of the repository that the objects follow.
func (l *lab) target(digest string) verifytest.Target {
	return verifytest.Target{Repository: l.server.Host + "/app", Digest: digest}
}

// trustSecret writes a Secret with keys; a label lets a change act at once.
func (l *lab) trustSecret(name string, data map[string][]byte) {
	l.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: l.Namespace, Labels: map[string]string{"reconcile.fluxcd.io/watch": "Enabled"},
	}, Data: data}
	err := l.Client.Create(context.Background(), secret)
	if err != nil {
		err = l.Client.Update(context.Background(), secret)
	}
	l.Must(err)
}

func verifiedBy(provider, secret string) func(*sourcev1.OCIRepository) {
	return func(o *sourcev1.OCIRepository) {
		o.Spec.Verify = &sourcev1.OCIRepositoryVerification{Provider: provider}
		if secret != "" {
			o.Spec.Verify.SecretRef = &meta.LocalObjectReference{Name: secret}
		}
	}
}

// sourceVerified is the condition in a few words, "" if there is none.
func sourceVerified(o *sourcev1.OCIRepository) string {
	c := o.Status.Conditions.Get("SourceVerified")
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason + " " + c.Message
}

func TestVerifiedByKey(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	key, other := verifytest.NewKey(t), verifytest.NewKey(t)
	first := l.push("v1", map[string]string{"a": "1"})
	l.trustSecret("keys", map[string][]byte{"release.pub": key.PEM})
	l.create("app", verifiedBy("cosign", "keys"))

	obj, message := l.failed("app", "VerificationError")
	want := "failed to verify the signature using provider 'cosign': no matching signatures were found for '" + l.server.Host + "/app@" + first +
		"'; it has no signature; sign the artifact, or trust its signer in the Secret '" + l.Namespace + "/keys'"
	if message != want || sourceVerified(obj) != "False VerificationError "+want || obj.Status.Artifact != nil {
		t.Errorf("unsigned: %q, want %q; %+v", message, want, obj.Status)
	}
	if e := l.Event("app", "VerificationError", want); e.Severity != "error" {
		t.Errorf("event %+v", e)
	}
	key.Sign(t, l.target(first))
	obj = l.ready("app", "v1@"+first)
	if got := sourceVerified(obj); got != "True Succeeded verified signature of revision v1@"+first {
		t.Errorf("signed: %s", got)
	}

	// A new revision that is not signed by us: the last good one stays.
	second := l.push("v1", map[string]string{"a": "2"})
	other.SignLegacy(t, l.target(second))
	l.request("app", "second")
	obj, message = l.failed("app", "VerificationError")
	if !strings.Contains(message, second) || obj.Status.Artifact == nil || obj.Status.Artifact.Revision != "v1@"+first || l.files(obj)["a"] != "1" {
		t.Errorf("foreign signature: %q, %+v", message, obj.Status.Artifact)
	}
	if c := obj.Status.Conditions.Get("ArtifactInStorage"); c == nil || c.Status != metav1.ConditionTrue {
		t.Errorf("ArtifactInStorage %+v", c)
	}
	// Its signer is trusted now: the Secret wakes the object.
	l.trustSecret("keys", map[string][]byte{"release.pub": key.PEM, "other.pub": other.PEM})
	obj = l.ready("app", "v1@"+second)
	if got := sourceVerified(obj); got != "True Succeeded verified signature of revision v1@"+second || l.files(obj)["a"] != "2" {
		t.Errorf("after the Secret changed: %s", got)
	}
	// And no longer: what is served stays, and is said to be unverified.
	l.trustSecret("keys", map[string][]byte{"release.pub": key.PEM})
	obj, _ = l.failed("app", "VerificationError")
	if obj.Status.Artifact == nil || obj.Status.Artifact.Revision != "v1@"+second {
		t.Errorf("after trust was withdrawn: %+v", obj.Status.Artifact)
	}
	l.patch("app", `{"spec":{"verify":null}}`)
	if obj = l.ready("app", "v1@"+second); sourceVerified(obj) != "" {
		t.Errorf("without verify: %s", sourceVerified(obj))
	}
}

// TestVerifiedPollsCostOneHead is a budget: what was verified is not verified again.
func TestVerifiedPollsCostOneHead(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	stop := l.start()
	key := verifytest.NewKey(t)
	digest := l.push("v1", map[string]string{"a": "1"})
	key.SignLegacy(t, l.target(digest))
	l.trustSecret("keys", map[string][]byte{"release.pub": key.PEM})
	l.create("app", verifiedBy("cosign", "keys"))
	l.ready("app", "v1@"+digest)
	quiet := func(when, token string) {
		l.server.Reset()
		obj := l.request("app", token)
		for _, r := range l.server.Requests() {
			if r.Method != http.MethodHead && r.Path != "/v2/" {
				t.Errorf("%s: a poll cost %+v", when, r)
			}
		}
		if sourceVerified(obj) != "True Succeeded verified signature of revision v1@"+digest {
			t.Errorf("%s: %s", when, sourceVerified(obj))
		}
	}
	quiet("idle", "one")
	stop()
	l.start()
	quiet("after a restart", "two")
}

func TestVerifiedInOtherWays(t *testing.T) {
	t.Parallel()
	const subject, issuer = "https://github.com/example/app/.github/workflows/release.yaml@refs/heads/main", "https://token.actions.githubusercontent.com"
	l := newLab(t, registrytest.Options{})
	l.start()
	instance, signer := verifytest.NewInstance(t), verifytest.NewSigner(t, "release")
	digest := l.push("v1", map[string]string{"a": "1"})
	instance.Sign(t, l.target(digest), subject, issuer)
	signer.Sign(t, l.target(digest), "application/jose+json")
	l.trustSecret("root", map[string][]byte{"trusted_root.json": instance.TrustedRoot(t, false)})
	l.trustSecret("notation", map[string][]byte{"trustpolicy.json": verifytest.Policy("strict", "*"), "ca.crt": signer.PEM})
	l.trustSecret("strangers", map[string][]byte{"trustpolicy.json": verifytest.Policy("strict", "*"), "ca.crt": verifytest.NewSigner(t, "x").PEM})
	l.trustSecret("audit", map[string][]byte{"trustpolicy.json": verifytest.Policy("audit", "*"), "ca.crt": verifytest.NewSigner(t, "x").PEM})
	keyless := func(subject string) func(*sourcev1.OCIRepository) {
		return func(o *sourcev1.OCIRepository) {
			verifiedBy("cosign", "")(o)
			o.Spec.Verify.TrustedRootSecretRef = &meta.LocalObjectReference{Name: "root"}
			o.Spec.Verify.MatchOIDCIdentity = []sourcev1.OIDCIdentityMatch{{Issuer: "^" + issuer + "$", Subject: subject}}
		}
	}
	verified := "True Succeeded verified signature of revision v1@" + digest
	for name, tt := range map[string]struct {
		change func(*sourcev1.OCIRepository)
		// verified is the condition of a success, failure the beginning of the message of another.
		verified, failure string
	}{
		"keyless":       {keyless("^https://github.com/example/.*$"), verified, ""},
		"keyless-other": {keyless("^https://github.com/other/.*$"), "", "failed to verify the signature using provider 'cosign keyless': no matching signatures were found for '"},
		"notation":      {verifiedBy("notation", "notation"), verified, ""},
		"strangers":     {verifiedBy("notation", "strangers"), "", "failed to verify the signature using provider 'notation': no matching signatures were found for '"},
		"audit":         {verifiedBy("notation", "audit"), "", ""},
		"no-secret":     {verifiedBy("notation", ""), "", "failed to verify the signature using provider 'notation': invalid trust settings: spec.verify.secretRef is required"},
		"absent":        {verifiedBy("cosign", "absent"), "", "failed to verify the signature using provider 'cosign': failed to get secret '" + l.Namespace + "/absent': "},
	} {
		l.create(name, tt.change)
		if tt.failure == "" {
			if got := sourceVerified(l.ready(name, "v1@"+digest)); got != tt.verified {
				t.Errorf("%s: %q, want %q", name, got, tt.verified)
			}
			continue
		}
		obj, message := l.failed(name, "VerificationError")
		if !strings.HasPrefix(message, tt.failure) || obj.Status.Artifact != nil {
			t.Errorf("%s: %q, want %q", name, message, tt.failure)
		}
	}
}

// TestVerifiedByDigest verifies what is not looked up.
func TestVerifiedByDigest(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	key := verifytest.NewKey(t)
	digest := l.push("v1", map[string]string{"a": "1"})
	l.create("app", func(o *sourcev1.OCIRepository) { o.Spec.Reference = &sourcev1.OCIRepositoryRef{Digest: digest} })
	l.ready("app", digest)
	l.trustSecret("keys", map[string][]byte{"release.pub": key.PEM})
	l.patch("app", `{"spec":{"verify":{"provider":"cosign","secretRef":{"name":"keys"}}}}`)
	if obj, _ := l.failed("app", "VerificationError"); obj.Status.Artifact == nil {
		t.Error("the artifact is gone")
	}
	key.SignLegacy(t, l.target(digest))
	l.until("app", "verified", func(o *sourcev1.OCIRepository) bool {
		return sourceVerified(o) == "True Succeeded verified signature of revision "+digest && o.Status.ObservedGeneration == o.Generation
	})
}
