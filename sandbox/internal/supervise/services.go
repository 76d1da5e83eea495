package supervise

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// gitUser may push to the sandbox's Git server; everybody may read from it.
const gitUser = "flux"

// services are the servers that run inside the supervisor.
type services struct {
	git      *git.Server
	registry *registry
}

// startServices starts the Git server and the registry. A machine without git
// gets a sandbox without a Git server.
func (s *Supervisor) startServices() error {
	http.DefaultTransport.(*http.Transport).Proxy = s.throughNode
	if err := s.startRegistry(); err != nil {
		return fmt.Errorf("start the registry: %w", err)
	}
	if _, err := exec.LookPath("git"); err != nil {
		fmt.Fprintln(os.Stderr, "there will be no Git server, because git is not installed")
		return nil
	}
	return s.startGit()
}

func (s *Supervisor) stopServices() {
	if s.services.git != nil {
		s.services.git.Close()
	}
	if s.services.registry != nil {
		s.services.registry.close()
	}
}

func (s *Supervisor) startGit() error {
	credential, err := s.gitCredential()
	if err != nil {
		return err
	}
	ports := s.state.Ports
	server, err := git.Start(git.Options{
		Root:           s.dir.Path("git"),
		HTTP:           loopback(ports.GitHTTP),
		HTTPS:          loopback(ports.GitHTTPS),
		SSH:            loopback(ports.GitSSH),
		KeysDir:        s.dir.Path("git-keys"),
		Users:          map[string]string{gitUser: credential.password},
		AnonymousRead:  true,
		AuthorizedKeys: credential.public,
	})
	if err != nil {
		return err
	}
	s.services.git = server
	g := &state.Git{
		HTTP: "http://" + loopback(ports.GitHTTP), HTTPS: "https://" + loopback(ports.GitHTTPS), SSH: "ssh://git@" + loopback(ports.GitSSH),
		Username: gitUser, Password: credential.password, Identity: credential.identity,
		CAFile: s.dir.Path("git-keys", "ca-file.crt"), KnownHosts: s.dir.Path("git-keys", "known_hosts"),
	}
	if err := errors.Join(
		state.WriteFile(g.CAFile, server.CA()),
		state.WriteFile(g.KnownHosts, server.KnownHosts()),
	); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Git = g
	return nil
}

type gitCredential struct {
	password, identity string
	public             []byte
}

// gitCredential makes the password and SSH key at the first start.
func (s *Supervisor) gitCredential() (gitCredential, error) {
	c := gitCredential{identity: s.dir.Path("git-keys", "identity")}
	if err := os.MkdirAll(s.dir.Path("git-keys"), 0o700); err != nil {
		return c, err
	}
	passwordFile := s.dir.Path("git-keys", "password")
	password, err := os.ReadFile(passwordFile)
	if err == nil {
		c.password = string(password)
		c.public, err = os.ReadFile(c.identity + ".pub")
		return c, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	c.password = rand.Text()
	private, public, err := git.NewSSHKey("ed25519", "")
	if err != nil {
		return c, err
	}
	c.public = public
	// The password last: its presence says that the key is there too.
	return c, errors.Join(
		state.WriteFile(c.identity, private),
		state.WriteFile(c.identity+".pub", public),
		state.WriteFile(passwordFile, []byte(c.password)),
	)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// throughNode sends webhooks through the node's proxy, which knows Services.
func (s *Supervisor) throughNode(r *http.Request) (*url.URL, error) {
	if ip := net.ParseIP(r.URL.Hostname()); ip != nil && ip.IsLoopback() || r.URL.Hostname() == "localhost" {
		return nil, nil
	}
	return &url.URL{Scheme: "http", Host: loopback(s.state.Ports.Proxy)}, nil
}
