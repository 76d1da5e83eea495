package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gitops-toolkit/flux/internal/cli/sshkey"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
)

// hostKey asks the SSH server for its key, and refuses one that contradicts what the person's own
// known_hosts says.
func (j *job) hostKey(ctx context.Context, u *url.URL) ([]byte, error) {
	line, err := sshkey.Scan(ctx, u, j.hostKeys...)
	if err != nil {
		return nil, err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return line, nil
	}
	return line, contradicts(filepath.Join(home, ".ssh", "known_hosts"), u, line)
}

func contradicts(file string, u *url.URL, line []byte) error {
	check, err := knownhosts.New(file)
	if err != nil { // none, or one that nobody can read
		return nil
	}
	_, _, key, _, _, err := ssh.ParseKnownHosts(bytes.TrimSpace(line))
	if err != nil {
		return err
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "22")
	}
	var mismatch *knownhosts.KeyError
	err = check(address, &net.TCPAddr{}, key)
	if !errors.As(err, &mismatch) || len(mismatch.Want) == 0 {
		return nil
	}
	for _, want := range mismatch.Want {
		if want.Key.Type() == key.Type() {
			return fmt.Errorf("the SSH server %s shows the key %s, which is not the one in %s: if the server has a new key, mend that file; if not, somebody is in between",
				u.Host, ssh.FingerprintSHA256(key), file)
		}
	}
	return nil
}

// withKey makes the cluster use an SSH key, generated or from --private-key-file.
func (j *job) withKey(u *url.URL, password string) {
	j.options.Secret.Given = j.keys.File != ""
	j.options.Secret.Generate = func(ctx context.Context) (map[string]string, error) {
		hosts, err := j.hostKey(ctx, u)
		if err != nil {
			return nil, err
		}
		pair, err := j.keys.Pair(password)
		if err != nil {
			return nil, err
		}
		data := map[string]string{"identity": string(pair.Private), "identity.pub": string(pair.Public), "known_hosts": string(hosts)}
		if password != "" && j.keys.File != "" {
			data["password"] = password
		}
		return data, nil
	}
}

// sshAuth is how this program itself reaches the repository over SSH: with the key of
// --private-key-file, or with those of an agent.
func (j *job) sshAuth(ctx context.Context, u *url.URL, password string) (gitrepo.Auth, error) {
	hosts, err := j.hostKey(ctx, u)
	if err != nil {
		return gitrepo.Auth{}, err
	}
	auth := gitrepo.Auth{KnownHosts: hosts}
	if j.keys.File != "" {
		auth.Identity, err = sshkey.ReadFile(j.keys.File)
		auth.Passphrase = password
		return auth, err
	}
	if auth.Agent = os.Getenv("SSH_AUTH_SOCK"); auth.Agent == "" {
		return auth, errors.New("there is no SSH key to push with: give --private-key-file, or start an SSH agent that holds one")
	}
	return auth, nil
}
