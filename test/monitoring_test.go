package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/harness"
)

const monitoring = "../manifests/monitoring/"

// TestMonitoring has a real Prometheus scrape the controllers: every rule has to load, and every query
// of the rules and dashboards has to return data. gotk_resource_info comes from the controllers'
// own gate, which is made from the same table as the configuration of kube-state-metrics.
func TestMonitoring(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no prometheus: hack/test-deps.sh installs it")
	}
	s := begin(t)
	stack, err := harness.New(s.ctx, os.Getenv(testenv.KubeconfigEnv), t.TempDir())
	s.must(err, "prepare a stack")
	t.Cleanup(stack.Stop)
	notification, err := stack.Add(s.ctx, "notification-controller")
	s.must(err, "start notification-controller")
	s.commit(map[string]string{"wait/cm.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: waiting}}\n", "ok/cm.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: monitored}}\n"})
	s.apply(`
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: app}
spec: {interval: 1h, url: $URL, ref: {branch: master}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: ok}
spec: {interval: 5s, path: ./ok, prune: true, targetNamespace: $NS, sourceRef: {kind: GitRepository, name: app}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: failing}
spec: {interval: 1h, retryInterval: 5s, path: ./nowhere, prune: true, sourceRef: {kind: GitRepository, name: app}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: parked}
spec: {interval: 1h, suspend: true, path: ./ok, prune: true, sourceRef: {kind: GitRepository, name: app}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: waiting}
spec: {interval: 1h, timeout: 1h, path: ./wait, prune: true, targetNamespace: $NS, sourceRef: {kind: GitRepository, name: app}, healthChecks: [{kind: ConfigMap, apiVersion: v1, name: never, namespace: $NS}]}
`)
	p := startPrometheus(s, program, world.source, world.kustomize, notification)
	for what, expr := range p.queries() {
		p.returns(what, expr, notification.EventsURL)
	}
	logLabels(s)
}

// prometheusServer is one that scrapes the controllers.
type prometheusServer struct {
	*scenario
	url string
}

func startPrometheus(s *scenario, program string, processes ...*harness.Process) *prometheusServer {
	s.Helper()
	dir := s.TempDir()
	var targets strings.Builder
	for _, one := range processes {
		fmt.Fprintf(&targets, "  - targets: [%q]\n    labels: {namespace: flux-system, pod: %s, container: manager}\n", strings.TrimPrefix(one.MetricsURL, "http://"), one.Name)
	}
	config := "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yaml]\nscrape_configs:\n- job_name: flux-system/flux-system\n  static_configs:\n" + targets.String()
	s.must(os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600), "write the configuration")
	rules, err := yaml.Marshal(ruleGroups(s))
	s.must(err, "take the rules out of the PrometheusRule")
	s.must(os.WriteFile(filepath.Join(dir, "rules.yaml"), rules, 0o600), "write the rules")
	addr, err := harness.FreeAddr()
	s.must(err, "find a port")
	log, err := os.Create(filepath.Join(dir, "log"))
	s.must(err, "create a log")
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = log, log
	s.must(cmd.Start(), "start prometheus")
	s.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); s.Failed() && err == nil {
			s.Logf("prometheus:\n%s", text)
		}
	})
	return &prometheusServer{s, "http://" + addr}
}

// ruleGroups are the groups of the PrometheusRule, as Prometheus itself reads them.
func ruleGroups(s *scenario) map[string]any {
	s.Helper()
	text, err := os.ReadFile(monitoring + "prometheusrule.yaml")
	s.must(err, "read the rules")
	var rule struct{ Spec map[string]any }
	s.must(yaml.Unmarshal(text, &rule), "parse the rules")
	return rule.Spec
}

// threshold ends the expression of an alert.
var threshold = regexp.MustCompile(` (==|>) [\d.]+$`)

// queries are those of the alerts, without their thresholds, and of the panels.
func (p *prometheusServer) queries() map[string]string {
	p.Helper()
	found := map[string]string{}
	for _, group := range ruleGroups(p.scenario)["groups"].([]any) {
		for _, rule := range group.(map[string]any)["rules"].([]any) {
			r := rule.(map[string]any)
			found["alert "+r["alert"].(string)] = threshold.ReplaceAllString(r["expr"].(string), "")
		}
	}
	for _, name := range []string{"control-plane", "cluster"} {
		for title, expr := range panels(p.scenario, name) {
			found[name+": "+title] = expr
		}
	}
	if len(found) < 30 {
		p.Fatalf("only %d queries found", len(found))
	}
	return found
}

// panels are the queries of a dashboard by title and letter.
func panels(s *scenario, name string) map[string]string {
	s.Helper()
	text, err := os.ReadFile(monitoring + "dashboards/" + name + ".json")
	s.must(err, "read the dashboard")
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	s.must(json.Unmarshal(text, &board), "parse the dashboard")
	found := map[string]string{}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			found[panel.Title+" "+target.RefID] = strings.NewReplacer("$namespace", "flux-system", "$__rate_interval", "30s").Replace(target.Expr)
		}
	}
	return found
}

// returns waits until a query has a result. Meanwhile events come in, as they do in a cluster.
func (p *prometheusServer) returns(what, expr, events string) {
	p.Helper()
	last := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(250 * time.Millisecond) {
		if resp, err := http.Post(events, "application/json", strings.NewReader("{}")); err == nil {
			_ = resp.Body.Close()
		}
		resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expr))
		if err != nil {
			last = err.Error()
			continue
		}
		var answer struct {
			Status, Error string
			Data          struct{ Result []any }
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if err == nil && answer.Status == "success" && len(answer.Data.Result) > 0 {
			return
		}
		if last = answer.Error; last != "" {
			break
		}
	}
	p.Errorf("%s returns nothing: %s (%s)", what, expr, last)
}

// logWord is what a query of the logs takes from a line.
var logWord = regexp.MustCompile(`{{\.(\w+)}}|\b(\w+)=~?"\$?\w`)

// logLabels: what the dashboard takes out of lines stands in lines.
func logLabels(s *scenario) {
	s.Helper()
	text, err := os.ReadFile(world.kustomize.LogPath)
	s.must(err, "read a log")
	keys := []string{"namespace", "container"} // of the stream, given by whoever collects it
	for line := range strings.Lines(string(text)) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) != nil {
			continue
		}
		for key := range fields {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	words := 0
	for title, expr := range panels(s, "logs") {
		for _, m := range logWord.FindAllStringSubmatch(expr, -1) {
			word := strings.TrimSuffix(m[1]+m[2], "_extracted")
			words++
			if !slices.Contains(keys, word) {
				s.Errorf("logs: %s asks for %q, which no line has: %v", title, word, keys)
			}
		}
	}
	if words < 8 {
		s.Errorf("only %d words found in the dashboard of the logs", words)
	}
}
