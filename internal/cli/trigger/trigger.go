// Package trigger is `flux trigger receiver`: it calls the webhook of a Receiver as a Git host or a
// registry would.
package trigger

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/cli/create"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/version"
)

const (
	tokenEnv = "FLUX_TRIGGER_RECEIVER_OIDC_TOKEN"
	// defaultAudience is what the controller expects in a token.
	defaultAudience = "notification-controller"
	requestLimit    = 30 * time.Second
	maxAnswer       = 1 << 20
)

// Types of receivers that can be called.
const (
	generic     = "generic"
	genericHMAC = "generic-hmac"
	genericOIDC = "generic-oidc"
)

type options struct {
	url, token, kind, payload             string
	oidcToken, oidcProvider, oidcAudience string
	retries                               int
	delay                                 time.Duration
}

// Command returns `flux trigger`.
func Command(s *session.Session) *cobra.Command {
	root := &cobra.Command{Use: "trigger", Short: "Call webhooks", Long: "The trigger commands call the webhooks of objects, from a pipeline or by hand."}
	o := &options{}
	cmd := &cobra.Command{
		Use:   "receiver [name]",
		Short: "Call the webhook of a Receiver",
		Long: "The command sends a payload to the webhook of a Receiver; no access to the cluster is needed. A webhook that is not there yet, or a " +
			"server that is busy, is tried again.",
		Example: `  # with the token of the Receiver's Secret
  flux trigger receiver my-app --url=https://flux.example.com --token=$TOKEN

  # signed with it
  flux trigger receiver my-app --url=https://flux.example.com --type=generic-hmac --token=$TOKEN --payload='{"tag":"v1"}'

  # from GitHub Actions, without any secret
  flux trigger receiver my-app --url=https://flux.example.com --type=generic-oidc --oidc-provider=github`,
		ValidArgsFunction: session.CompleteNames(s, kinds.Receiver.Resource),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.url, "url", "", "address under which the receivers are reached")
	flags.StringVar(&o.token, "token", "", "token of the Receiver's Secret")
	flags.StringVar(&o.kind, "type", generic, "type of the Receiver: generic, generic-hmac or generic-oidc")
	flags.StringVar(&o.payload, "payload", "{}", "body of the request")
	flags.StringVar(&o.oidcToken, "oidc-token", "", "token for the type generic-oidc; its default is in "+tokenEnv)
	flags.StringVar(&o.oidcProvider, "oidc-provider", "", "who gives the token for the type generic-oidc: github or forgejo, in their Actions")
	flags.StringVar(&o.oidcAudience, "oidc-audience", "", "audience of that token, "+defaultAudience+" when empty")
	flags.IntVar(&o.retries, "retries", 10, "how often a failed request is repeated")
	flags.DurationVar(&o.delay, "retry-delay", 10*time.Second, "pause before a request is repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s name is required", kinds.Receiver.Kind)
		}
		if err := o.check(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), s.Timeout)
		defer cancel()
		return o.run(ctx, s, args[0])
	}
	root.AddCommand(cmd)
	return root
}

func (o *options) check() error {
	if o.oidcToken == "" && o.oidcProvider == "" {
		o.oidcToken = os.Getenv(tokenEnv)
	}
	switch {
	case o.url == "":
		return errors.New("--url is required")
	case o.kind != generic && o.kind != genericHMAC && o.kind != genericOIDC:
		return fmt.Errorf("--type=%s is not supported, must be one of: %s, %s, %s", o.kind, generic, genericHMAC, genericOIDC)
	case o.kind != genericOIDC && o.token == "":
		return fmt.Errorf("--token is required for --type=%s", o.kind)
	case o.kind == genericOIDC && o.oidcToken != "" && o.oidcProvider != "":
		return errors.New("--oidc-token and --oidc-provider exclude each other")
	case o.kind == genericOIDC && o.oidcToken == "" && o.oidcProvider == "":
		return fmt.Errorf("--oidc-token or --oidc-provider is required for --type=%s", o.kind)
	case o.oidcProvider != "" && o.oidcProvider != "github" && o.oidcProvider != "forgejo":
		return fmt.Errorf("--oidc-provider=%s is not supported, must be one of: github, forgejo", o.oidcProvider)
	case o.retries < 0:
		return errors.New("--retries must not be negative")
	}
	u, err := url.Parse(o.url)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("--url %q is no address such as https://flux.example.com", o.url)
	}
	return nil
}

func (o *options) run(ctx context.Context, s *session.Session, name string) error {
	s.Log.Actionf("triggering Receiver %s/%s", s.Namespace, name)
	header, secret := http.Header{}, o.token
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", version.UserAgent())
	switch o.kind {
	case genericHMAC:
		mac := hmac.New(sha256.New, []byte(o.token))
		mac.Write([]byte(o.payload))
		header.Set("X-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	case genericOIDC:
		token, err := o.identity(ctx)
		if err != nil {
			return err
		}
		header.Set("Authorization", "Bearer "+token)
		secret = ""
	}
	address := strings.TrimSuffix(o.url, "/") + create.WebhookPath(secret, name, s.Namespace)
	for attempt := 1; ; attempt++ {
		problem, again, err := o.post(ctx, address, header)
		if err == nil && problem == "" {
			s.Log.Successf("Receiver %s/%s triggered", s.Namespace, name)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			problem, again = fmt.Sprintf("request to %s failed: %s", address, cause(err)), true
		}
		if !again || attempt > o.retries {
			return errors.New(problem)
		}
		s.Log.Waitingf("%s; retrying in %s (%d/%d)", problem, o.delay, attempt, o.retries)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(o.delay):
		}
	}
}

// cause leaves out method and address, which the message has.
func cause(err error) error {
	var detail *url.Error
	if errors.As(err, &detail) {
		return detail.Err
	}
	return err
}

// post sends one request. A problem is an answer other than success; again tells whether another
// attempt may end otherwise.
func (o *options) post(ctx context.Context, address string, header http.Header) (problem string, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(o.payload))
	if err != nil {
		return "", false, err
	}
	req.Header = header.Clone()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return "", false, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return "", false, nil
	}
	status := resp.StatusCode
	again = status == http.StatusNotFound || status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
	return fmt.Sprintf("request to %s failed with status %s %s", address, strconv.Itoa(status), http.StatusText(status)), again, nil
}
