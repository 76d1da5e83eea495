package providers

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
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

// A server with operator and accounts lets in who has a credentials file of one of them, and nobody else.
func TestNATSCredentials(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pair := func(create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		k, err := create()
		must(err)
		public, err := k.PublicKey()
		must(err)
		return k, public
	}
	operator, operatorID := pair(nkeys.CreateOperator)
	account, accountID := pair(nkeys.CreateAccount)
	accountJWT, err := jwt.NewAccountClaims(accountID).Encode(operator)
	must(err)
	credentials := func(signer nkeys.KeyPair, subjects ...string) string {
		user, id := pair(nkeys.CreateUser)
		claims := jwt.NewUserClaims(id)
		claims.Permissions.Pub.Allow = subjects
		token, err := claims.Encode(signer)
		must(err)
		seed, err := user.Seed()
		must(err)
		file, err := jwt.FormatUserConfig(token, seed)
		must(err)
		return string(file)
	}
	resolver := &server.MemAccResolver{}
	must(resolver.Store(accountID, accountJWT))
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, TrustedKeys: []string{operatorID}, AccountResolver: resolver})
	must(err)
	s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	listener, err := natsio.Connect(s.ClientURL(), natsio.UserCredentialBytes([]byte(credentials(account))))
	must(err)
	t.Cleanup(listener.Close)
	sub, err := listener.SubscribeSync("flux.events")
	must(err)
	must(listener.Flush())
	stranger, _ := pair(nkeys.CreateAccount)
	for _, tt := range []struct {
		reason, creds string
		arrives       bool
	}{
		{"a user of the account", credentials(account), true},
		{"a user who may publish there", credentials(account, "flux.*"), true},
		{"a user who may publish elsewhere", credentials(account, "other"), false},
		{"a user of nobody", credentials(stranger), false},
	} {
		_, sender, err := contract{address: s.ClientURL(), channel: "flux.events", secret: map[string]string{"creds": tt.creds}}.open(t, "nats", nil)
		must(err)
		err = sender.Send(t.Context(), sample())
		if (err == nil) != tt.arrives || err != nil && strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: %v", tt.reason, err)
		}
		if !tt.arrives {
			continue
		}
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatalf("%s: %v", tt.reason, err)
		}
		if e, err := event.Decode(m.Data); err != nil || e.Object() != "Kustomization/apps/web" {
			t.Errorf("%s: %s %v", tt.reason, m.Data, err)
		}
	}
}
