package controllers

import (
	"net/http"
	"os"

	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify"
)

// publicAddressesOnly is a flag of ours: who may write Providers and Receivers can otherwise make the
// controller connect to anything that it reaches.
var publicAddressesOnly = Flag{
	Name: "provider-public-addresses-only", Type: "bool", Default: "false",
	Help: "Refuse to connect to addresses of Providers and token issuers that are not of the internet.",
}

// registerNotification serves events and webhooks at the addresses of their flags.
func registerNotification(m *kernel.Manager, v Values) error {
	at := func(flag string) func(string, http.Handler) {
		return func(pattern string, handler http.Handler) {
			v.listeners.handle(m, flag, v.String(flag), pattern, handler)
		}
	}
	dir, own, err := privateDir("flux-" + m.Name())
	if err != nil {
		return err
	}
	if own {
		m.AddCleanup(func() error { return os.RemoveAll(dir) })
	}
	return notify.Register(m, notify.Options{
		Events: at("events-addr"), Hooks: at("receiverAddr"),
		RateLimitInterval: v.Duration("rate-limit-interval"),
		PathMetrics:       v.Bool("export-http-path-metrics"),
		PublicOnly:        v.Bool(publicAddressesOnly.Name),
		Dir:               dir,
		Clouds:            clouds(m, v),
		DefaultAccount:    v.String("default-service-account"),
	})
}
