package notify

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/notify/inbound"
)

// recorded is a run of upstream as data; see the README there.
const recorded = "/work/shared/recorded"

// exchange is a request of the recorded run and its answer.
type exchange struct {
	method, url, body string
	header            map[string]string
	code              int
	answer            map[string]string
	answerBody        string
}

// readExchange reads a transcript of curl.
func readExchange(t *testing.T, name string) exchange {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recorded, "http", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	command, rest, _ := strings.Cut(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	x := exchange{method: "GET", header: map[string]string{}, answer: map[string]string{}}
	words := unquote(strings.TrimPrefix(command, "$ curl "))
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "-X":
			i++
			x.method = words[i]
		case "-H":
			i++
			k, v, _ := strings.Cut(words[i], ": ")
			x.header[k] = v
		case "-d", "--data-binary":
			i++
			if x.body = words[i]; strings.HasPrefix(x.body, "@") {
				x.body = strings.Repeat("x", inbound.MaxBody+1)
			}
			if x.header["Content-Type"] == "" {
				x.header["Content-Type"] = "application/x-www-form-urlencoded" // as curl does
			}
		default:
			x.url = words[i]
		}
	}
	rest = strings.TrimPrefix(rest, "HTTP/1.1 100 Continue\n\n")
	head, body, _ := strings.Cut(rest, "\n\n")
	lines := strings.Split(head, "\n")
	if _, err := fmt.Sscanf(lines[0], "HTTP/1.1 %d", &x.code); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, line := range lines[1:] {
		k, v, _ := strings.Cut(line, ": ")
		x.answer[k] = v
	}
	x.answerBody = strings.TrimSuffix(body, "\n")
	return x
}

// unquote splits a command line at spaces that no backslash stands before.
func unquote(s string) (words []string) {
	word, quoted := "", false
	for _, c := range s {
		switch {
		case quoted:
			word, quoted = word+string(c), false
		case c == '\\':
			quoted = true
		case c == ' ':
			words, word = append(words, word), ""
		default:
			word += string(c)
		}
	}
	return append(words, word)
}

// replay sends a recorded request to the lab and compares the answer, but for times.
func (l *lab) replay(name string) {
	l.Helper()
	x := readExchange(l.TB.(*testing.T), name)
	at := l.hooks.URL
	if strings.Contains(x.url, ":19191") {
		at = l.events.URL
	}
	_, path, _ := strings.Cut(strings.TrimPrefix(x.url, "http://"), "/")
	path = "/" + path
	for _, receiver := range []string{"generic", "github", "gitlab", "filtered", "suspended"} {
		path = strings.Replace(path, webhookPath([]byte("sample-token"), "flux-system", receiver), webhookPath([]byte("sample-token"), l.ns, receiver), 1)
	}
	req, err := http.NewRequestWithContext(l.ctx, x.method, at+path, strings.NewReader(x.body))
	if err != nil {
		l.Fatal(err)
	}
	for k, v := range x.header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	got := map[string]string{}
	for k := range resp.Header {
		got[k] = resp.Header.Get(k)
	}
	if resp.Close {
		got["Connection"] = "close"
	}
	for _, time := range []string{"Date", "Retry-After", "X-Ratelimit-Reset"} {
		if (got[time] == "") != (x.answer[time] == "") {
			l.Errorf("%s: %s is %q, recorded %q", name, time, got[time], x.answer[time])
		}
		delete(got, time)
		delete(x.answer, time)
	}
	if resp.StatusCode != x.code || fmt.Sprint(got) != fmt.Sprint(x.answer) || strings.TrimSuffix(string(body), "\n") != strings.TrimSuffix(x.answerBody, "\n") {
		l.Errorf("%s: %d %v %q\nrecorded %d %v %q", name, resp.StatusCode, got, body, x.code, x.answer, x.answerBody)
	}
}

// Every recorded request to receivers and to the event endpoint is answered as it was, by the recorded Receivers.
func TestRecordedAnswers(t *testing.T) {
	t.Parallel()
	manifest, err := os.ReadFile(recorded + "/inputs/manifests/40-notification.yaml")
	if os.IsNotExist(err) {
		t.Skip("the recorded run is not on this machine")
	}
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	l.create(&corev1.Secret{}, "hook", "stringData: {token: sample-token}")
	for _, name := range []string{"fleet", "fleet-tag", "fleet-semver", "fleet-name"} {
		l.repository(name, nil)
	}
	l.create(&sourcev1.OCIRepository{}, "manifests", "spec: {interval: 1h, url: 'oci://example.com/x', suspend: true}")
	for doc := range strings.SplitSeq(string(manifest), "\n---\n") {
		r := &notificationv1.Receiver{}
		if err := yaml.Unmarshal([]byte(doc), r); err != nil {
			t.Fatal(err)
		}
		if r.Kind != notificationv1.ReceiverKind {
			continue
		}
		obj := &unstructured.Unstructured{} // as it is written, empty maps included
		if err := yaml.Unmarshal([]byte(doc), &obj.Object); err != nil {
			t.Fatal(err)
		}
		obj.SetNamespace(l.ns)
		if err := l.c.Create(l.ctx, obj); err != nil {
			t.Fatal(err)
		}
		if !r.Spec.Suspend && r.Name != "notoken" {
			l.known(l.settled(r.Name, "Succeeded").Status.WebhookPath)
		}
	}
	l.settled("notoken", "TokenNotFound")
	files, err := filepath.Glob(recorded + "/http/receiver-*.txt")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".txt"); name != "receiver-suspended-after-ready" {
			l.replay(name)
		}
	}
	// In this order: two of them are repetitions.
	order := []string{"ok", "duplicate", "badpath", "empty", "badjson", "get", "too-large"}
	if files, _ = filepath.Glob(recorded + "/http/events-*.txt"); len(files) != len(order) {
		t.Errorf("%d transcripts about events", len(files))
	}
	for _, name := range order {
		l.replay("events-" + name)
	}
	for name, asked := range map[string]bool{"fleet": true, "fleet-tag": true, "fleet-semver": true, "fleet-name": true} {
		if l.requested(name) != asked {
			t.Errorf("%s was asked: %v", name, !asked)
		}
	}
	l.suspend("generic", true)
	path := webhookPath([]byte("sample-token"), l.ns, "generic")
	want := readExchange(t, "receiver-suspended-after-ready").code
	for l.ctx.Err() == nil && l.call("POST", path, "", nil) != want {
	}
	if l.ctx.Err() != nil {
		t.Errorf("a suspended Receiver never answers %d", want)
	}
}
