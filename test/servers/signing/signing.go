// Package signing makes keys and signed commits with the real gpg, ssh-keygen and git programs, for tests.
package signing

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Signer is somebody with an OpenPGP and an SSH key.
type Signer struct {
	t   testing.TB
	dir string
	// PGP is the public OpenPGP key, armoured, and KeyID the last 16 digits of its fingerprint.
	PGP   []byte
	KeyID string
	// SecretPGP and SecretSSH are the private keys, locked with the passphrase if one was given.
	SecretPGP, SecretSSH []byte
	// SSH is the public SSH key as in authorized_keys, and Fingerprint its SHA256 fingerprint.
	SSH         []byte
	Fingerprint string
}

// New makes keys for jo@example.com, without a passphrase. The test is skipped where a program is missing.
func New(t testing.TB, sshType string) *Signer {
	t.Helper()
	return NewLocked(t, sshType, "")
}

// NewLocked makes keys that a passphrase locks. Only who reads the secret keys needs it: Git does not sign with them.
func NewLocked(t testing.TB, sshType, passphrase string) *Signer {
	t.Helper()
	for _, program := range []string{"gpg", "ssh-keygen", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	dir, err := os.MkdirTemp("", "gpg") // Sockets need a short path.
	if err != nil {
		t.Fatal(err)
	}
	s := &Signer{t: t, dir: dir}
	t.Cleanup(func() {
		_ = s.command("gpgconf", "--kill", "all").Run()
		_ = os.RemoveAll(dir)
	})
	s.Run("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--quick-gen-key", "Jo <jo@example.com>", "ed25519", "sign", "never")
	s.PGP = []byte(s.Run("gpg", "--armor", "--export", "jo@example.com"))
	s.SecretPGP = []byte(s.Run("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--armor", "--export-secret-keys", "jo@example.com"))
	for line := range strings.Lines(s.Run("gpg", "--with-colons", "--list-keys")) {
		if fields := strings.Split(line, ":"); fields[0] == "pub" {
			s.KeyID = fields[4]
		}
	}
	key := filepath.Join(dir, "ssh")
	s.Run("ssh-keygen", "-q", "-t", sshType, "-N", passphrase, "-C", "jo", "-f", key)
	s.SSH, s.SecretSSH = s.read(key+".pub"), s.read(key)
	s.Fingerprint = strings.Fields(s.Run("ssh-keygen", "-l", "-f", key))[1]
	return s
}

func (s *Signer) read(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

func (s *Signer) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GNUPGHOME=" + s.dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Jo", "GIT_AUTHOR_EMAIL=jo@example.com", "GIT_COMMITTER_NAME=Jo", "GIT_COMMITTER_EMAIL=jo@example.com",
	}
	return cmd
}

// Run runs a program with the signer's keys, and returns what it says.
func (s *Signer) Run(name string, args ...string) string {
	s.t.Helper()
	cmd := s.command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s %v: %v: %s", name, args, err, stderr.String())
	}
	return string(out)
}

// Git runs git in a directory, set up to sign with OpenPGP, or with SSH.
func (s *Signer) Git(dir string, withSSH bool, args ...string) string {
	s.t.Helper()
	config := []string{"-C", dir, "-c", "user.signingkey=" + s.KeyID, "-c", "commit.gpgsign=false"}
	if withSSH {
		config = []string{"-C", dir, "-c", "gpg.format=ssh", "-c", "user.signingkey=" + filepath.Join(s.dir, "ssh")}
	}
	return strings.TrimSpace(s.Run("git", append(config, args...)...))
}
