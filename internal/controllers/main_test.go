package controllers

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

func mustParse(t *testing.T, args ...string) *command {
	t.Helper()
	c, err := parse(args, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProgramNameChoosesTheController(t *testing.T) {
	c := mustParse(t, "/usr/local/bin/kustomize-controller", "--concurrent=7", "--feature-gates=ExternalArtifact=true,GroupChangeLog=true", "--watch-all-namespaces")
	if len(c.chosen) != 1 || c.chosen[0].Name != "kustomize-controller" {
		t.Fatalf("chosen %+v", c.chosen)
	}
	s, err := c.chosen[0].settings(c.chosen[0].values)
	if err != nil {
		t.Fatal(err)
	}
	if s.Concurrent != 7 || !s.Gates["ExternalArtifact"] || !s.Gates["StrictPostBuildSubstitutions"] || s.RequeueDependency != 30*time.Second {
		t.Errorf("settings %+v", s)
	}
	if _, err := parse([]string{"kustomize-controller", "--controllers=all"}, io.Discard); err == nil {
		t.Error("a controller under its own name has no flag --controllers")
	}
}

func TestPrefixMeansOneController(t *testing.T) {
	c := mustParse(t, "flux-controller", "--controllers=source-controller,kustomize", "--concurrent=3", "--source.concurrent=9", "--feature-gates=GroupChangeLog=true")
	if len(c.chosen) != 2 {
		t.Fatalf("%d controllers, want 2", len(c.chosen))
	}
	want := map[string]int{"source-controller": 9, "kustomize-controller": 3}
	for _, one := range c.chosen {
		s, err := one.settings(one.values)
		if err != nil {
			t.Fatal(err)
		}
		if s.Concurrent != want[one.Name] {
			t.Errorf("%s: concurrent %d, want %d", one.Name, s.Concurrent, want[one.Name])
		}
		if one.Name == "kustomize-controller" && !s.Gates["GroupChangeLog"] {
			t.Error("a gate for all did not reach the controller that knows it")
		}
	}
	if got := len(mustParse(t, "flux-controller").chosen); got != len(All) {
		t.Errorf("%d controllers by default, want all %d", got, len(All))
	}
}

func TestRefusedFlags(t *testing.T) {
	tests := []struct {
		reason string
		args   []string
		want   string
	}{
		{"an unknown gate is a mistake", []string{"source-controller", "--feature-gates=Nope=true"}, "feature-gate 'Nope' not supported"},
		{"an unknown gate for all too", []string{"flux-controller", "--feature-gates=Nope=true"}, "feature-gate 'Nope' not supported"},
		{"a gate needs a value", []string{"source-controller", "--feature-gates=CacheSecretsAndConfigMaps"}, "missing bool value"},
		{"jitter is a percentage", []string{"source-controller", "--interval-jitter-percentage=101"}, "--interval-jitter-percentage=101"},
		{"tokens live an hour at most", []string{"source-controller", "--token-cache-max-duration=2h"}, "at most 1h"},
		{"an identity needs its gate", []string{"source-controller", "--default-service-account=x"}, "cannot set default service accounts when the feature gate ObjectLevelWorkloadIdentity is not enabled"},
		{"a decryption identity too", []string{"kustomize-controller", "--default-decryption-service-account=x"}, "ObjectLevelWorkloadIdentity"},
		{"a bad selector", []string{"source-controller", "--watch-label-selector=a in"}, "--watch-label-selector"},
		{"no shards of notification-controller", []string{"notification-controller", "--watch-label-selector=a=b"}, "unknown flag"},
		{"an unknown controller", []string{"flux-controller", "--controllers=nope"}, `no controller is called "nope"`},
		{"a name that no SSH server offers", []string{"source-controller", "--ssh-kex-algos=curve25519-sha256,none"}, `--ssh-kex-algos: "none" is no algorithm`},
		{"a host key algorithm that is none", []string{"image-automation-controller", "--ssh-hostkey-algos=ed25519"}, `--ssh-hostkey-algos: "ed25519" is no algorithm`},
		{"workers below one", []string{"kustomize-controller", "--concurrent-ssa=0"}, "--concurrent-ssa=0: want at least 1"},
		{"attempts below none", []string{"helm-controller", "--http-retry=-1"}, "--http-retry=-1: want at least 0"},
		{"nobody who waits would come back", []string{"kustomize-controller", "--requeue-dependency=0s"}, "--requeue-dependency=0s: want more than 0s"},
		{"a stage of no kind", []string{"kustomize-controller", "--custom-apply-stage-kinds=apps/Deployment,apps/v1/Job"}, `--custom-apply-stage-kinds: "apps/v1/Job" is no kind: write group/Kind`},
		{"a lease that ends before it is renewed", []string{"source-controller", "--enable-leader-election", "--leader-election-lease-duration=1s"}, "--leader-election-lease-duration=1s"},
		{"one controller is not named twice", []string{"source-controller", "--concurrent=0"}, "--concurrent=0"},
		{"of several it is named", []string{"flux-controller", "--source.concurrent=0"}, "source-controller: --concurrent=0"},
		{"log level", []string{"source-controller", "--log-level=loud", "--kubeconfig=/nowhere"}, "--log-level=loud"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			err := run(t.Context(), append(tt.args, "--kubeconfig=/does/not/exist"), io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestImpersonatedDefaultNeedsNoGate(t *testing.T) {
	c := mustParse(t, "kustomize-controller", "--default-service-account=default")
	if _, err := c.chosen[0].settings(c.chosen[0].values); err != nil {
		t.Errorf("tenancy lockdown was refused: %v", err)
	}
}

// TestDefaultsOnNodesWithoutMounts finds the volume of a pod whose arguments do not name it.
func TestDefaultsOnNodesWithoutMounts(t *testing.T) {
	t.Setenv("FLUX_MOUNTS", "/data=/pods/1/data:/tmp=/pods/1/tmp")
	if got := mustParse(t, "image-reflector-controller").chosen[0].values.String("storage-path"); got != "/pods/1/data" {
		t.Errorf("storage-path %s", got)
	}
}

func TestDefaultsFromTheEnvironment(t *testing.T) {
	t.Setenv("METRICS_ADDR", ":7070")
	t.Setenv("STORAGE_PATH", "/elsewhere")
	v := mustParse(t, "source-controller").chosen[0].values
	if v.String("metrics-addr") != ":7070" || v.String("storage-path") != "/elsewhere" {
		t.Errorf("metrics-addr %s, storage-path %s", v.String("metrics-addr"), v.String("storage-path"))
	}
	if got := mustParse(t, "kustomize-controller").chosen[0].values.String("metrics-addr"); got != ":8080" {
		t.Errorf("kustomize-controller does not read METRICS_ADDR, but its address is %s", got)
	}
}

func TestVersionAndHelp(t *testing.T) {
	var out bytes.Buffer
	if code := Main([]string{"flux-controller", "--version"}, &out, io.Discard); code != 0 || out.Len() == 0 {
		t.Errorf("exit %d, output %q", code, out.String())
	}
	out.Reset()
	if code := Main([]string{"helm-controller", "--help"}, &out, io.Discard); code != 0 || !strings.Contains(out.String(), "--oom-watch-interval") {
		t.Errorf("exit %d, help lacks a flag", code)
	}
}

func TestRulesNameOnlyWhatIsNeeded(t *testing.T) {
	for _, c := range All {
		for _, r := range c.Rules() {
			for _, s := range append(append([]string{}, r.Resources...), r.Verbs...) {
				if s == "*" {
					t.Errorf("%s: a rule with a star: %+v", c.Name, r)
				}
			}
		}
	}
}

// Every controller must come up with nothing but defaults, alone and together with the others.
func TestEveryControllerHasSettings(t *testing.T) {
	for _, one := range mustParse(t, "flux-controller").chosen {
		if _, err := one.settings(one.values); err != nil {
			t.Errorf("%s among all: %v", one.Name, err)
		}
		alone := mustParse(t, one.Name).chosen[0]
		s, err := alone.settings(alone.values)
		if err != nil {
			t.Errorf("%s: %v", one.Name, err)
		}
		if s.Concurrent < 1 || s.KubeAPIQPS != 50 || s.LeaseDuration != 35*time.Second {
			t.Errorf("%s: settings %+v", one.Name, s)
		}
	}
}

// Where notification-controller listens has nothing to do with where the others post to.
func TestEventsAddrForAllIsNoListenAddress(t *testing.T) {
	c := mustParse(t, "flux-controller", "--events-addr=http://notification-controller/")
	for _, one := range c.chosen {
		want := "http://notification-controller/"
		if one.Name == "notification-controller" {
			want = ":9090"
		}
		if got := one.values.String("events-addr"); got != want {
			t.Errorf("%s: events-addr %q, want %q", one.Name, got, want)
		}
	}
	c = mustParse(t, "flux-controller", "--controllers=notification", "--notification.events-addr=:7070")
	if got := c.chosen[0].values.String("events-addr"); got != ":7070" {
		t.Errorf("its own flag gives %q", got)
	}
}
