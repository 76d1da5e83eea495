package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/clitest"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// recordedEnv overrides where the recorded run of upstream lies.
const recordedEnv = "FLUX_RECORDED"

// recorded returns the directory of the recorded run; where it is absent the test is skipped.
func recorded(t testing.TB) string {
	t.Helper()
	dir := recordedDir()
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no recorded run at %s: set %s to it", dir, recordedEnv)
	}
	return dir
}

// recordedDir is absolute when the tests begin, before any of them changes directory.
var recordedDir = sync.OnceValue(func() string {
	dir := os.Getenv(recordedEnv)
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "recorded")
	}
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
})

// transcript is one recorded command.
type transcript struct {
	name           string
	env            []string
	args           []string
	stdout, stderr string
	exit           int
}

// TestReplay runs every recorded command against the recorded objects and compares what it
// prints and how it exits. testdata/uncovered.txt lists those that we do not answer alike yet,
// with the reason; one that is listed but passes is an error, so that the list only shrinks.
func TestReplay(t *testing.T) {
	dir := recorded(t)
	r := &replayer{parent: t, state: recordedObjects(t, dir)}
	uncovered := readReasons(t, "testdata/uncovered.txt")
	r.all = readTranscripts(t, dir)
	all := r.all
	for name := range uncovered {
		if _, ok := all[name]; !ok {
			t.Errorf("testdata/uncovered.txt names %s, which is not recorded", name)
		}
	}
	for _, name := range sortedKeys(all) {
		t.Run(name, func(t *testing.T) {
			difference := r.replay(t, name)
			reason, listed := uncovered[name]
			switch {
			case listed && difference == "":
				t.Errorf("now answered as recorded: take it out of testdata/uncovered.txt")
			case listed:
				t.Skip(reason)
			case difference != "":
				t.Error(difference)
			}
		})
	}
}

// replayer runs transcripts.
type replayer struct {
	parent *testing.T
	state  []*clitest.Object
	all    map[string]transcript
	// server is one that nobody has written to yet, nil if there is none.
	server *clitest.Server
}

// borrow returns a server with the recorded objects. When the test ends it goes back, unless it was written to.
func (r *replayer) borrow(t *testing.T) *clitest.Server {
	server := r.server
	if server == nil {
		server = newRecordedServer(r.parent, r.state)
	}
	r.server = nil
	before := len(server.Requests())
	t.Cleanup(func() {
		if !slices.ContainsFunc(server.Requests()[before:], func(request string) bool { return !strings.HasPrefix(request, "GET ") }) {
			r.server = server
		}
	})
	return server
}

// replay returns how the answer differs, or nothing.
func (r *replayer) replay(t *testing.T, name string) string {
	all := r.all
	kubeconfig := r.borrow(t).Kubeconfig(t)
	work := t.TempDir()
	if commands := append(slices.Clone(prepared[name]), name); slices.ContainsFunc(commands, func(n string) bool { return readsFiles(all[n]) }) {
		writeInputs(t, work, all)
	}
	t.Chdir(work)
	for _, before := range prepared[name] {
		if _, stderr, code := runTranscript(t, all[before], kubeconfig, work); code != all[before].exit {
			t.Fatalf("preparation %s: exit %d: %s", before, code, stderr)
		}
	}
	want := all[name]
	stdout, stderr, code := runTranscript(t, want, kubeconfig, work)
	var b strings.Builder
	if code != want.exit {
		fmt.Fprintf(&b, "exit %d, recorded %d\n", code, want.exit)
	}
	if strings.HasPrefix(want.stdout, "(help text") {
		if !strings.Contains(stdout, "Usage:") {
			fmt.Fprintf(&b, "no help text but:\n%s", stdout)
		}
	} else if !same(stdout, want.stdout, name) {
		fmt.Fprintf(&b, "stdout:\n%s", lineDiff(clean(stdout), clean(want.stdout)))
	}
	if !same(stderr, want.stderr, name) {
		fmt.Fprintf(&b, "stderr:\n%s", lineDiff(clean(stderr), clean(want.stderr)))
	}
	return b.String()
}

// lineDiff shows the first lines that only one side has.
func lineDiff(got, want string) string {
	const most = 12
	var b strings.Builder
	ours, theirs := strings.Split(padding.ReplaceAllString(got, "$1"), "\n"), strings.Split(padding.ReplaceAllString(want, "$1"), "\n")
	only := func(prefix string, lines, other []string) {
		shown := 0
		for _, line := range lines {
			if !slices.Contains(other, line) && shown < most {
				shown++
				b.WriteString(prefix + line + "\n")
			}
		}
	}
	only("- recorded ", theirs, ours)
	only("+ answered ", ours, theirs)
	if b.Len() == 0 {
		return "the lines are in another order\n"
	}
	return b.String()
}

func runTranscript(t *testing.T, tr transcript, kubeconfig, work string) (stdout, stderr string, code int) {
	t.Helper()
	t.Setenv("KUBECONFIG", kubeconfig)
	t.Setenv("HOME", work)
	t.Setenv("env", "prod")
	var kept []string
	for _, pair := range tr.env {
		key, value, _ := strings.Cut(pair, "=")
		t.Setenv(key, strings.ReplaceAll(value, "$DIR", work))
		kept = append(kept, key)
	}
	args := slices.Clone(tr.args)
	here, there := registryOf(t, tr)
	for i, arg := range args {
		args[i] = strings.ReplaceAll(strings.ReplaceAll(pathOf(tr, arg), "$DIR", work), there, here)
		if i > 0 && args[i-1] == "--timeout" && !slices.Contains(args, "--export") {
			args[i] = "200ms"
		}
	}
	stdin := strings.NewReader(stdins[tr.name])
	var out, err bytes.Buffer
	code = Main(context.Background(), args, stdin, &out, &err)
	for _, key := range kept {
		os.Unsetenv(key)
	}
	back := strings.NewReplacer(work, "$DIR", here, there)
	return back.Replace(out.String()), back.Replace(err.String()), code
}

// What differs between two runs of the same program is replaced by what it is.
var cleanings = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]`), ""},
	{regexp.MustCompile(`\r`), ""},
	{regexp.MustCompile(`\b[0-9a-f]{40,64}\b`), "HEX"},
	{regexp.MustCompile(`(sha1:|sha256:)[0-9a-f]{8}\b`), "${1}HEX8"},
	{regexp.MustCompile(`(\d\+)[0-9a-f]{12}\b`), "${1}HEX12"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| \+0000 UTC)?( m=\+[\d.]+)?`), "TIME"},
	{regexp.MustCompile(`\b(\d+h)?(\d+m)?\d+\.\d+(s|ms|µs)\b`), "DURATION"},
	{regexp.MustCompile(`(\$DIR)*/kustomization-\d+`), "/kustomization-N"},
	{regexp.MustCompile(`(\$DIR|/tmp)/\d+\.yaml`), "/tmp/N.yaml"},
	{regexp.MustCompile(`totalReconciliations: \d+`), "totalReconciliations: N"},
	{regexp.MustCompile(`generator: [0-9a-f-]{36}`), "generator: UID"},
}

func clean(text string) string {
	for _, c := range cleanings {
		text = c.pattern.ReplaceAllString(text, c.with)
	}
	return strings.TrimRight(text, "\n")
}

// Exports were recorded after other commands had annotated some of the objects.
var requested = regexp.MustCompile(`(?m)^  annotations:\n|^    reconcile.fluxcd.io/(?:requestedAt|resetAt|forceAt): .*\n`)

var padding = regexp.MustCompile(` +(\t|$|\n)`)

func same(got, want, name string) bool {
	got, want = clean(got), clean(want)
	if got == want {
		return true
	}
	if strings.Contains(name, "-export-") {
		got, want = requested.ReplaceAllString(got, ""), requested.ReplaceAllString(want, "")
		if got == want {
			return true
		}
	}
	if strings.Contains(name, "-events") {
		return eventsIn(want, got)
	}
	// Padding follows the longest cell, which may be a time.
	got, want = padding.ReplaceAllString(got, "$1"), padding.ReplaceAllString(want, "$1")
	return got == want
}

var lastSeenCell = regexp.MustCompile(`(?m)^((?:[a-z-]+ *\t)?)(?:\d+[dhms]\S*(?: \(x\d+ over \S+\))?) *\t`)

// eventsIn reports whether every recorded event is among ours. The events were saved later
// than the commands were run, so there are more, and their times and counts have moved on.
func eventsIn(want, got string) bool {
	lines := func(text string) []string {
		text = padding.ReplaceAllString(lastSeenCell.ReplaceAllString(text, "$1"), "$1")
		return strings.Split(text, "\n")
	}
	ours := lines(got)
	for _, line := range lines(want) {
		if !slices.Contains(ours, line) {
			return false
		}
	}
	return true
}

func readTranscripts(t testing.TB, dir string) map[string]transcript {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "cli", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]transcript{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		tr := parseTranscript(t, name, string(data))
		if tr.args != nil {
			all[name] = tr
		}
	}
	return all
}

// parseTranscript leaves args nil for commands of other programs.
func parseTranscript(t testing.TB, name, text string) transcript {
	t.Helper()
	command, rest, _ := strings.Cut(text, "\n--- stdout\n")
	stdout, rest, ok := strings.Cut(rest, "--- stderr\n")
	if !ok {
		t.Fatalf("%s: no stderr", name)
	}
	stderr, exit, _ := strings.Cut(rest, "--- exit ")
	words := shellWords(strings.TrimPrefix(command, "$ "))
	tr := transcript{name: name, stdout: stdout, stderr: stderr}
	if words[0] == "env" {
		words = words[1:]
		for words[0] != "flux" {
			tr.env = append(tr.env, words[0])
			words = words[1:]
		}
	}
	if words[0] != "flux" {
		return tr
	}
	tr.args = append([]string{}, words[1:]...)
	if _, err := fmt.Sscanf(exit, "%d", &tr.exit); err != nil {
		t.Fatalf("%s: exit %q", name, exit)
	}
	return tr
}

// shellWords undoes the quoting with backslashes of the recorder.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == ' ':
			words = append(words, word.String())
			word.Reset()
		default:
			word.WriteByte(c)
		}
	}
	return append(words, word.String())
}

func readReasons(t testing.TB, file string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, ": ")
		if !ok || reason == "" {
			t.Fatalf("%s: %q has no reason", file, line)
		}
		reasons[name] = reason
	}
	return reasons
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// coreKinds are served beside the registry's.
var coreKinds = []clitest.Served{
	{Version: "v1", Plural: "namespaces", Kind: "Namespace", Clusters: true, Short: []string{"ns"}},
	{Version: "v1", Plural: "secrets", Kind: "Secret"},
	{Version: "v1", Plural: "configmaps", Kind: "ConfigMap", Short: []string{"cm"}},
	{Version: "v1", Plural: "services", Kind: "Service", Short: []string{"svc"}},
	{Version: "v1", Plural: "serviceaccounts", Kind: "ServiceAccount", Short: []string{"sa"}},
	{Version: "v1", Plural: "events", Kind: "Event"},
	{Version: "v1", Plural: "pods", Kind: "Pod", Short: []string{"po"}},
	{Group: "apps", Version: "v1", Plural: "deployments", Kind: "Deployment", Short: []string{"deploy"}},
	{Group: "apps", Version: "v1", Plural: "controllerrevisions", Kind: "ControllerRevision"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Plural: "rolebindings", Kind: "RoleBinding"},
	{Group: "apiextensions.k8s.io", Version: "v1", Plural: "customresourcedefinitions", Kind: "CustomResourceDefinition", Clusters: true},
	{Group: "demo.example.com", Version: "v1", Plural: "widgets", Kind: "Widget"},
}

func newRecordedServer(t *testing.T, state []*clitest.Object) *clitest.Server {
	t.Helper()
	server := clitest.New(t)
	server.Serve(coreKinds...)
	for _, k := range kinds.All() {
		server.Serve(clitest.Served{Group: k.Group, Version: k.Version, Plural: k.Plural, Kind: k.Kind})
	}
	for _, obj := range state {
		server.Add(t, obj)
	}
	for _, k := range kinds.All() {
		server.Add(t, toolkitCRD(k))
	}
	server.Add(t, &clitest.Object{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "flux-system"}}})
	server.Controller = recordedController
	return server
}

// recordedObjects is the state in which the commands were run: the objects before them, and
// those that changed or appeared in the step between from the end of the run.
func recordedObjects(t testing.TB, dir string) []*clitest.Object {
	t.Helper()
	list := map[string]*clitest.Object{}
	for _, file := range append(glob(t, dir, "objects-initial/*.yaml"), later(dir)...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		obj := &clitest.Object{}
		if err := yaml.Unmarshal(data, &obj.Object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list[obj.GetKind()+"/"+obj.GetNamespace()+"/"+obj.GetName()] = obj
	}
	var objs []*clitest.Object
	for _, key := range sortedKeys(list) {
		objs = append(objs, list[key])
	}
	return append(objs, recordedEvents(t, dir)...)
}

func glob(t testing.TB, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func later(dir string) []string {
	var files []string
	for _, name := range []string{
		"HelmRelease_hr-chart", "HelmChart_flux-system-hr-chart", "ImageUpdateAutomation_auto-main",
		"HelmRelease_hr-fail-retry", "HelmRelease_hr-fail-upgrade", "HelmRelease_hr-oci",
		"Deployment_flux-system_source-controller", "Deployment_flux-system_kustomize-controller",
		"Deployment_flux-system_helm-controller", "Deployment_flux-system_notification-controller",
	} {
		files = append(files, filepath.Join(dir, "objects", name+".yaml"))
	}
	return files
}

func recordedEvents(t testing.TB, dir string) []*clitest.Object {
	t.Helper()
	var objs []*clitest.Object
	for _, file := range glob(t, dir, "events/core/*.json") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var items []map[string]any
		if err := yaml.Unmarshal(data, &items); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, item := range items {
			objs = append(objs, &clitest.Object{Object: item})
		}
	}
	return objs
}

func toolkitCRD(k *kinds.Kind) *clitest.Object {
	obj := &clitest.Object{Object: map[string]any{
		"spec": map[string]any{
			"group": k.Group, "scope": "Namespaced", "names": map[string]any{"kind": k.Kind, "plural": k.Plural},
			"versions": []any{map[string]any{"name": k.Version, "served": true, "storage": true}},
		},
		"status": map[string]any{"storedVersions": []any{k.Version}},
	}}
	obj.SetAPIVersion("apiextensions.k8s.io/v1")
	obj.SetKind("CustomResourceDefinition")
	obj.SetName(k.Plural + "." + k.Group)
	obj.SetLabels(map[string]string{"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/version": "v2.9.4"})
	return obj
}
