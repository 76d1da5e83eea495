package create

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/value"
)

// objectRefs reads <kind>/<name>[.<namespace>] for the kinds of this toolkit.
func objectRefs(texts []string) ([]kinds.Ref, error) {
	var refs []kinds.Ref
	for _, text := range texts {
		kind, name, namespace := splitReference(text)
		if kind == "" || name == "" {
			return nil, fmt.Errorf("invalid reference '%s', must be <kind>/<name>[.<namespace>]", text)
		}
		k := kinds.ByKind(kind)
		if k == nil {
			return nil, fmt.Errorf("invalid reference '%s': kind '%s' is not supported", text, kind)
		}
		refs = append(refs, kinds.Ref{Kind: k.Kind, Name: name, Namespace: namespace})
	}
	return refs, nil
}

func (m *maker) alert() *cobra.Command {
	var provider, severity string
	var sources []string
	return m.command(recipe{
		kind:    kinds.Alert,
		short:   "Create or change an Alert",
		example: "  flux create alert failures --provider-ref=slack --event-severity=error --event-source=\"Kustomization/*\"",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&provider, "provider-ref", "", "provider that is told")
			flags.StringVar(&severity, "event-severity", "", "least severity that is told: info or error")
			flags.StringSliceVar(&sources, "event-source", nil, "object whose events are told, as <kind>/<name>[.<namespace>], name * for all; may be given several times")
		},
		build: func(context.Context, string) (meta.Object, error) {
			if provider == "" {
				return nil, errors.New("provider ref is required")
			}
			if severity != "" && severity != "info" && severity != "error" {
				return nil, fmt.Errorf("invalid --event-severity '%s', must be info or error", severity)
			}
			refs, err := objectRefs(sources)
			if err != nil {
				return nil, err
			}
			if len(refs) == 0 {
				return nil, errors.New("at least one event source is required")
			}
			m.generating("Alert")
			obj := kinds.NewAlert()
			obj.Spec.ProviderRef.Name = provider
			obj.Spec.EventSeverity = severity
			for _, ref := range refs {
				obj.AddSource(ref)
			}
			return obj, nil
		},
		done: readyLines("Alert", nil),
	})
}

func (m *maker) alertProvider() *cobra.Command {
	var kind, channel, username, address, secret string
	return m.command(recipe{
		kind:    kinds.Provider,
		short:   "Create or change an alert Provider",
		example: "  flux create alert-provider slack --type=slack --channel=general --secret-ref=slack-url",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&kind, "type", "", "kind of provider, such as slack, generic or github")
			flags.StringVar(&channel, "channel", "", "channel to write to")
			flags.StringVar(&username, "username", "", "name to write under")
			flags.StringVar(&address, "address", "", "address of the provider")
			flags.StringVar(&secret, "secret-ref", "", "existing Secret with the address or the token")
		},
		build: func(context.Context, string) (meta.Object, error) {
			if kind == "" {
				return nil, errors.New("provider type is required")
			}
			m.generating("Provider")
			obj := kinds.NewProvider()
			obj.Spec.Type, obj.Spec.Channel, obj.Spec.Username, obj.Spec.Address = kind, channel, username, address
			obj.Spec.SecretRef = localRef(secret)
			return obj, nil
		},
		done: readyLines("Provider", nil),
	})
}

func (m *maker) receiver() *cobra.Command {
	var kind, secret string
	var events, resources []string
	return m.command(recipe{
		kind:    kinds.Receiver,
		short:   "Create or change a Receiver",
		example: "  flux create receiver github --type=github --event=ping --event=push --secret-ref=webhook-token --resource=GitRepository/fleet",
		flags: func(flags *pflag.FlagSet) {
			flags.Var(value.OneOf(&kind, "receiver type", receiverTypes...), "type", "who calls")
			flags.StringVar(&secret, "secret-ref", "", "existing Secret with the token")
			flags.StringSliceVar(&events, "event", nil, "event to act upon, all when none is given; may be given several times")
			flags.StringSliceVar(&resources, "resource", nil, "object to reconcile, as <kind>/<name>[.<namespace>]; may be given several times")
		},
		build: func(context.Context, string) (meta.Object, error) {
			switch {
			case kind == "":
				return nil, errors.New("receiver type is required")
			case secret == "":
				return nil, errors.New("secret ref is required")
			}
			refs, err := objectRefs(resources)
			if err != nil {
				return nil, err
			}
			if len(refs) == 0 {
				return nil, errors.New("at least one resource is required")
			}
			m.generating("Receiver")
			obj := &notificationv1.Receiver{}
			obj.Spec.Type, obj.Spec.Events, obj.Spec.SecretRef = kind, events, localRef(secret)
			for _, ref := range refs {
				obj.Spec.Resources = append(obj.Spec.Resources, notificationv1.CrossNamespaceObjectReference{Kind: ref.Kind, Name: ref.Name, Namespace: ref.Namespace})
			}
			return obj, nil
		},
		done: readyLines("Receiver", func(obj meta.Object) []string {
			return []string{"generated webhook URL " + strings.TrimSpace(obj.(*notificationv1.Receiver).Status.WebhookPath)}
		}),
	})
}
