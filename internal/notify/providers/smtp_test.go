package providers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/emersion/go-sasl"
	smtpd "github.com/emersion/go-smtp"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// relay is a real mail server that keeps what it gets.
type relay struct {
	addr string
	ca   []byte
	// mechanisms that it offers, and its answer to a mail; nil: it takes it.
	mechanisms []string
	answer     error

	mu    sync.Mutex
	mails []delivered
}

type delivered struct {
	from string
	to   []string
	auth string
	tls  bool
	data []byte
}

func (r *relay) NewSession(c *smtpd.Conn) (smtpd.Session, error) {
	_, encrypted := c.TLSConnectionState()
	return &session{relay: r, mail: delivered{tls: encrypted}}, nil
}

type session struct {
	relay *relay
	mail  delivered
}

func (s *session) AuthMechanisms() []string { return s.relay.mechanisms }

func (s *session) Auth(mechanism string) (sasl.Server, error) {
	check := func(user, password string) error {
		if user != "robot" || password != canary {
			return &smtpd.SMTPError{Code: 535, EnhancedCode: smtpd.EnhancedCode{5, 7, 8}, Message: "authentication failed"}
		}
		s.mail.auth = mechanism
		return nil
	}
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, user, password string) error { return check(user, password) }), nil
	case "LOGIN":
		return &loginServer{check: check}, nil
	case "CRAM-MD5":
		return &cramServer{check: check}, nil
	case "XOAUTH2":
		return &xoauth2Server{check: check}, nil
	}
	return nil, smtpd.ErrAuthUnknownMechanism
}

// loginServer asks for user and password, one after the other.
type loginServer struct {
	check func(user, password string) error
	user  string
	step  int
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

// cramServer sends a challenge, which the client signs with the password.
type cramServer struct {
	check func(user, password string) error
	asked bool
}

func (c *cramServer) Next(response []byte) ([]byte, bool, error) {
	const challenge = "<1896.697170952@relay.example.com>"
	if !c.asked {
		c.asked = true
		return []byte(challenge), false, nil
	}
	mac := hmac.New(md5.New, []byte(canary))
	mac.Write([]byte(challenge))
	user, proof, _ := strings.Cut(string(response), " ")
	if proof != hex.EncodeToString(mac.Sum(nil)) {
		return nil, true, c.check(user, "another")
	}
	return nil, true, c.check(user, canary)
}

type xoauth2Server struct {
	check func(user, token string) error
}

func (x *xoauth2Server) Next(response []byte) ([]byte, bool, error) {
	parts := strings.Split(string(response), "\x01")
	if len(parts) < 2 {
		return nil, true, errors.New("malformed")
	}
	return nil, true, x.check(strings.TrimPrefix(parts[0], "user="), strings.TrimPrefix(parts[1], "auth=Bearer "))
}

func (s *session) Mail(from string, _ *smtpd.MailOptions) error {
	s.mail.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtpd.RcptOptions) error {
	s.mail.to = append(s.mail.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if s.relay.answer != nil {
		return s.relay.answer
	}
	if err != nil {
		return err
	}
	s.mail.data = data
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	s.relay.mails = append(s.relay.mails, s.mail)
	return nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

// startRelay starts one: with implicit TLS, with STARTTLS, or without.
func startRelay(t *testing.T, security string, mechanisms ...string) *relay {
	t.Helper()
	r := &relay{mechanisms: mechanisms}
	s := smtpd.NewServer(r)
	s.Domain, s.AllowInsecureAuth = "relay.example.com", security == "none"
	pair, ca := certificate(t)
	r.ca = ca
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	if security == "starttls" {
		s.TLSConfig = config
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().String()
	if security == "tls" {
		l = tls.NewListener(l, config)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return r
}

func certificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "relay"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// sender of mail through a relay.
func (r *relay) sender(t *testing.T, scheme string, secret map[string]string, trusted bool) (*Config, BatchSender) {
	t.Helper()
	p := &notificationv1.Provider{}
	p.UID = "provider"
	p.Spec = notificationv1.ProviderSpec{
		Type: "smtp", Address: scheme + "://" + r.addr, Channel: "Ops <ops@example.com>, dev@example.com", Username: "Flux <flux@example.com>",
		SecretRef: &meta.LocalObjectReference{Name: "login"}, CertSecretRef: &meta.LocalObjectReference{Name: "ca"},
	}
	if !trusted {
		p.Spec.CertSecretRef = nil
	}
	c, err := Read(p, func(name string) (map[string][]byte, error) {
		if name == "ca" {
			return map[string][]byte{"ca.crt": r.ca}, nil
		}
		data := map[string][]byte{}
		for k, v := range secret {
			data[k] = []byte(v)
		}
		return data, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Mails = NewMails()
	s, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestSMTPLogins(t *testing.T) {
	t.Parallel()
	password, token := map[string]string{"username": "robot", "password": canary}, map[string]string{"username": "robot", "token": canary}
	for _, tt := range []struct {
		reason, security, scheme string
		offers                   []string
		secret                   map[string]string
		distrust                 bool
		auth, fails              string
		again                    bool
	}{
		{reason: "STARTTLS and PLAIN", security: "starttls", scheme: "smtp", offers: []string{"PLAIN"}, secret: password, auth: "PLAIN"},
		{reason: "STARTTLS and LOGIN", security: "starttls", scheme: "smtp", offers: []string{"LOGIN"}, secret: password, auth: "LOGIN"},
		{reason: "STARTTLS and CRAM-MD5", security: "starttls", scheme: "smtp", offers: []string{"LOGIN", "PLAIN", "CRAM-MD5"}, secret: password, auth: "CRAM-MD5"},
		{reason: "a wrong password for CRAM-MD5", security: "starttls", scheme: "smtp", offers: []string{"CRAM-MD5"}, secret: map[string]string{"username": "robot", "password": "wrong-password"}, fails: "535"},
		{reason: "implicit TLS and XOAUTH2", security: "tls", scheme: "smtps", offers: []string{"XOAUTH2"}, secret: token, auth: "XOAUTH2"},
		{reason: "no login, no TLS", security: "none", scheme: "smtp"},
		{reason: "no login, TLS where it is offered", security: "starttls", scheme: "smtp"},
		{reason: "a login never goes in the clear", security: "none", scheme: "smtp", offers: []string{"PLAIN"}, secret: password, fails: "TLS", again: true},
		{reason: "an unknown authority", security: "starttls", scheme: "smtp", offers: []string{"PLAIN"}, secret: password, distrust: true, fails: "certificate", again: true},
		{reason: "a wrong password", security: "starttls", scheme: "smtp", offers: []string{"PLAIN"}, secret: map[string]string{"username": "robot", "password": "wrong-password"}, fails: "535"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			r := startRelay(t, tt.security, tt.offers...)
			_, s := r.sender(t, tt.scheme, tt.secret, !tt.distrust)
			err := s.Send(t.Context(), sample())
			if tt.fails != "" {
				var e *Error
				if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.fails) || e.again != tt.again || strings.Contains(err.Error(), "wrong-password") {
					t.Fatalf("%v, again %v", err, e != nil && e.again)
				}
				return
			}
			if err != nil || len(r.mails) != 1 {
				t.Fatalf("%d mails, %v", len(r.mails), err)
			}
			m := r.mails[0]
			if m.auth != tt.auth || m.tls != (tt.security != "none") || m.from != "flux@example.com" || strings.Join(m.to, " ") != "ops@example.com dev@example.com" {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestSMTPAnswers(t *testing.T) {
	t.Parallel()
	for code, again := range map[int]bool{550: false, 451: true} {
		r := startRelay(t, "none")
		r.answer = &smtpd.SMTPError{Code: code, Message: "no"}
		_, s := r.sender(t, "smtp", nil, true)
		var e *Error
		if err := s.Send(t.Context(), sample()); !errors.As(err, &e) || e.again != again {
			t.Errorf("%d: %v", code, err)
		}
	}
}

// Only the relay's answer tells a wrong login, not digits that look like one.
func TestMailErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err   error
		again bool
	}{
		{errors.New("dial failed: dial tcp 192.0.2.1:5350: connect: connection refused"), true},
		{fmt.Errorf("dial failed: SMTP AUTH failed: %w", &textproto.Error{Code: 535, Msg: "no"}), false},
		{fmt.Errorf("dial failed: SMTP AUTH failed: %w", &textproto.Error{Code: 454, Msg: "535 sessions, try later"}), true},
	} {
		var e *Error
		if err := mailError(tt.err); !errors.As(err, &e) || e.again != tt.again {
			t.Errorf("%v: %v", tt.err, err)
		}
	}
}

// The policy on addresses counts for what is not HTTP too.
func TestPolicyBesideHTTP(t *testing.T) {
	t.Parallel()
	r := startRelay(t, "none")
	for name, c := range map[string]contract{
		"smtp": {address: "smtp://" + r.addr, channel: "a@example.com", username: "f@example.com"},
		"nats": {address: "nats://" + r.addr, channel: "subject"},
	} {
		config, sender, err := c.open(t, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		config.Policy.PublicOnly = true
		var e *Error
		if err := sender.Send(t.Context(), sample()); !errors.As(err, &e) || e.again || !strings.Contains(err.Error(), "is not public") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// parts reads a mail as a client does.
func parts(t *testing.T, data []byte) (header mail.Header, plain, rich string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s %v", kind, err)
	}
	bodies := map[string]string{}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
			t.Fatalf("encoding %s", p.Header.Get("Content-Transfer-Encoding"))
		}
		body, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		bodies[name] = strings.ReplaceAll(string(body), "\r\n", "\n")
	}
	return m.Header, bodies["text/plain"], bodies["text/html"]
}

// about makes a notification.
func about(name, severity, reason, message, revision string) *Notification {
	n := sample()
	e := *n.Event
	e.InvolvedObject.Name, e.Severity, e.Reason, e.Message = name, severity, reason, message
	e.Metadata = map[string]string{"revision": revision}
	n.Event = &e
	return n
}

// One broken commit is one mail, what breaks later joins it, what was told is not told again, and a
// recovery is another mail.
func TestSMTPStory(t *testing.T) {
	t.Parallel()
	r := startRelay(t, "none")
	_, s := r.sender(t, "smtp", nil, true)
	send := func(all ...*Notification) *delivered {
		t.Helper()
		before := len(r.mails)
		if err := s.SendAll(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		if len(r.mails) == before {
			return nil
		}
		return &r.mails[len(r.mails)-1]
	}
	bad, good := "main@sha1:"+hash, "main@sha1:"+strings.Repeat("a", 40)
	first := send(about("a", "error", "BuildFailed", "no such file", bad), about("b", "error", "HealthCheckFailed", "timeout", bad))
	if first == nil {
		t.Fatal("a failure is no mail")
	}
	header, plain, _ := parts(t, first.data)
	if header.Get("Subject") != "[Flux] 2 objects fail at main@sha1:41c0484d5932" || !strings.Contains(plain, "Kustomization/apps/a") || !strings.Contains(plain, "Kustomization/apps/b") {
		t.Errorf("subject %q\n%s", header.Get("Subject"), plain)
	}
	thread := header.Get("Message-Id")
	if m := send(about("a", "error", "BuildFailed", "no such file", bad)); m != nil {
		t.Errorf("the same failure is told again: %s", m.data)
	}
	later, _, _ := parts(t, send(about("c", "error", "BuildFailed", "x", bad)).data)
	if later.Get("In-Reply-To") != thread {
		t.Errorf("a later failure replies to %s, want %s", later.Get("In-Reply-To"), thread)
	}
	if m := send(about("d", "info", "Progressing", "waiting", good)); m != nil {
		t.Errorf("progress is a mail: %s", m.data)
	}
	update := about("d", "info", "ReconciliationSucceeded", "Reconciliation finished", good)
	update.Event.Metadata[event.KeyCommitStatus] = event.CommitStatusUpdate
	if m := send(update); m != nil {
		t.Errorf("an object that never failed recovers: %s", m.data)
	}
	healed := about("a", "info", "ReconciliationSucceeded", "Reconciliation finished", good)
	healed.Event.Metadata[event.KeyCommitStatus] = event.CommitStatusUpdate
	header, plain, _ = parts(t, send(healed).data)
	if header.Get("Subject") != "[Flux] Kustomization/apps/a works again at main@sha1:aaaaaaaaaaaa" || header.Get("References") != thread || !strings.Contains(plain, "works again") {
		t.Errorf("recovery: %v\n%s", header, plain)
	}
	if m := send(healed); m != nil {
		t.Errorf("a recovery is told again: %s", m.data)
	}
	if m := send(about("a", "info", "ReconciliationSucceeded", "ConfigMap/apps/x created", good)); m == nil {
		t.Error("a change is no mail")
	}
}

// The end of a failure of which no event tells is a mail too: the words are those of the object's condition, or that it is
// gone. What is on its way is not looked for any more.
func TestSMTPEnds(t *testing.T) {
	t.Parallel()
	r := startRelay(t, "none")
	c, s := r.sender(t, "smtp", nil, true)
	bad := "main@sha1:" + hash
	for _, name := range []string{"a", "b"} {
		if err := s.Send(t.Context(), about(name, "error", "UpgradeFailed", "no", bad)); err != nil {
			t.Fatal(err)
		}
	}
	failing := c.Mails.Failing()
	if len(failing) != 2 || failing[0].Alert != (types.NamespacedName{Namespace: "apps", Name: "all"}) || failing[0].Event.InvolvedObject.UID != "object-uid" {
		t.Fatalf("failing: %+v", failing)
	}
	for _, tt := range []struct{ name, reason, message, subject string }{
		{"a", "UpgradeSucceeded", "Helm upgrade succeeded", "[Flux] Kustomization/apps/a works again at main@sha1:41c0484d5932"},
		{"b", event.ReasonDeleted, "the object was deleted", "[Flux] Kustomization/apps/b was deleted at main@sha1:41c0484d5932"},
	} {
		c.Mails.Ending("provider", "alert-uid", "Kustomization/apps/"+tt.name)
		n := about(tt.name, "info", tt.reason, tt.message, bad)
		n.Event.Metadata[alert.KeyTransition] = alert.Resolved
		if err := s.Send(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		header, plain, rich := parts(t, r.mails[len(r.mails)-1].data)
		if header.Get("Subject") != tt.subject || !strings.Contains(plain, tt.message) || strings.Contains(rich, "<td>transition") {
			t.Errorf("%s\n%s", header.Get("Subject"), plain)
		}
	}
	if left := c.Mails.Failing(); len(left) != 0 || len(r.mails) != 4 {
		t.Errorf("%d are still looked for, %d mails", len(left), len(r.mails))
	}
}

// Nothing that an event says gets out of its place.
func TestSMTPHostileEvent(t *testing.T) {
	t.Parallel()
	r := startRelay(t, "none")
	c, s := r.sender(t, "smtp", nil, true)
	c.RevisionURL = nil
	n := about("web\r\nBcc: mallory@example.com", "error", "X\r\n\r\nY", "<script>alert(1)</script>\r\n.\r\nQUIT\r\n<img src=https://evil>", "main\r\nX-Evil: 1")
	n.Alert.Name = "all\r\nBcc: x@y"
	n.Event.Metadata["key\"><script>"] = "javascript:alert(1)"
	if err := s.Send(t.Context(), n); err != nil || len(r.mails) != 1 {
		t.Fatal(err)
	}
	header, plain, rich := parts(t, r.mails[0].data)
	for k := range header {
		if k == "Bcc" || k == "X-Evil" {
			t.Errorf("a header was made up: %v", header)
		}
	}
	if len(r.mails[0].to) != 2 || !strings.Contains(plain, "QUIT") {
		t.Errorf("recipients %v\n%s", r.mails[0].to, plain)
	}
	if strings.Contains(rich, "<script") || strings.Contains(rich, "<img") {
		t.Errorf("the HTML runs what the event says:\n%s", rich)
	}
	if to := header.Get("To"); to != `"Ops" <ops@example.com>, <dev@example.com>` {
		t.Errorf("To: %s", to)
	}
}

func TestSMTPIncomplete(t *testing.T) {
	t.Parallel()
	for reason, change := range map[string]func(*contract){
		"no sender": func(c *contract) { c.username = "flux" }, "no recipients": func(c *contract) { c.channel = "" },
		"a recipient with a line end": func(c *contract) { c.channel = "a@b\r\nRCPT TO:<c@d>" }, "another scheme": func(c *contract) { c.address = "https://relay" },
		"a login in the address": func(c *contract) { c.address = "smtp://u:" + canary + "@relay" },
	} {
		c := contract{address: "smtp://relay", channel: "a@example.com", username: "f@example.com"}
		change(&c)
		if _, _, err := c.open(t, "smtp", nil); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if link := safeLink("javascript:alert(1)"); link != "" {
		t.Errorf("link %s", link)
	}
	if link := safeLink("https://u:p@git.example.com/o/r/commit/1"); link != "https://git.example.com/o/r/commit/1" {
		t.Errorf("link %s", link)
	}
}
