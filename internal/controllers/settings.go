package controllers

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// settings turns the flags of a controller into what the kernel takes, and refuses values that
// make no sense before anything starts.
func (c Controller) settings(v Values) (kernel.Settings, error) {
	gates, err := c.gates(v)
	if err != nil {
		return kernel.Settings{}, err
	}
	s := kernel.Settings{
		KubeAPIQPS: v.Float32("kube-api-qps"), KubeAPIBurst: v.Int("kube-api-burst"),
		LeaderElection: v.Bool("enable-leader-election"), ReleaseOnCancel: v.Bool("leader-election-release-on-cancel"),
		LeaseDuration: v.Duration("leader-election-lease-duration"), RenewDeadline: v.Duration("leader-election-renew-deadline"),
		LeaderRetryPeriod: v.Duration("leader-election-retry-period"),
		MinRetryDelay:     v.Duration("min-retry-delay"), MaxRetryDelay: v.Duration("max-retry-delay"),
		Gates: gates, WatchAllNamespaces: v.Bool("watch-all-namespaces"),
		WatchConfigsLabelSelector: v.String("watch-configs-label-selector"),
		Concurrent:                v.Int("concurrent"),
		GracefulShutdownTimeout:   c.grace(v), RuntimeNamespace: runtimeNamespace(),
	}
	if v.Has("default-service-account") {
		s.DefaultServiceAccount = v.String("default-service-account")
	}
	if v.Has("watch-label-selector") {
		s.WatchLabelSelector = v.String("watch-label-selector")
	}
	if v.Has("interval-jitter-percentage") {
		s.IntervalJitterPercentage = v.Uint8("interval-jitter-percentage")
	}
	if v.Has("no-cross-namespace-refs") {
		s.NoCrossNamespaceRefs = v.Bool("no-cross-namespace-refs")
	}
	if v.Has("requeue-dependency") {
		s.RequeueDependency = v.Duration("requeue-dependency")
	}
	if c.Name != "notification-controller" {
		s.EventsAddr = v.String("events-addr")
	}
	return s, c.validate(v, s)
}

func (c Controller) gates(v Values) (map[string]bool, error) {
	known := map[string]bool{}
	for _, m := range []map[string]bool{c.Gates, ourGates} {
		for name, on := range m {
			known[name] = on
		}
	}
	own, shared := v.gates()
	given := map[string]bool{}
	for name, on := range shared {
		if _, ok := known[name]; ok {
			given[name] = on
		}
	}
	for name, on := range own {
		given[name] = on
	}
	return kernel.MergeGates(known, given)
}

// grace is how long jobs may take to end at stop: what the flag says, else what is left of the
// pod's grace period after events and leases have had their share.
func (c Controller) grace(v Values) time.Duration {
	if v.Has("graceful-shutdown-timeout") {
		return v.Duration("graceful-shutdown-timeout")
	}
	if c.Name == "kustomize-controller" {
		return 45 * time.Second
	}
	return 5 * time.Second
}

func (c Controller) validate(v Values, s kernel.Settings) error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.IntervalJitterPercentage > 100 {
		refuse("--interval-jitter-percentage=%d: want 0 to 100", s.IntervalJitterPercentage)
	}
	if s.Concurrent < 1 {
		refuse("--concurrent=%d: want at least 1", s.Concurrent)
	}
	if s.MinRetryDelay <= 0 || s.MaxRetryDelay < s.MinRetryDelay {
		refuse("--min-retry-delay=%s and --max-retry-delay=%s: want 0 < min <= max", s.MinRetryDelay, s.MaxRetryDelay)
	}
	errs = append(errs, c.validateNumbers(v), c.validateElection(s), validateAlgorithms(v))
	for flag, selector := range map[string]string{"watch-label-selector": s.WatchLabelSelector, "watch-configs-label-selector": s.WatchConfigsLabelSelector} {
		if _, err := labels.Parse(selector); err != nil {
			refuse("--%s: %w", flag, err)
		}
	}
	if v.Has("token-cache-max-duration") && v.Duration("token-cache-max-duration") > time.Hour {
		refuse("--token-cache-max-duration=%s: want at most 1h", v.Duration("token-cache-max-duration"))
	}
	if !s.Gates[kernel.GateObjectLevelWorkloadIdentity] && c.hasIdentityDefault(v) {
		refuse("cannot set default service accounts when the feature gate ObjectLevelWorkloadIdentity is not enabled")
	}
	return errors.Join(errs...)
}

// validateNumbers refuses numbers that would stop the work without a word.
func (c Controller) validateNumbers(v Values) error {
	var errs []error
	for name, least := range map[string]int{"concurrent-ssa": 1, "http-retry": 0, "artifact-retention-records": 0} {
		if v.Has(name) && v.Int(name) < least {
			errs = append(errs, fmt.Errorf("--%s=%d: want at least %d", name, v.Int(name), least))
		}
	}
	for _, name := range []string{"requeue-dependency", "reconciliation-timeout"} {
		if v.Has(name) && v.Duration(name) <= 0 {
			errs = append(errs, fmt.Errorf("--%s=%s: want more than 0s", name, v.Duration(name)))
		}
	}
	if v.Has("custom-apply-stage-kinds") {
		_, err := apply.ParseStageKinds(v.String("custom-apply-stage-kinds"))
		if err != nil {
			errs = append(errs, fmt.Errorf("--custom-apply-stage-kinds: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (c Controller) validateElection(s kernel.Settings) error {
	if !s.LeaderElection || s.LeaseDuration > s.RenewDeadline && s.RenewDeadline > s.LeaderRetryPeriod && s.LeaderRetryPeriod > 0 {
		return nil
	}
	return fmt.Errorf("--leader-election-lease-duration=%s, --leader-election-renew-deadline=%s, --leader-election-retry-period=%s: want each longer than the next",
		s.LeaseDuration, s.RenewDeadline, s.LeaderRetryPeriod)
}

// validateAlgorithms refuses names of SSH algorithms that no handshake would ever agree on.
func validateAlgorithms(v Values) error {
	if !v.Has("ssh-kex-algos") {
		return nil
	}
	if err := gitrepo.CheckAlgorithms(v.Strings("ssh-kex-algos"), nil); err != nil {
		return fmt.Errorf("--ssh-kex-algos: %w", err)
	}
	if err := gitrepo.CheckAlgorithms(nil, v.Strings("ssh-hostkey-algos")); err != nil {
		return fmt.Errorf("--ssh-hostkey-algos: %w", err)
	}
	return nil
}

// hasIdentityDefault tells whether a default account is set that stands for a cloud identity.
func (c Controller) hasIdentityDefault(v Values) bool {
	for _, name := range []string{"default-service-account", "default-decryption-service-account", "default-kubeconfig-service-account"} {
		if name == "default-service-account" && c.ImpersonatesDefault {
			continue
		}
		if v.Has(name) && v.String(name) != "" {
			return true
		}
	}
	return false
}

func runtimeNamespace() string { return cmp.Or(os.Getenv("RUNTIME_NAMESPACE"), "flux-system") }
