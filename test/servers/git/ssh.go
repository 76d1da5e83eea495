package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

func (s *Server) startSSH() (err error) {
	if s.opts.SSH == "" {
		return nil
	}
	config, err := s.sshConfig()
	if err != nil {
		return err
	}
	if s.sshLn, err = listen(s.opts.SSH); err != nil {
		return err
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for {
			conn, err := s.sshLn.Accept()
			if err != nil {
				return
			}
			s.wg.Add(1)
			go func() {
				defer s.wg.Done()
				s.serveSSH(conn, config)
			}()
		}
	}()
	return nil
}

func (s *Server) sshConfig() (*ssh.ServerConfig, error) {
	config := &ssh.ServerConfig{}
	config.AddHostKey(s.keys.host)
	if s.opts.AuthorizeKey != nil {
		config.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if s.opts.AuthorizeKey(key) {
				return nil, nil
			}
			return nil, errors.New("key is not authorized")
		}
		return config, nil
	}
	if len(bytes.TrimSpace(s.opts.AuthorizedKeys)) == 0 {
		config.NoClientAuth = true
		return config, nil
	}
	var allowed [][]byte
	for rest := s.opts.AuthorizedKeys; len(bytes.TrimSpace(rest)) > 0; {
		key, _, _, next, err := ssh.ParseAuthorizedKey(rest)
		if err != nil {
			return nil, fmt.Errorf("AuthorizedKeys: %w", err)
		}
		allowed = append(allowed, key.Marshal())
		rest = next
	}
	config.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		for _, a := range allowed {
			if bytes.Equal(a, key.Marshal()) {
				return nil, nil
			}
		}
		return nil, errors.New("key is not authorized")
	}
	return config, nil
}

func (s *Server) serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	var sessions sync.WaitGroup
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions are served")
			continue
		}
		channel, reqs, err := ch.Accept()
		if err != nil {
			break
		}
		sessions.Add(1)
		go func() {
			defer sessions.Done()
			s.serveSession(ctx, channel, reqs)
		}()
	}
	cancel()
	sessions.Wait()
}

// serveSession answers environment requests and runs the first command; then the session ends.
func (s *Server) serveSession(ctx context.Context, channel ssh.Channel, reqs <-chan *ssh.Request) {
	defer channel.Close()
	protocol := ""
	for req := range reqs {
		switch req.Type {
		case "env":
			var kv struct{ Name, Value string }
			if ssh.Unmarshal(req.Payload, &kv) == nil && kv.Name == "GIT_PROTOCOL" {
				protocol = kv.Value
			}
			_ = req.Reply(true, nil)
		case "exec":
			var cmd struct{ Command string }
			if ssh.Unmarshal(req.Payload, &cmd) != nil {
				_ = req.Reply(false, nil)
				return
			}
			_ = req.Reply(true, nil)
			go ssh.DiscardRequests(reqs)
			status := s.runSSH(ctx, channel, cmd.Command, protocol)
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
			return
		default:
			_ = req.Reply(false, nil)
		}
	}
}

func (s *Server) runSSH(ctx context.Context, channel ssh.Channel, command, protocol string) uint32 {
	service, arg, _ := strings.Cut(command, " ")
	name := repoName(strings.Trim(strings.TrimSpace(arg), "'"))
	if service != uploadPack && service != receivePack {
		fmt.Fprintf(channel.Stderr(), "only %s and %s are served\n", uploadPack, receivePack)
		return 1
	}
	repo, err := Open(s.opts.Root, name)
	if err != nil {
		fmt.Fprintf(channel.Stderr(), "ERROR: Repository not found: %s\n", name)
		return 1
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, out := &countingReader{Reader: channel}, &countingWriter{Writer: channel}
	cmd := s.command(ctx, repo, service, protocol)
	cmd.Stdout, cmd.Stderr = out, channel.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 1
	}
	go func() {
		// A client that is gone, or done, ends the command's input; the command then ends by itself.
		defer stdin.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := in.Read(buf)
			if _, werr := stdin.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}()
	result := Request{Transport: "ssh", Repo: name, Service: service, Status: 200, Authorization: true}
	code := uint32(0)
	if err := s.run(cmd, repo, service); err != nil {
		result.Status, code = 500, 1
	}
	result.Sent, result.Received = out.n.Load(), in.n.Load()
	s.record.add(result)
	return code
}
