package signature_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/signature"
	"github.com/gitops-toolkit/flux/test/servers/signing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// objects are a commit and a tag that git signed.
func objects(s *signing.Signer, dir string, withSSH bool) (commit, tag []byte) {
	s.Git(dir, withSSH, "init", "--quiet")
	s.Git(dir, withSSH, "commit", "--quiet", "--allow-empty", "-S", "-m", "Subject\n\nBody with\n\nempty lines")
	s.Git(dir, withSSH, "tag", "-s", "-m", "A tag", "v1")
	return cat(s, dir, "HEAD"), cat(s, dir, "v1")
}

func cat(s *signing.Signer, dir, rev string) []byte {
	kind := s.Git(dir, false, "cat-file", "-t", rev)
	return []byte(s.Run("git", "-C", dir, "cat-file", kind, rev))
}

func TestSignaturesOfGit(t *testing.T) {
	t.Parallel()
	jo, eve := signing.New(t, "ed25519"), signing.New(t, "ed25519")
	var both, pgp, ssh, other signature.Keys
	both.AddPGP("team.asc", append(append([]byte("Eve and Jo\n"), eve.PGP...), jo.PGP...))
	both.AddSSH("jo.sshpub", append([]byte("# team\n\n"), jo.SSH...))
	pgp.AddPGP("jo.asc", jo.PGP)
	ssh.AddSSH("jo.sshpub", jo.SSH)
	other.AddPGP("eve.asc", eve.PGP)
	other.AddSSH("eve.sshpub", eve.SSH)
	for _, tc := range []struct {
		name     string
		withSSH  bool
		id       string
		mismatch signature.Keys
		says     string
	}{
		{"OpenPGP", false, jo.KeyID, ssh, "PGP signature detected but no PGP public keys found in secret (keys with .asc suffix)"},
		{"SSH", true, jo.Fingerprint, pgp, "SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)"},
	} {
		commit, tag := objects(jo, t.TempDir(), tc.withSSH)
		splitCommit, err := signature.SplitCommit(commit)
		must(t, err)
		splitTag, err := signature.SplitTag(tag)
		must(t, err)
		for what, s := range map[string]signature.Signed{"commit": splitCommit, "tag": splitTag} {
			if id, err := both.Verify(s); err != nil || id != tc.id {
				t.Errorf("%s %s: %q, %v", tc.name, what, id, err)
			}
			if _, err := tc.mismatch.Verify(s); err == nil || err.Error() != tc.says {
				t.Errorf("%s %s: keys of the other kind: %v", tc.name, what, err)
			}
			if _, err := other.Verify(s); !errors.Is(err, signature.ErrUntrusted) {
				t.Errorf("%s %s: keys of somebody else: %v", tc.name, what, err)
			}
			changed := s
			changed.Payload = bytes.Replace(s.Payload, []byte("jo@example.com"), []byte("jo@example.org"), 1)
			if _, err := both.Verify(changed); !errors.Is(err, signature.ErrUntrusted) {
				t.Errorf("%s %s: a changed payload: %v", tc.name, what, err)
			}
		}
	}
}

func TestUnsigned(t *testing.T) {
	t.Parallel()
	jo := signing.New(t, "ed25519")
	dir := t.TempDir()
	jo.Git(dir, false, "init", "--quiet")
	jo.Git(dir, false, "commit", "--quiet", "--allow-empty", "-m", "gpgsig -----BEGIN PGP SIGNATURE-----")
	jo.Git(dir, false, "tag", "-a", "-m", "Not signed", "v1")
	if _, err := signature.SplitCommit(cat(jo, dir, "HEAD")); !errors.Is(err, signature.ErrUnsigned) {
		t.Errorf("commit: %v", err)
	}
	if _, err := signature.SplitTag(cat(jo, dir, "v1")); !errors.Is(err, signature.ErrUnsigned) {
		t.Errorf("tag: %v", err)
	}
	for _, raw := range []string{"", "tree a", "tree a\ngpgsig x\n\nm", "tree a\ngpgsig x\ngpgsig y\n\nm"} {
		if _, err := signature.SplitCommit([]byte(raw)); err == nil {
			t.Errorf("%q was taken apart", raw)
		}
	}
}

// TestOtherPurposes takes SSH signatures that were made for something else than Git, or over other bytes.
func TestOtherPurposes(t *testing.T) {
	t.Parallel()
	jo := signing.New(t, "ed25519")
	var keys signature.Keys
	keys.AddSSH("jo.sshpub", jo.SSH)
	dir := t.TempDir()
	file, key := filepath.Join(dir, "payload"), filepath.Join(dir, "key")
	must(t, os.WriteFile(file, []byte("tree a\n"), 0o600))
	must(t, os.WriteFile(key, jo.SecretSSH, 0o600))
	jo.Run("ssh-keygen", "-Y", "sign", "-q", "-f", key, "-n", "file", file)
	sig, err := os.ReadFile(file + ".sig")
	must(t, err)
	if _, err := keys.Verify(signature.Signed{Kind: signature.SSH, Payload: []byte("tree a\n"), Signature: sig}); err == nil || !strings.Contains(err.Error(), "made for 'file'") {
		t.Errorf("a signature of a file: %v", err)
	}
	for _, text := range []string{"", "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"} {
		if _, err := keys.Verify(signature.Signed{Kind: signature.SSH, Signature: []byte(text)}); !errors.Is(err, signature.ErrMalformed) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestExpired tells an expired key from one that nobody trusts: what helps is another.
func TestExpired(t *testing.T) {
	t.Parallel()
	jo := signing.New(t, "ed25519")
	file := filepath.Join(t.TempDir(), "payload")
	must(t, os.WriteFile(file, []byte("tree a\n"), 0o600))
	gpg := func(when string, args ...string) {
		jo.Run("gpg", append([]string{"--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", "--faked-system-time", when}, args...)...)
	}
	gpg("20200101T000000", "--quick-gen-key", "Old <old@example.com>", "ed25519", "sign", "1y")
	gpg("20200601T000000", "--armor", "--detach-sign", "--local-user", "old@example.com", file)
	sig, err := os.ReadFile(file + ".asc")
	must(t, err)
	var keys signature.Keys
	keys.AddPGP("old.asc", []byte(jo.Run("gpg", "--armor", "--export", "old@example.com")))
	_, err = keys.Verify(signature.Signed{Kind: signature.OpenPGP, Payload: []byte("tree a\n"), Signature: sig})
	if !errors.Is(err, signature.ErrExpired) || errors.Is(err, signature.ErrUntrusted) {
		t.Errorf("a signature by a key that has expired: %v", err)
	}
}

// TestBadKeys tells of keys that cannot be read, when no other made the signature.
func TestBadKeys(t *testing.T) {
	t.Parallel()
	jo := signing.New(t, "ed25519")
	commit, _ := objects(jo, t.TempDir(), false)
	s, err := signature.SplitCommit(commit)
	must(t, err)
	var keys signature.Keys
	keys.AddPGP("README", []byte("not a key"))
	if _, err := keys.Verify(s); err == nil || !strings.Contains(err.Error(), "README") {
		t.Errorf("only a bad key: %v", err)
	}
	keys.AddPGP("jo.asc", jo.PGP)
	if id, err := keys.Verify(s); err != nil || id != jo.KeyID {
		t.Errorf("a bad key beside the right one: %q, %v", id, err)
	}
}

// TestOurs signs with our own signers, and lets the programs verify.
func TestOurs(t *testing.T) {
	t.Parallel()
	payload := []byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nm\n")
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		jo := signing.New(t, kind)
		dir := t.TempDir()
		sigFile, allowed := filepath.Join(dir, "sig"), filepath.Join(dir, "allowed")
		signer, err := signature.NewSSHSigner(jo.SecretSSH, "")
		must(t, err)
		text, err := signer.Sign(payload)
		must(t, err)
		var keys signature.Keys
		keys.AddSSH("jo.sshpub", jo.SSH)
		if id, err := keys.Verify(signature.Signed{Kind: signature.SSH, Payload: payload, Signature: []byte(text)}); err != nil || id != jo.Fingerprint {
			t.Errorf("%s: %q, %v", kind, id, err)
		}
		must(t, os.WriteFile(filepath.Join(dir, "payload"), payload, 0o600))
		must(t, os.WriteFile(sigFile, []byte(text), 0o600))
		must(t, os.WriteFile(allowed, append([]byte("jo@example.com "), jo.SSH...), 0o600))
		jo.Run("sh", "-c", `ssh-keygen -Y verify -f "$1" -I jo@example.com -n git -s "$2" < "$3"`, "sh", allowed, sigFile, filepath.Join(dir, "payload"))
	}
	jo := signing.New(t, "ed25519")
	signer, err := signature.NewPGPSigner(jo.SecretPGP, "")
	must(t, err)
	text, err := signer.Sign(payload)
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "payload"), payload, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "sig"), []byte(text), 0o600))
	jo.Run("gpg", "--verify", filepath.Join(dir, "sig"), filepath.Join(dir, "payload"))
}
