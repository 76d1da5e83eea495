package image_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/test/servers/git"
	"github.com/gitops-toolkit/flux/test/servers/signing"
)

// TestSignedCommits signs with keys of each type, with and without a passphrase, and lets git verify.
func TestSignedCommits(t *testing.T) {
	t.Parallel()
	const passphrase = "correct horse"
	plain, locked, other := signing.New(t, "ed25519"), signing.NewLocked(t, "ecdsa", passphrase), signing.NewLocked(t, "rsa", passphrase)
	allowed := filepath.Join(t.TempDir(), "allowed")
	l := newLab(t, registrytest.Options{}, git.Options{})
	var keys strings.Builder
	for _, who := range []*signing.Signer{plain, locked, other} {
		fmt.Fprintf(&keys, "bot@example.com,jo@example.com %s", who.SSH)
	}
	l.Must(os.WriteFile(allowed, []byte(keys.String()), 0o600))
	l.start()
	l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1")}, "Begin")
	l.ready("1.0.0")
	sign := func(name, kind string, data map[string][]byte) {
		l.Create(&corev1.Secret{ObjectMeta: l.meta(name), Data: data})
		l.createUpdate(name, func(o *imagev1.ImageUpdateAutomation) {
			o.Spec.GitSpec.Commit.SigningKey = &imagev1.SigningKey{SecretRef: meta.LocalObjectReference{Name: name}, Type: kind}
			o.Spec.GitSpec.Push = &imagev1.PushSpec{Branch: name}
		})
	}
	for name, tc := range map[string]struct {
		who  *signing.Signer
		kind string
		data map[string][]byte
	}{
		"pgp":         {plain, "", map[string][]byte{"git.asc": plain.SecretPGP}},
		"pgp-locked":  {locked, "gpg", map[string][]byte{"git.asc": locked.SecretPGP, "passphrase": []byte(passphrase)}},
		"ssh-ed25519": {plain, "ssh", map[string][]byte{"identity": plain.SecretSSH, "known_hosts": []byte("unused")}},
		"ssh-ecdsa":   {locked, "ssh", map[string][]byte{"identity": locked.SecretSSH, "password": []byte(passphrase)}},
		"ssh-rsa":     {other, "ssh", map[string][]byte{"identity": other.SecretSSH, "password": []byte(passphrase)}},
	} {
		sign(name, tc.kind, tc.data)
		o := l.wrote(name, "1.0.0")
		tc.who.Run("git", "-C", l.repo.Dir, "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", o.Status.LastPushCommit)
	}
	for name, tc := range map[string]struct {
		kind    string
		data    map[string][]byte
		message string
	}{
		"empty":     {"", map[string][]byte{"x": []byte("secret-x")}, "does not contain a 'git.asc' key"},
		"pgp-none":  {"gpg", map[string][]byte{"git.asc": locked.SecretPGP}, "can not use passphrase protected signing key without 'passphrase' field present in secret " + l.Namespace + "/pgp-none"},
		"pgp-wrong": {"gpg", map[string][]byte{"git.asc": locked.SecretPGP, "passphrase": []byte("secret-x")}, "key 'git.asc': OpenPGP signing key: the passphrase does not unlock it"},
		"ssh-none":  {"ssh", map[string][]byte{"identity": locked.SecretSSH}, "can not use passphrase protected signing key without 'password' field present in secret " + l.Namespace + "/ssh-none"},
		"ssh-wrong": {"ssh", map[string][]byte{"identity": locked.SecretSSH, "password": []byte("secret-x")}, "key 'identity': SSH signing key: the passphrase does not unlock it"},
		"ssh-other": {"ssh", map[string][]byte{"identity": plain.SecretPGP}, "is not an OpenSSH private key; convert it with: ssh-keygen -p -f <file>"},
	} {
		sign(name, tc.kind, tc.data)
		o := l.update(name, "refused", func(o *imagev1.ImageUpdateAutomation) bool { return failed(o, "SourceManagerFailed") })
		if m := readyOf(o).Message; !strings.Contains(m, tc.message) || strings.Contains(m, "secret-x") {
			t.Errorf("%s: %q, want %q", name, m, tc.message)
		}
	}
}
