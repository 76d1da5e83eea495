package providers

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// mute is a server that greets, and says nothing more.
func mute(t *testing.T, greeting string) (address string, called <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	calls := make(chan struct{}, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				_, _ = io.WriteString(conn, greeting)
				_, _ = conn.Read(make([]byte, 1))
				calls <- struct{}{}
			}()
		}
	}()
	return listener.Addr().String(), calls
}

// Attempts with servers that say nothing end with their context, one that waits for another attempt too.
func TestAttemptsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	for name, greeting := range map[string]string{"nats": "INFO {}\r\n", "smtp": "220 ESMTP\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, called := mute(t, greeting)
			config, sender, err := contract{address: name + "://" + address, channel: "ops@example.com", username: "flux@example.com"}.open(t, name, nil)
			if err != nil {
				t.Fatal(err)
			}
			config.Timeout = 20 * time.Second
			config.Mails = NewMails()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 2)
			for range 2 {
				go func() { ended <- sender.Send(ctx, sample()) }()
			}
			<-called
			began := time.Now()
			cancel()
			for range 2 {
				if err := <-ended; err == nil {
					t.Error("an event was sent to nobody")
				}
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the attempts went on for %s", took)
			}
		})
	}
}
