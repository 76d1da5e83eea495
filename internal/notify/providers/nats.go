package providers

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	natsio "github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

func init() { register(Type{Name: "nats", New: newNATS}) }

// nats publishes to a subject. The connection is made with the first event, kept, and made anew when
// an attempt finds it broken.
type nats struct {
	*Config
	mu   sync.Mutex
	conn *natsio.Conn
}

func newNATS(c *Config) (Sender, error) {
	if c.Address == "" {
		return nil, errors.New("address is missing: set spec.address to that of a NATS server")
	}
	if err := c.needChannel("the subject"); err != nil {
		return nil, err
	}
	if c.Proxy != nil {
		return nil, errors.New("nats cannot be reached through a proxy: remove proxy and proxySecretRef")
	}
	n := &nats{Config: c}
	_, err := n.identity()
	return n, err
}

// identity reads the login: a credentials file, a key, or a user with password.
func (n *nats) identity() (natsio.Option, error) {
	if creds := n.Secret["creds"]; len(creds) > 0 {
		jwt, err := nkeys.ParseDecoratedJWT(creds)
		if err != nil {
			return nil, errors.New("the Secret's key 'creds' holds no user JWT")
		}
		pair, err := nkeys.ParseDecoratedNKey(creds)
		if err != nil {
			return nil, errors.New("the Secret's key 'creds' holds no user key")
		}
		return natsio.UserJWT(func() (string, error) { return jwt, nil }, pair.Sign), nil
	}
	if seed := n.Secret["nkey"]; len(seed) > 0 {
		pair, err := nkeys.FromSeed([]byte(text(seed)))
		if err != nil {
			return nil, errors.New("the Secret's key 'nkey' is no seed")
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, errors.New("the Secret's key 'nkey' is no seed")
		}
		return natsio.Nkey(public, pair.Sign), nil
	}
	if n.Username != "" {
		return natsio.UserInfo(n.Username, n.Password), nil
	}
	return nil, nil
}

func (n *nats) connection(ctx context.Context) (*natsio.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil { // the time went by behind another attempt
		return nil, unreachable(err)
	}
	if n.conn != nil && n.conn.IsConnected() {
		return n.conn, nil
	}
	n.drop()
	dialer := &hangUp{ctx: ctx, dial: n.Policy.Dialer().DialContext}
	defer dialer.release()
	options := []natsio.Option{
		natsio.Name("NATS Provider " + n.Provider.Namespace + "/" + n.Provider.Name), natsio.NoReconnect(), natsio.Timeout(n.Timeout),
		natsio.SetCustomDialer(dialer),
		natsio.ErrorHandler(func(*natsio.Conn, *natsio.Subscription, error) {}), // Send asks for the last one
	}
	if login, err := n.identity(); err != nil {
		return nil, err
	} else if login != nil {
		options = append(options, login)
	}
	if !n.TLS.IsZero() {
		files, err := n.TLS.Config()
		if err != nil {
			return nil, err
		}
		options = append(options, natsio.Secure(files))
	}
	conn, err := natsio.Connect(n.Address, options...)
	if err != nil {
		return nil, unreachable(err)
	}
	n.conn = conn
	// An idle connection is not worth its goroutines.
	time.AfterFunc(idleNATS, func() { n.retire(conn) })
	return conn, nil
}

// idleNATS is how long a connection lives; the next event makes a new one.
const idleNATS = 5 * time.Minute

func (n *nats) retire(conn *natsio.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn == conn {
		n.drop()
	}
}

func (n *nats) drop() {
	if n.conn != nil {
		n.conn.Close()
		n.conn = nil
	}
}

func (n *nats) Send(ctx context.Context, m *Notification) error {
	data, err := json.Marshal(m.Event)
	if err != nil {
		return refused("the event cannot be encoded: %v", err)
	}
	conn, err := n.connection(ctx)
	if err != nil {
		return err
	}
	if err := conn.Publish(n.Channel, data); err != nil {
		return unreachable(err)
	}
	// The server's answer to the ping says that it has read what came before.
	if err := conn.FlushWithContext(ctx); err != nil {
		return unreachable(err)
	}
	if err := conn.LastError(); err != nil {
		n.retire(conn)
		return refused("the server refused the event: %v", err)
	}
	return nil
}
