package providers

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

const (
	canary = "canary-0123456789"
	hash   = "41c0484d5932c076a541a99723b9d9e996189d3f"
)

// elsewhere are types that do not speak HTTP; they have tests of their own.
var elsewhere = map[string]bool{"nats": true, "smtp": true}

// contract is what one type is set to in the suite, and the first request that it then makes, or,
// with answers, all of them.
type contract struct {
	address, channel, username string
	secret                     map[string]string
	answers                    map[string]string // by "METHOD path"
	want                       []string          // "METHOD URL", as published by the service
	header, value              string
	body                       string // part of the last body
}

var appKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
})

func token() map[string]string { return map[string]string{"token": canary} }

func contracts() map[string]contract {
	hook := "https://hooks.example.com/services/" + canary
	statusID := "kustomization/web/0123abcd"
	key := status{ID: statusID}.key()
	return map[string]contract{
		"generic":        {address: hook, secret: map[string]string{"headers": "X-Extra: " + canary}, want: []string{"POST " + hook}, header: "X-Extra", value: canary, body: `"involvedObject":{"kind":"Kustomization"`},
		"generic-hmac":   {address: hook, secret: token(), want: []string{"POST " + hook}, body: `"reason":"HealthCheckFailed"`},
		"slack":          {address: slackAPI, channel: "#c", secret: token(), answers: map[string]string{"POST /api/chat.postMessage": `{"ok":true}`}, want: []string{"POST " + slackAPI}, header: "Authorization", value: "Bearer " + canary, body: `"color":"danger"`},
		"discord":        {address: hook, want: []string{"POST " + hook + "/slack"}, body: `"username":"kustomize-controller"`},
		"rocket":         {address: hook, want: []string{"POST " + hook}, body: `"color":"#FF0000"`},
		"msteams":        {address: "https://x.webhook.office.com/y", want: []string{"POST https://x.webhook.office.com/y"}, body: `"@type":"MessageCard","@context":"http://schema.org/extensions","themeColor":"FF0000"`},
		"googlechat":     {address: hook, want: []string{"POST " + hook}, body: `\u003cfont color`},
		"lark":           {address: hook, want: []string{"POST " + hook}, body: `"template":"red"`},
		"telegram":       {channel: "-100:7", secret: token(), want: []string{"POST https://api.telegram.org/bot" + canary + "/sendMessage"}, body: `"message_thread_id":7,"text":"*🚨 kustomization/web/apps*\nhealth check failed after 1m0s\\.`},
		"matrix":         {address: "https://m.example.com", channel: "!r:m", secret: token(), want: []string{"PUT https://m.example.com/_matrix/client/r0/rooms/"}, header: "Authorization", value: "Bearer " + canary, body: `"msgtype":"m.text"`},
		"webex":          {address: hook, channel: "room", secret: token(), want: []string{"POST " + hook}, body: `"roomId":"room"`},
		"zulip":          {address: hook, channel: "general/flux", username: "bot", secret: map[string]string{"password": canary}, want: []string{"POST https://hooks.example.com/api/v1/messages"}, header: "Authorization", value: basicAuth("bot", canary), body: "type=stream"},
		"zoom":           {address: hook, secret: token(), want: []string{"POST " + hook + "?format=full"}, header: "Authorization", value: canary, body: `"head":{"text":"kustomization/web.apps","sub_head":{"text":"error"}}`},
		"opsgenie":       {address: hook, secret: token(), want: []string{"POST " + hook}, header: "Authorization", value: "GenieKey " + canary, body: `"severity":"error"`},
		"alertmanager":   {address: hook, username: "u", secret: map[string]string{"token": "t", "password": canary}, want: []string{"POST " + hook}, header: "Authorization", value: basicAuth("u", canary), body: `"alertname":"FluxKustomizationHealthcheckfailed"`},
		"grafana":        {address: hook, secret: token(), want: []string{"POST " + hook}, body: `"tags":["flux","kustomize-controller"`},
		"pagerduty":      {address: "https://events.pagerduty.com/", channel: "key", want: []string{"POST https://events.pagerduty.com/v2/enqueue"}, body: `"event_action":"trigger"`},
		"datadog":        {address: "https://api.datadoghq.com/x", secret: token(), want: []string{"POST https://api.datadoghq.com/api/v1/events"}, header: "DD-API-KEY", value: canary, body: `"alert_type":"error"`},
		"incident.io":    {address: hook, secret: token(), want: []string{"POST " + hook}, header: "Authorization", value: "Bearer " + canary, body: `"status":"firing"`},
		"sentry":         {address: "https://" + canary + "@sentry.example.com/42", channel: "prod", want: []string{"POST https://sentry.example.com/api/42/envelope/"}, body: `"environment":"prod"`},
		"otel":           {address: "https://otel.example.com", secret: map[string]string{"headers": "X-Tenant: a1", "token": canary}, want: []string{"POST https://otel.example.com/v1/traces"}, header: "Authorization", value: "Bearer " + canary},
		"githubdispatch": {address: "https://github.com/o/r.git", secret: token(), want: []string{"POST https://api.github.com/repos/o/r/dispatches"}, header: "Authorization", value: "Bearer " + canary, body: `"event_type":"Kustomization/web.apps"`},
		"github": {address: "ssh://git@github.com/o/r.git", secret: map[string]string{"githubAppID": "7", "githubAppInstallationOwner": "o", "githubAppPrivateKey": appKey()},
			answers: map[string]string{
				"GET /orgs/o/installation": `{"id":99}`, "POST /app/installations/99/access_tokens": `{"token":"` + canary + `","expires_at":"2999-01-01T00:00:00Z"}`,
				"GET /repos/o/r/commits/" + hash + "/statuses": `[{"context":"other","state":"failure","description":"health check failed"}]`,
			},
			want: []string{"GET https://api.github.com/orgs/o/installation", "POST https://api.github.com/app/installations/99/access_tokens",
				"GET https://api.github.com/repos/o/r/commits/" + hash + "/statuses?per_page=100", "POST https://api.github.com/repos/o/r/statuses/" + hash},
			header: "Authorization", value: "Bearer " + canary, body: `{"context":"` + statusID + `","description":"health check failed","state":"failure"}`},
		"gitlab": {address: "git@gitlab.example.com:group/sub/repo.git", secret: token(), answers: map[string]string{"GET /api/v4/projects/group/sub/repo/repository/commits/" + hash + "/statuses": "[]"},
			want: []string{"GET https://gitlab.example.com/api/v4/projects/group%2Fsub%2Frepo/repository/commits/" + hash + "/statuses?per_page=100&name=" + url.QueryEscape(statusID),
				"POST https://gitlab.example.com/api/v4/projects/group%2Fsub%2Frepo/statuses/" + hash},
			header: "PRIVATE-TOKEN", value: canary, body: `"state":"failed"`},
		"gitea": {address: "https://git.example.com/o/r", secret: token(), answers: map[string]string{"GET /api/v1/repos/o/r/commits/" + hash + "/statuses": "[]"},
			want:   []string{"GET https://git.example.com/api/v1/repos/o/r/commits/" + hash + "/statuses?sort=recentupdate&limit=50", "POST https://git.example.com/api/v1/repos/o/r/statuses/" + hash},
			header: "Authorization", value: "token " + canary, body: `"state":"failure"`},
		"bitbucket": {address: "https://bitbucket.org/o/r", secret: map[string]string{"token": "me:" + canary}, answers: map[string]string{"GET /2.0/repositories/o/r/commit/" + hash + "/statuses/build/" + key: `{"state":"INPROGRESS"}`},
			want:   []string{"GET https://api.bitbucket.org/2.0/repositories/o/r/commit/" + hash + "/statuses/build/" + key, "POST https://api.bitbucket.org/2.0/repositories/o/r/commit/" + hash + "/statuses/build"},
			header: "Authorization", value: basicAuth("me", canary), body: `"name":"kustomization/web","state":"FAILED","url":"https://bitbucket.org"`},
		"bitbucketserver": {address: "https://b.example.com/ctx/scm/pro/repo.git", secret: token(), answers: map[string]string{"GET /ctx/rest/api/latest/projects/pro/repos/repo/commits/" + hash + "/builds": "{}"},
			want:   []string{"GET https://b.example.com/ctx/rest/api/latest/projects/pro/repos/repo/commits/" + hash + "/builds?key=" + key, "POST https://b.example.com/ctx/rest/api/latest/projects/pro/repos/repo/commits/" + hash + "/builds"},
			header: "X-Atlassian-Token", value: "no-check", body: `"name":"kustomization/web [health check failed]"`},
		"azuredevops": {address: "https://dev.azure.com/org/pro/_git/repo", secret: token(), answers: map[string]string{"GET /org/pro/_apis/git/repositories/repo/commits/" + hash + "/statuses": `{"value":[]}`},
			want:   []string{"GET https://dev.azure.com/org/pro/_apis/git/repositories/repo/commits/" + hash + "/statuses?latestOnly=true&api-version=7.1", "POST https://dev.azure.com/org/pro/_apis/git/repositories/repo/commits/" + hash + "/statuses?api-version=7.1"},
			header: "Authorization", value: basicAuth("", canary), body: `"context":{"name":"` + statusID + `","genre":"fluxcd"}`},
		"azureeventhub": {address: "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=" + canary + ";EntityPath=hub",
			want: []string{"POST https://ns.servicebus.windows.net/hub/messages?api-version=2014-01"}, body: `"involvedObject"`},
		"googlepubsub": {address: "project", channel: "topic", secret: map[string]string{"headers": "team: a", "token": serviceAccount()},
			answers: map[string]string{"POST /token": `{"access_token":"` + canary + `","expires_in":3600}`},
			want:    []string{"POST https://oauth2.googleapis.com/token", "POST https://pubsub.googleapis.com/v1/projects/project/topics/topic:publish"},
			header:  "Authorization", value: "Bearer " + canary, body: `"attributes":{"team":"a"}`},
		"githubpullrequestcomment": {address: "https://ghe.example.com/o/r", secret: token(),
			answers: map[string]string{"GET /api/v3/user": `{"login":"bot"}`, "GET /api/v3/repos/o/r/issues/12/comments": `[{"id":5,"body":"<!-- flux-pr-comment-key:0123abcd-4567/Kustomization/apps/web -->\nold","user":{"login":"bot"}}]`},
			want:    []string{"GET https://ghe.example.com/api/v3/user", "GET https://ghe.example.com/api/v3/repos/o/r/issues/12/comments?per_page=100", "PATCH https://ghe.example.com/api/v3/repos/o/r/issues/comments/5"},
			body:    "## Flux Status"},
		"giteapullrequestcomment": {address: "https://git.example.com/o/r", secret: token(),
			answers: map[string]string{"GET /api/v1/user": `{"login":"bot"}`, "GET /api/v1/repos/o/r/issues/12/comments": `[{"id":5,"body":"<!-- flux-pr-comment-key: 0123abcd-4567/Kustomization/apps/web2 -->","user":{"login":"bot"}}]`},
			want:    []string{"GET https://git.example.com/api/v1/user", "GET https://git.example.com/api/v1/repos/o/r/issues/12/comments?limit=100", "POST https://git.example.com/api/v1/repos/o/r/issues/12/comments"},
			body:    "flux-pr-comment-key: 0123abcd-4567/Kustomization/apps/web "},
		"gitlabmergerequestcomment": {address: "https://gitlab.com/123", secret: token(),
			answers: map[string]string{"GET /api/v4/user": `{"username":"bot"}`, "GET /api/v4/projects/123/merge_requests/12/notes": `[{"id":8,"body":"<!-- flux-mr-comment-key: 0123abcd-4567/Kustomization/apps/web -->","author":{"username":"mallory"}}]`},
			want:    []string{"GET https://gitlab.com/api/v4/user", "GET https://gitlab.com/api/v4/projects/123/merge_requests/12/notes?per_page=100", "POST https://gitlab.com/api/v4/projects/123/merge_requests/12/notes"},
			body:    "flux-mr-comment-key"},
	}
}

// serviceAccount is a key file of Google's.
func serviceAccount() string {
	block, _ := pem.Decode([]byte(appKey()))
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	file, _ := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "f@p.iam.gserviceaccount.com", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "https://oauth2.googleapis.com/token",
	})
	return string(file)
}

// network answers as a contract says, or with what a test puts in its way.
type network struct {
	c       contract
	instead func(*http.Request) (*http.Response, error)
	login   func(*http.Request) (*http.Response, error) // at the token service of Google
	mu      sync.Mutex
	sent    []string
	header  http.Header
	body    string
	// requests are all that were made.
	requests []sentRequest
}

type sentRequest struct {
	method, url, body string
	header            http.Header
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	n.mu.Lock()
	n.sent, n.header, n.body = append(n.sent, r.Method+" "+r.URL.String()), r.Header, string(body)
	n.requests = append(n.requests, sentRequest{r.Method, r.URL.String(), string(body), r.Header})
	n.mu.Unlock()
	instead := n.instead
	if r.URL.Host == "oauth2.googleapis.com" {
		instead = n.login
	}
	if instead != nil {
		return instead(r)
	}
	answer, ok := n.c.answers[r.Method+" "+r.URL.Path]
	if !ok {
		answer = "{}"
	}
	return answering(r, 200, answer), nil
}

func answering(r *http.Request, code int, body string) *http.Response {
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

func sample() *Notification {
	return &Notification{
		Alert: &notificationv1.Alert{ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "all", UID: "alert-uid"}},
		Event: &event.Event{
			InvolvedObject: corev1.ObjectReference{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "apps", Name: "web", UID: "object-uid"},
			Severity:       "error", Reason: "HealthCheckFailed", Message: "health check failed after 1m0s.\nDeployment/apps/web: <b>not</b> ready",
			Timestamp: metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)), ReportingController: "kustomize-controller", ReportingInstance: "pod",
			Metadata: map[string]string{"revision": "main@sha1:" + hash, "change_request": "12"},
		},
	}
}

func (c contract) open(t *testing.T, name string, network http.RoundTripper) (*Config, Sender, error) {
	t.Helper()
	p := &notificationv1.Provider{
		ObjectMeta: metav1.ObjectMeta{Namespace: "apps", Name: "p", UID: types.UID("0123abcd-4567")},
		Spec:       notificationv1.ProviderSpec{Type: name, Address: c.address, Channel: c.channel, Username: c.username, SecretRef: &meta.LocalObjectReference{Name: "s"}},
	}
	config, err := Read(p, func(string) (map[string][]byte, error) {
		data := map[string][]byte{}
		for k, v := range c.secret {
			data[k] = []byte(v)
		}
		return data, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	config.transport = network
	sender, err := config.Open()
	return config, sender, err
}

func TestContract(t *testing.T) {
	t.Parallel()
	all := contracts()
	for _, name := range Names() {
		c, ok := all[name]
		if elsewhere[name] {
			continue
		}
		if !ok {
			t.Errorf("%s has no row in the contract suite", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.requests(t, name)
			c.answersOf(t, name)
			c.redirects(t, name)
			c.hangs(t, name)
			c.incomplete(t, name)
		})
	}
}

// requests holds the requests to what the service has published.
func (c contract) requests(t *testing.T, name string) {
	n := &network{c: c}
	_, sender, err := c.open(t, name, n)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.sent) != 0 {
		t.Errorf("connected before the first event: %v", n.sent)
	}
	if err := sender.Send(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	for i, want := range c.want {
		if i >= len(n.sent) || !strings.HasPrefix(n.sent[i], want) {
			t.Fatalf("requests\n%s\nwant\n%s", strings.Join(n.sent, "\n"), strings.Join(c.want, "\n"))
		}
	}
	if len(n.sent) != len(c.want) {
		t.Errorf("more requests than expected: %v", n.sent)
	}
	if c.header != "" && n.header.Get(c.header) != c.value {
		t.Errorf("header %s is %q, want %q", c.header, n.header.Get(c.header), c.value)
	}
	if !strings.Contains(n.body, c.body) {
		t.Errorf("body %s\nlacks %s", n.body, c.body)
	}
	if n.header.Get("Content-Type") == "application/json" && !json.Valid([]byte(n.body)) {
		t.Errorf("the body is no JSON: %s", n.body)
	}
}

// answersOf checks what failures mean, and that no credential shows although the service repeats it.
func (c contract) answersOf(t *testing.T, name string) {
	secret := fmt.Sprint(c.address, c.secret)
	for code, again := range map[int]bool{400: false, 401: false, 403: false, 422: false, 429: true, 500: true, 502: true, 503: true} {
		n := &network{c: c, instead: func(r *http.Request) (*http.Response, error) {
			resp := answering(r, code, "bad "+canary+strings.Repeat("x", 4096))
			if again {
				resp.Header.Set("Retry-After", "17")
			}
			return resp, nil
		}}
		_, sender, err := c.open(t, name, n)
		if err != nil {
			t.Fatal(err)
		}
		err = sender.Send(t.Context(), sample())
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%d: %v", code, err)
		}
		after, retry := e.Retry()
		if retry != again || (code == 429 && after != 17*time.Second) {
			t.Errorf("%d: retry %v after %s, want %v", code, retry, after, again)
		}
		if strings.Contains(secret, canary) && strings.Contains(err.Error(), canary) || len(err.Error()) > 1024 {
			t.Errorf("%d: the error shows a credential or is too long: %.200v", code, err)
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("request failed with status code %d: bad", code)) {
			t.Errorf("%d: the error does not say what happened: %.200v", code, err)
		}
	}
}

// Git hosts say in several ways that there were too many requests, and how long to wait.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	in := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	for _, tt := range []struct {
		reason       string
		code         int
		header       http.Header
		again        bool
		least, after time.Duration
	}{
		{"forbidden", 403, header(rateRemaining, "4711", rateReset, in(time.Hour)), false, 0, 0},
		{"the secondary limit", 403, header("Retry-After", "60", rateRemaining, "4711"), true, time.Minute, time.Minute},
		{"the hourly limit", 403, header(rateRemaining, "0", rateReset, in(time.Hour)), true, 59 * time.Minute, time.Hour},
		{"the hourly limit with 429", 429, header(rateRemaining, "0", rateReset, in(time.Hour)), true, 59 * time.Minute, time.Hour},
		{"a limit that is over", 429, header(rateRemaining, "0", rateReset, in(-time.Hour)), true, 0, 0},
		{"a limit without a time", 429, http.Header{}, true, 0, 0},
	} {
		if after, again := answered(tt.code, tt.header, nil).Retry(); again != tt.again || after < tt.least || after > tt.after {
			t.Errorf("%s: again %v after %s", tt.reason, again, after)
		}
	}
}

// A login that fails is judged as a delivery is.
func TestLoginAnswers(t *testing.T) {
	t.Parallel()
	c := contracts()["googlepubsub"]
	for code, again := range map[int]bool{302: true, 400: false, 401: false, 403: false, 404: false, 422: false, 429: true, 500: true, 503: true} {
		n := &network{c: c, login: func(r *http.Request) (*http.Response, error) {
			resp := answering(r, code, `{"error":"no","error_description":"not today"}`)
			if again {
				resp.Header.Set("Retry-After", "17")
			}
			resp.Header.Set("Location", "https://evil.example.org/take")
			return resp, nil
		}}
		_, sender, err := c.open(t, "googlepubsub", n)
		if err != nil {
			t.Fatal(err)
		}
		err = sender.Send(t.Context(), sample())
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "not today") {
			t.Fatalf("%d: %v", code, err)
		}
		if after, retry := e.Retry(); retry != again || again && after != 17*time.Second {
			t.Errorf("%d: retry %v after %s, want %v: %v", code, retry, after, again, err)
		}
		if strings.Contains(strings.Join(n.sent, "\n"), "evil") || len(n.sent) != 1 {
			t.Errorf("%d: %v", code, n.sent)
		}
	}
}

// redirects leave neither the host nor the method.
func (c contract) redirects(t *testing.T, name string) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		n := &network{c: c, instead: func(r *http.Request) (*http.Response, error) {
			resp := answering(r, code, "")
			resp.Header.Set("Location", "https://evil.example.org/take")
			return resp, nil
		}}
		_, sender, err := c.open(t, name, n)
		if err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(t.Context(), sample()); err == nil {
			t.Errorf("%d counts as success", code)
		}
		// Some log in first, elsewhere; nothing may reach where the redirect leads.
		if len(n.sent) == 0 || strings.Contains(strings.Join(n.sent, "\n"), "evil.example.org") {
			t.Errorf("%d was followed: %v", code, n.sent)
		}
	}
}

func (c contract) hangs(t *testing.T, name string) {
	n := &network{c: c, instead: func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, &url.Error{Op: "Post", URL: "https://x/" + canary, Err: r.Context().Err()}
	}}
	config, sender, err := c.open(t, name, n)
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = 50 * time.Millisecond
	err = sender.Send(context.WithoutCancel(t.Context()), sample())
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("hang: %v", err)
	}
	if _, retry := e.Retry(); !retry || strings.Contains(err.Error(), canary) {
		t.Errorf("hang: retry %v, %v", retry, err)
	}
}

// incomplete providers say what is missing, at once, and never panic.
func (c contract) incomplete(t *testing.T, name string) {
	for reason, change := range map[string]func(*contract){
		"no address": func(c *contract) { c.address = "" }, "no Secret": func(c *contract) { c.secret = nil },
		"no channel": func(c *contract) { c.channel = "" }, "bad address": func(c *contract) { c.address = "https://%zz/" + canary },
		"no scheme": func(c *contract) { c.address = "hooks" }, "other scheme": func(c *contract) { c.address = "file:///etc/passwd" },
	} {
		broken := c
		change(&broken)
		n := &network{c: broken}
		_, sender, err := broken.open(t, name, n)
		if err == nil {
			err = sender.Send(t.Context(), sample())
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", reason, err)
		}
		if err == nil && strings.Contains(reason, "address") && name != "telegram" {
			t.Errorf("%s: accepted", reason)
		}
	}
}

func TestSameHostRedirectsAreFollowed(t *testing.T) {
	t.Parallel()
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.Path+" "+string(body[:1]))
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "/new", http.StatusPermanentRedirect)
		}
	}))
	defer server.Close()
	_, sender, err := contract{address: server.URL + "/old"}.open(t, "generic", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Send(t.Context(), sample()); err != nil || fmt.Sprint(got) != "[POST /old { POST /new {]" {
		t.Errorf("%v: %v", got, err)
	}
}
