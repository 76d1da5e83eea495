package lfstest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSH is a server that answers one command.
type SSH struct {
	// Address, and the host key in the format of known_hosts.
	Address    string
	KnownHosts []byte
	// Identity is a private key that may log in.
	Identity []byte

	// Commands that were run. Read it when the client is done.
	Commands chan string
}

// StartSSH answers every command with this text, or fails it if there is none.
func StartSSH(t testing.TB, text string) *SSH {
	t.Helper()
	host, identity := newSigner(t), newKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	s := &SSH{
		Address: listener.Addr().String(), Identity: identity, Commands: make(chan string, 10),
		KnownHosts: []byte(knownhosts.Line([]string{listener.Addr().String()}, host.PublicKey()) + "\n"),
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, config, text)
		}
	}()
	return s
}

func newKey(t testing.TB) []byte {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	signer, err := ssh.ParsePrivateKey(newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func (s *SSH) serve(conn net.Conn, config *ssh.ServerConfig, text string) {
	defer conn.Close() //nolint:errcheck // the end of a test's connection
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		channel, requests, err := wanted.Accept()
		if err != nil {
			return
		}
		for req := range requests {
			_ = req.Reply(true, nil)
			if req.Type != "exec" {
				continue
			}
			var command struct{ Text string }
			_ = ssh.Unmarshal(req.Payload, &command)
			s.Commands <- command.Text
			status := uint32(0)
			if text == "" {
				status = 1
				_, _ = fmt.Fprintln(channel.Stderr(), "git-lfs-authenticate: command not found")
			}
			_, _ = channel.Write([]byte(text))
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			_ = channel.Close()
		}
	}
}
