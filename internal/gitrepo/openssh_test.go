package gitrepo

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/gitops-toolkit/flux/test/servers/git"
	"github.com/gitops-toolkit/flux/test/servers/stock"
)

// TestOpenSSH fetches from OpenSSH's own server, with every kind of key and of known_hosts file.
func TestOpenSSH(t *testing.T) {
	t.Parallel()
	_, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	keys, authorized := map[string][]byte{}, []byte{}
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		private, public, err := git.NewSSHKey(kind, "")
		must(t, err)
		keys[kind], authorized = private, append(authorized, public...)
	}
	all := stock.StartSSHD(t, authorized, "rsa", "ecdsa", "ed25519")
	only := stock.StartSSHD(t, authorized, "rsa")
	lines := bytes.SplitAfter(all.KnownHosts, []byte("\n"))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	older := bytes.Replace(only.KnownHosts, bytes.Fields(only.KnownHosts)[0], bytes.Fields(all.KnownHosts)[0], 1)
	for _, tc := range []struct {
		reason  string
		sshd    *stock.SSHD
		key     string
		known   []byte
		refused bool
	}{
		{"all keys of the host", all, "ed25519", all.KnownHosts, false},
		{"its RSA key", all, "rsa", lines[0], false},
		{"its ECDSA key", all, "ecdsa", lines[1], false},
		{"its ed25519 key", all, "ecdsa", lines[2], false},
		{"a host that has an RSA key only", only, "rsa", only.KnownHosts, false},
		{"hashed hosts", all, "ed25519", hashed(t, all.KnownHosts), false},
		{"an older key beside the present one", all, "ed25519", join(older, lines[0]), false},
		{"comments, other hosts and Windows line ends", all, "ed25519", join([]byte("# git\r\n\r\n"), only.KnownHosts, bytes.ReplaceAll(all.KnownHosts, []byte("\n"), []byte("\r\n"))), false},
		{"an authority", all, "ed25519", all.Authority, false},
		{"an authority of a host with an RSA key", only, "ed25519", only.Authority, false},
		{"an authority beside a key", all, "ed25519", join(all.Authority, lines[0]), false},
		{"the authority of another host", all, "ed25519", bytes.Replace(only.Authority, bytes.Fields(only.Authority)[1], bytes.Fields(all.Authority)[1], 1), true},
		{"an older key", all, "ed25519", older, true},
		{"a key that was revoked", all, "ed25519", join(all.KnownHosts, []byte("@revoked * "), bytes.Join(bytes.Fields(lines[2])[1:3], []byte(" ")), []byte("\n@revoked * "),
			bytes.Join(bytes.Fields(lines[1])[1:3], []byte(" ")), []byte("\n@revoked * "), bytes.Join(bytes.Fields(lines[0])[1:3], []byte(" "))), true},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			remote := Remote{URL: tc.sshd.URL(repo.Dir), Auth: Auth{Identity: keys[tc.key], KnownHosts: tc.known}}
			_, files, err := tryGet(patient(t), store, remote, Reference{Branch: "main"})
			if tc.refused != errors.Is(err, ErrHostKey) || !tc.refused && (err != nil || len(files) != 5) {
				t.Errorf("%d files, %v", len(files), err)
			}
		})
	}
}

// hashed hides the names of hosts, as OpenSSH's HashKnownHosts does.
func hashed(t *testing.T, known []byte) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	must(t, os.WriteFile(file, known, 0o600))
	if out, err := exec.Command("ssh-keygen", "-H", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	must(t, err)
	return data
}
