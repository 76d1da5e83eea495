package gitrepository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/gitrepo/signature"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// verified is a verification that succeeded.
type verified struct{ mode, message string }

// verifyMode is spec.verify.mode in its present spelling, "" without spec.verify.
func verifyMode(obj *sourcev1.GitRepository) string {
	v := obj.Spec.Verification
	switch {
	case v == nil:
		return ""
	case v.Mode == "", strings.EqualFold(v.Mode, sourcev1.VerifyHEAD):
		return sourcev1.VerifyHEAD
	}
	return v.Mode
}

// byTag tells whether spec.ref means a tag, and so a tag object may be there to be verified.
func byTag(obj *sourcev1.GitRepository) bool {
	ref := reference(obj)
	switch {
	case ref.Commit != "":
		return false
	case ref.Name != "":
		return strings.HasPrefix(ref.Name, "refs/tags/")
	}
	return ref.Tag != "" || ref.SemVer != ""
}

// checkMode finds a mode that asks for a tag where there can be none.
func checkMode(obj *sourcev1.GitRepository) *attempt.Failure {
	if mode := verifyMode(obj); mode == "" || mode == sourcev1.VerifyHEAD || byTag(obj) {
		return nil
	}
	f := unverified(sourcev1.InvalidVerificationModeReason, errors.New("cannot verify tag object's signature if a tag reference is not specified; "+
		"set spec.ref.tag or spec.ref.semver, or spec.verify.mode 'HEAD'"))
	f.Stalled = true
	return f
}

func unverified(reason string, err error) *attempt.Failure {
	return &attempt.Failure{Condition: sourcev1.SourceVerifiedCondition, Status: metav1.ConditionFalse, Reason: reason, Err: err}
}

// unproven tells whether the artifact has not been verified as the spec asks for. A spec that has changed may name other
// keys.
func (p *poll) unproven() bool {
	obj := p.obj
	want, have := verifyMode(obj), obj.Status.SourceVerificationMode
	if want == "" {
		return false
	}
	c := obj.Status.Conditions.Get(sourcev1.SourceVerifiedCondition)
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration < obj.Generation || have == nil {
		return true
	}
	return *have != want && *have != sourcev1.VerifyTagAndHEAD || p.otherKeys()
}

// otherKeys tells whether the Secret with the keys has changed since the artifact was verified. After a restart the
// condition is believed: a Secret that changed meanwhile acts with the next revision.
func (p *poll) otherKeys() bool {
	before, now := remembered(p.req).trusted, p.keysVersion()
	if before == "" {
		p.trust(now)
	}
	return before != "" && now != "" && before != now
}

// keysVersion is the version of the Secret with the keys, "" if the kernel cannot tell.
func (p *poll) keysVersion() string {
	text, _ := access.State(p.configs, p.obj.Namespace, "", []string{p.obj.Spec.Verification.SecretRef.Name})
	return text
}

// trust remembers the version of the keys that the artifact was verified with.
func (p *poll) trust(version string) {
	k := remembered(p.req)
	k.trusted = version
	p.req.Remember(&k)
}

// verify holds the signatures of what was fetched against the keys of the Secret.
func (p *poll) verify(ctx context.Context, snap *gitrepo.Snapshot) (*verified, *attempt.Failure) {
	mode := verifyMode(p.obj)
	if mode == "" {
		return nil, nil
	}
	version := p.keysVersion() // Before the Secret is read, so that it is never newer than what was read.
	keys, fail := p.trustedKeys(ctx)
	if fail != nil {
		return nil, fail
	}
	v := &verified{mode: mode, message: "verified signature of"}
	if mode != sourcev1.VerifyHEAD {
		name, id, fail := verifyTag(snap, keys)
		if fail != nil {
			return nil, p.untrusted(fail)
		}
		v.message += fmt.Sprintf("\n\t- tag '%s' with key '%s'", name, id)
	}
	if mode != sourcev1.VerifyTag {
		id, fail := verifyCommit(snap, keys)
		if fail != nil {
			return nil, p.untrusted(fail)
		}
		v.message += fmt.Sprintf("\n\t- commit '%s' with key '%s'", snap.Revision().Commit, id)
	}
	p.trust(version)
	p.req.Event(kernel.Trace(meta.SucceededReason, v.message, nil))
	return v, nil
}

// untrusted adds what to do about a signature. That a key may be added is said only where the key is what is wrong.
func (p *poll) untrusted(f *attempt.Failure) *attempt.Failure {
	secret := p.obj.Namespace + "/" + p.obj.Spec.Verification.SecretRef.Name
	switch {
	case f.Reason == sourcev1.InvalidGitObjectReason: // It says so itself.
	case errors.Is(f.Err, signature.ErrUnsigned):
		f.Err = fmt.Errorf("%w; sign it with a key of the Secret '%s'", f.Err, secret)
	case errors.Is(f.Err, signature.ErrExpired):
		f.Err = fmt.Errorf("%w; have it renewed, and put the new public key into the Secret '%s'", f.Err, secret)
	case errors.Is(f.Err, signature.ErrUntrusted):
		f.Err = fmt.Errorf("%w; if the signer is to be trusted, add the public key to the Secret '%s'", f.Err, secret)
	}
	return f
}

// trustedKeys reads the public keys: *.sshpub for SSH, all else for OpenPGP.
func (p *poll) trustedKeys(ctx context.Context) (keys signature.Keys, fail *attempt.Failure) {
	read := access.Reader{Secrets: p.configs, Namespace: p.obj.Namespace}
	secret, err := read.Secret(ctx, "spec.verify.secretRef", &p.obj.Spec.Verification.SecretRef)
	if err != nil {
		return keys, unverified(sourcev1.VerificationErrorReason, fmt.Errorf("public keys secret error: %w", err))
	}
	for name, data := range secret.Data {
		if strings.HasSuffix(name, ".sshpub") {
			keys.AddSSH(name, data)
		} else {
			keys.AddPGP(name, data)
		}
	}
	return keys, nil
}

func verifyCommit(snap *gitrepo.Snapshot, keys signature.Keys) (id string, fail *attempt.Failure) {
	signed, err := signature.SplitCommit(snap.Commit().Raw)
	if err == nil {
		id, err = keys.Verify(signed)
	}
	if err != nil {
		return "", unverified(sourcev1.InvalidCommitSignatureReason,
			fmt.Errorf("signature verification of commit '%s' failed: %w", snap.Revision().Commit, err))
	}
	return id, nil
}

// verifyTag verifies the tag object, and that it is the tag that it is taken for: a server could show the signed tag of
// an old version under a new name, or another commit beside it.
func verifyTag(snap *gitrepo.Snapshot, keys signature.Keys) (name, id string, fail *attempt.Failure) {
	rev := snap.Revision()
	tag := strings.TrimSuffix(strings.TrimPrefix(rev.Name, "refs/tags/"), "^{}")
	name = tag + "@" + rev.Tag.String()
	raw, err := snap.Tag()
	if err != nil {
		return name, "", attempt.Fetch(sourcev1.GitOperationFailedReason, err)
	}
	if raw == nil {
		return name, "", unverified(sourcev1.InvalidGitObjectReason, fmt.Errorf(
			"cannot verify tag '%s': it has no tag object that could be signed; make one with 'git tag -s'", tag))
	}
	signed, err := signature.SplitTag(raw)
	if errors.Is(err, signature.ErrUnsigned) {
		return name, "", unverified(sourcev1.InvalidGitObjectReason, fmt.Errorf("cannot verify tag '%s': %w; make it with 'git tag -s'", name, err))
	}
	if err == nil {
		id, err = keys.Verify(signed)
	}
	if err == nil {
		err = tagIs(signed.Payload, tag, rev.Commit)
	}
	if err != nil {
		return name, "", unverified(sourcev1.InvalidTagSignatureReason, fmt.Errorf("signature verification of tag '%s' failed: %w", name, err))
	}
	return name, id, nil
}

// tagIs checks what the signed tag says of itself: its first lines are object, type and tag.
func tagIs(payload []byte, name string, commit gitrepo.Hash) error {
	head, _, _ := bytes.Cut(payload, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if len(lines) < 3 {
		return signature.ErrMalformed
	}
	if lines[0] != "object "+commit.String() || lines[1] != "type commit" {
		return fmt.Errorf("it was made for %s, not for commit %s; make the tag anew with 'git tag -s'", lines[0], commit)
	}
	if lines[2] != "tag "+name {
		return fmt.Errorf("it was made as '%.100s', not as '%s'; make the tag anew with 'git tag -s'", strings.TrimPrefix(lines[2], "tag "), name)
	}
	return nil
}
