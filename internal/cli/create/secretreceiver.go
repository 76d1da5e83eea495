package create

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gitops-toolkit/flux/internal/cli/value"
)

const webhookAnnotation = "notification.toolkit.fluxcd.io/webhook"

// receiverTypes are who may call a receiver.
var receiverTypes = []string{"generic", "generic-hmac", "github", "gitlab", "bitbucket", "harbor", "dockerhub", "quay", "gcr", "nexus", "acr", "cdevents"}

func (m *maker) secretReceiver() *cobra.Command {
	var kind, token, hostname, email, audience string
	return m.secret(secretRecipe{
		word:    "receiver",
		short:   "Create or change a Secret for a Receiver of the same name",
		example: "  # a random token, and the address to give to the caller\n  flux create secret receiver hook --type=github --hostname=flux.example.com",
		flags: func(flags *pflag.FlagSet) {
			flags.Var(value.OneOf(&kind, "receiver type", receiverTypes...), "type", "who calls")
			flags.StringVar(&token, "token", "", "token that the caller knows, random when empty")
			flags.StringVar(&hostname, "hostname", "", "host name under which the receiver is reached")
			flags.StringVar(&email, "email-claim", "", "e-mail address in Google's tokens, for the type gcr")
			flags.StringVar(&audience, "audience-claim", "", "audience in Google's tokens, for the type gcr; the webhook's address when empty")
		},
		build: func(_ context.Context, d *secretDoc) error {
			switch {
			case kind == "":
				return errors.New("--type is required")
			case hostname == "":
				return errors.New("--hostname is required")
			case kind == "gcr" && email == "":
				return errors.New("--email-claim is required for --type=gcr")
			}
			if token == "" {
				var random [32]byte
				if _, err := rand.Read(random[:]); err != nil {
					return err
				}
				token = hex.EncodeToString(random[:])
			}
			address := "https://" + hostname + WebhookPath(token, d.name, m.Namespace)
			d.annotations = map[string]string{webhookAnnotation: address}
			d.set("token", token)
			if kind == "gcr" {
				if audience == "" {
					audience = address
				}
				d.set("email", email)
				d.set("audience", audience)
			}
			return nil
		},
	})
}

// WebhookPath is where a receiver of this name listens for callers that know the token.
func WebhookPath(token, name, namespace string) string {
	sum := sha256.Sum256([]byte(token + name + namespace))
	return "/hook/" + hex.EncodeToString(sum[:])
}
