package kernel_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

func TestOneLeaderAtATime(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	election := func(s *kernel.Settings) {
		s.LeaderElection, s.WatchLabelSelector = true, "!other"
		s.LeaseDuration, s.RenewDeadline, s.LeaderRetryPeriod = 3*time.Second, 2*time.Second, 200*time.Millisecond
	}
	say := func(who string) *kerneltest.Script {
		return &kerneltest.Script{OnReconcile: func(context.Context, *probeRequest) kernel.Outcome {
			return kernel.Done("", "by "+who)
		}}
	}
	stopOne := lab.Start(say("one"), election)
	lab.Create("a")
	lab.Until("a", "served by one", func(p *probe) bool { return condition(p, meta.ReadyCondition).Message == "by one" })
	first := *leaseOf(t, lab).Spec.HolderIdentity

	lab.Start(say("two"), election)
	lab.Create("b")
	lab.Until("b", "served by one", func(p *probe) bool { return condition(p, meta.ReadyCondition).Message == "by one" })
	if err := stopOne(); err != nil {
		t.Fatal(err)
	}
	lab.Create("c")
	lab.Until("c", "served by two", func(p *probe) bool { return condition(p, meta.ReadyCondition).Message == "by two" })
	if lease := leaseOf(t, lab); *lease.Spec.HolderIdentity == first {
		t.Error("the lease still names the first")
	}
}

func leaseOf(t *testing.T, lab *kerneltest.Lab) *coordinationv1.Lease {
	t.Helper()
	cs, err := kubernetes.NewForConfig(lab.Config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := cs.CoordinationV1().Leases(lab.Namespace).Get(t.Context(), kernel.LeaseName("probe-controller", "!other"), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// freeAddr returns an address on loopback that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestProbesMetricsAndProfiles(t *testing.T) {
	lab := kerneltest.NewLab(t)
	metricsAddr, healthAddr := freeAddr(t), freeAddr(t)
	_, port, _ := net.SplitHostPort(healthAddr)
	t.Setenv("FLUX_BIND_HOST", "127.0.0.1")
	process, err := kernel.NewProcess(lab.Config, kernel.ProcessOptions{
		Scheme: kerneltest.Scheme(t), MetricsAddr: metricsAddr, HealthAddr: ":" + port, WatchNamespace: lab.Namespace, Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := kernel.Register(process.Controller("probe-controller", kernel.Defaults()), kerneltest.Kind(), &kerneltest.Script{}); err != nil {
		t.Fatal(err)
	}
	lab.Run(process)
	lab.Create("a")
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	for _, path := range []string{"/healthz", "/readyz"} {
		if body := get(t, "http://"+healthAddr+path); body != "ok" {
			t.Errorf("%s says %q", path, body)
		}
	}
	series := fmt.Sprintf(`{kind="Probe",name="a",namespace="%s"`, lab.Namespace)
	text := eventually(t, "http://"+metricsAddr+"/metrics", "gotk_reconcile_duration_seconds_count"+series)
	for _, want := range []string{
		"gotk_reconcile_duration_seconds_bucket" + series + `,le="0.01"}`, "gotk_reconcile_duration_seconds_bucket" + series + `,le="0.038363583488692544"}`,
		"gotk_last_reconcile_timestamp_seconds" + series, `controller_runtime_reconcile_total{controller="probe"`,
		`workqueue_depth{controller="probe"`, "rest_client_requests_total{", "go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap", "/debug/pprof/goroutine", "/debug/pprof/mutex"} {
		get(t, "http://"+metricsAddr+path)
	}
	lab.Delete("a")
	lab.Gone("a")
	for deadline := time.Now().Add(kerneltest.Limit); strings.Contains(get(t, "http://"+metricsAddr+"/metrics"), series); {
		if time.Now().After(deadline) {
			t.Fatal("the series of a deleted object stay")
		}
	}
}

func TestAddressInUseNamesTheFlag(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for flag, o := range map[string]kernel.ProcessOptions{
		"--health-addr":  {MetricsAddr: "0", HealthAddr: taken.Addr().String()},
		"--metrics-addr": {MetricsAddr: taken.Addr().String(), HealthAddr: "0"},
	} {
		o.Scheme, o.WatchNamespace, o.Log = kerneltest.Scheme(t), lab.Namespace, logr.Discard()
		process, err := kernel.NewProcess(lab.Config, o)
		if err == nil {
			err = process.Run(t.Context())
		}
		if err == nil || !strings.HasSuffix(err.Error(), "address already in use; choose another address with "+flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// TestRunnablesCanLog: the artifact server has no other way to tell why it answers 500.
func TestRunnablesCanLog(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	said := make(chan string, 1)
	log := funcr.New(func(_, line string) {
		if strings.Contains(line, "canary") {
			said <- line
		}
	}, funcr.Options{})
	process, err := kernel.NewProcess(lab.Config, kernel.ProcessOptions{
		Scheme: kerneltest.Scheme(t), MetricsAddr: "0", HealthAddr: "0", WatchNamespace: lab.Namespace, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	process.Controller("probe-controller", kernel.Defaults()).Add(func(ctx context.Context) error {
		logr.FromContextOrDiscard(ctx).Info("canary")
		<-ctx.Done()
		return nil
	})
	lab.Run(process)
	select {
	case line := <-said:
		if !strings.Contains(line, `"controller"="probe-controller"`) {
			t.Errorf("%s does not name the controller", line)
		}
	case <-time.After(kerneltest.Limit):
		t.Error("nothing was logged")
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", url, resp.Status, err)
	}
	return string(body)
}

// eventually asks again until the answer has a text in it: the verdict is seen by others a
// moment before it is counted.
func eventually(t *testing.T, url, text string) string {
	t.Helper()
	for deadline := time.Now().Add(kerneltest.Limit); ; {
		body := get(t, url)
		if strings.Contains(body, text) {
			return body
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has no %s", url, text)
		}
	}
}
