package providers

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// Events arrive at a real server, under each kind of login; a restart of it is survived.
func TestNATS(t *testing.T) {
	t.Parallel()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := pair.PublicKey()
	seed, _ := pair.Seed()
	options := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
		Users: []*server.User{{Username: "flux", Password: canary}}, Nkeys: []*server.NkeyUser{{Nkey: public}},
	}
	start := func() *server.Server {
		s, err := server.NewServer(options)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("the server does not start")
		}
		return s
	}
	s := start()
	defer func() { s.Shutdown() }()
	listen := func() *natsio.Subscription {
		listener, err := natsio.Connect(s.ClientURL(), natsio.UserInfo("flux", canary))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(listener.Close)
		sub, err := listener.SubscribeSync("flux.events")
		if err != nil {
			t.Fatal(err)
		}
		if err := listener.Flush(); err != nil {
			t.Fatal(err)
		}
		return sub
	}
	sub := listen()
	arrives := func(reason string) {
		t.Helper()
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		if e, err := event.Decode(m.Data); err != nil || e.Object() != "Kustomization/apps/web" {
			t.Errorf("%s: %s %v", reason, m.Data, err)
		}
	}
	var kept Sender
	for reason, secret := range map[string]map[string]string{
		"a password": {"username": "flux", "password": canary}, "a key": {"nkey": string(seed)},
	} {
		_, sender, err := contract{address: s.ClientURL(), channel: "flux.events", secret: secret}.open(t, "nats", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(t.Context(), sample()); err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		arrives(reason)
		kept = sender
	}
	options.Port = s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	var e *Error
	if err := kept.Send(t.Context(), sample()); !errors.As(err, &e) || !e.again {
		t.Errorf("a server that is away: %v", err)
	}
	s = start()
	sub = listen()
	if err := kept.Send(t.Context(), sample()); err != nil {
		t.Errorf("a server that is back: %v", err)
	}
	arrives("after a restart")
	_, sender, err := contract{address: s.ClientURL(), channel: "flux.events", secret: map[string]string{"username": "flux", "password": "wrong-password"}}.open(t, "nats", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), sample()); err == nil || strings.Contains(err.Error(), "wrong-password") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestNATSIncomplete(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]contract{
		"no address": {channel: "x"}, "no subject": {address: "nats://x"}, "a bad key": {address: "nats://x", channel: "x", secret: map[string]string{"nkey": "SUX" + canary}},
		"bad credentials": {address: "nats://x", channel: "x", secret: map[string]string{"creds": canary}},
	} {
		if _, _, err := c.open(t, "nats", nil); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", reason, err)
		}
	}
}
