package providers

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net/mail"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
)

// mailWindow is how long events about one revision are gathered into one mail.
const mailWindow = 15 * time.Second

func init() {
	register(Type{Name: "smtp", Class: alert.Raw, New: newSMTP, Window: mailWindow, Patient: true})
}

// smtp sends mail: the first mail about a commit that breaks something names all that broke within
// the window, what breaks later joins the same thread, and a recovery is another mail.
type smtp struct {
	*Config
	host     string
	port     int
	implicit bool // TLS from the first byte
	from     *mail.Address
	to       []*mail.Address
}

func newSMTP(c *Config) (Sender, error) {
	s := &smtp{Config: c}
	if err := s.readAddress(); err != nil {
		return nil, err
	}
	if c.Proxy != nil {
		return nil, errors.New("smtp cannot be reached through a proxy: remove proxy and proxySecretRef")
	}
	sender := cmp.Or(c.Provider.Spec.Username, c.Username)
	var err error
	if s.from, err = mail.ParseAddress(sender); err != nil {
		return nil, errors.New("spec.username must be the mail address of the sender, such as Flux <flux@example.com>")
	}
	if err := c.needChannel("the mail addresses of the recipients, separated by commas"); err != nil {
		return nil, err
	}
	if s.to, err = mail.ParseAddressList(c.Channel); err != nil {
		return nil, errors.New("spec.channel is not a list of mail addresses, separated by commas")
	}
	return s, nil
}

// readAddress takes smtp://host[:587], where TLS is negotiated, or smtps://host[:465].
func (s *smtp) readAddress() error {
	u, err := url.Parse(s.Address)
	if err != nil || u.Hostname() == "" || (u.Scheme != "smtp" && u.Scheme != "smtps") {
		return errors.New("address must be smtp://<host>:587 or smtps://<host>:465")
	}
	if u.User != nil {
		return errors.New("address must not hold a login: put username and password into the Secret of secretRef")
	}
	s.host, s.implicit, s.port = u.Hostname(), u.Scheme == "smtps", 587
	if s.implicit {
		s.port = 465
	}
	if p := u.Port(); p != "" {
		if s.port, err = strconv.Atoi(p); err != nil {
			return errors.New("address has a port that is no number")
		}
	}
	return nil
}

// login is whom the relay knows us as: the Secret's username, which the sender may share.
func (s *smtp) login() string { return cmp.Or(text(s.Secret[keyUsername]), s.from.Address) }

// client returns a client whose connections end with ctx, and what ends that bond.
func (s *smtp) client(ctx context.Context) (client *gomail.Client, release func(), err error) {
	files, err := s.TLS.Config()
	if err != nil {
		return nil, nil, err
	}
	files.ServerName = s.host
	options := []gomail.Option{
		gomail.WithPort(s.port), gomail.WithTimeout(s.Timeout), gomail.WithTLSConfig(files), gomail.WithoutNoop(),
		gomail.WithHELO(heloName(s.from.Address)),
	}
	if s.implicit {
		options = append(options, gomail.WithSSL())
	}
	policy := gomail.TLSMandatory // a login never goes over the wire in the clear
	switch {
	case s.Token != "":
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthXOAUTH2), gomail.WithUsername(s.login()), gomail.WithPassword(s.Token))
	case s.Password != "":
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(s.login()), gomail.WithPassword(s.Password))
	default:
		policy = gomail.TLSOpportunistic
	}
	if !s.implicit {
		options = append(options, gomail.WithTLSPolicy(policy))
	}
	dial := s.Policy.Dialer().DialContext
	if s.implicit {
		dial = (&tls.Dialer{NetDialer: s.Policy.Dialer(), Config: files}).DialContext
	}
	bound := &hangUp{ctx: ctx, dial: dial}
	options = append(options, gomail.WithDialContextFunc(bound.dialContext))
	client, err = gomail.NewClient(s.host, options...)
	return client, bound.release, err
}

// heloName is the domain of the sender; the pod's name would mean nothing to a relay.
func heloName(address string) string {
	_, domain, _ := strings.Cut(address, "@")
	return domain
}

// Send sends a mail about one event.
func (s *smtp) Send(ctx context.Context, n *Notification) error {
	return s.SendAll(ctx, []*Notification{n})
}

// SendAll sends at most one mail about events of one Alert, one revision and one severity.
func (s *smtp) SendAll(ctx context.Context, all []*Notification) error {
	letter := s.Mails.compose(s.Provider.UID, all)
	if letter == nil {
		return nil
	}
	if s.RevisionURL != nil {
		letter.Link = safeLink(s.RevisionURL(ctx, letter.first))
	}
	msg, err := s.message(letter)
	if err != nil {
		return err
	}
	client, release, err := s.client(ctx)
	if err != nil {
		return refused("the mail client: %v", err)
	}
	defer release()
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		return mailError(err)
	}
	s.Mails.sent(letter)
	return nil
}

// message writes a letter as a mail with a text and an HTML part.
func (s *smtp) message(l *letter) (*gomail.Msg, error) {
	plain, rich, err := l.bodies()
	if err != nil {
		return nil, refused("the mail cannot be written: %v", err)
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	m.FromMailAddress(s.from)
	m.ToMailAddress(s.to...)
	m.Subject(oneLine(l.Subject))
	m.SetDate()
	m.SetBulk()
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetMessageIDWithValue(l.id + "@" + heloName(s.from.Address))
	if l.thread != "" && l.thread != l.id {
		ref := "<" + l.thread + "@" + heloName(s.from.Address) + ">"
		m.SetGenHeader("In-Reply-To", ref)
		m.SetGenHeader("References", ref)
	}
	if l.Failure {
		m.SetImportance(gomail.ImportanceHigh)
	}
	m.SetBodyString(gomail.TypeTextPlain, plain)
	m.AddAlternativeString(gomail.TypeTextHTML, rich)
	return m, nil
}

// mailError tells what the relay's answer means for another attempt. The answer to a wrong login, 530 to 538,
// comes before there is a mail to refuse.
func mailError(err error) error {
	var sent *gomail.SendError
	if errors.As(err, &sent) && !sent.IsTemp() && sent.ErrorCode() >= 500 {
		return refused("the mail was refused: %v", err)
	}
	var policy *policyError
	if errors.As(err, &policy) {
		return refused("%s", policy.Error())
	}
	var login *textproto.Error
	if sent == nil && errors.As(err, &login) && login.Code/10 == 53 {
		return refused("the relay refused the login: %v", err)
	}
	return passing("the mail was not sent: %v", err)
}

// oneLine keeps line ends and control characters out of a header.
func oneLine(s string) string {
	out := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
	const longest = 200
	return cut(out, longest)
}
