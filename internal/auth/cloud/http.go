package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/retryafter"
)

// Limits of one request to a cloud.
const (
	requestTimeout  = 30 * time.Second
	metadataTimeout = 5 * time.Second
	maxAnswer       = 4 << 20
)

// call is one request to a service of a cloud.
type call struct {
	method, url string
	header      http.Header
	body        []byte
	// service is how errors call it.
	service string
	// local is a service of the node that the controller runs on: no proxy leads there.
	local bool
	// sign completes the request.
	sign func(*http.Request) error
}

func form(values url.Values) ([]byte, http.Header) {
	return []byte(values.Encode()), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
}

// do makes the request and returns the answer's body. Answers other than 200 are errors that carry what the cloud says,
// but never what was sent.
func (c *Clouds) do(ctx context.Context, id Identity, r call) ([]byte, error) {
	timeout := requestTimeout
	if r.local {
		timeout = metadataTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("%s: the address is not valid", r.service)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if r.sign != nil {
		if err := r.sign(req); err != nil {
			return nil, fmt.Errorf("%s: %w", r.service, err)
		}
	}
	client := c.client(id, r.local)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be reached at %s: %w", r.service, req.URL.Host, bare(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: the answer broke off: %w", r.service, err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("%s: the answer is larger than %d bytes", r.service, maxAnswer)
	case resp.StatusCode/100 != 2:
		return nil, answered(r.service, resp, body)
	}
	return body, nil
}

// client leads through the identity's proxy. Connections are not kept: tokens are asked for once an hour.
func (c *Clouds) client(id Identity, local bool) *http.Client {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // What is sent proves an identity, and is for this host alone.
	}}
	if c.opts.Transport != nil {
		client.Transport = c.opts.Transport
		return client
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 256 << 10,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	switch {
	case local:
		t.Proxy = nil
	case id.Proxy != nil:
		t.Proxy = http.ProxyURL(id.Proxy)
	}
	client.Transport = t
	return client
}

// bare is the cause without the address, whose query may hold a signature.
func bare(err error) error {
	if u, ok := err.(*url.Error); ok {
		return u.Err
	}
	return err
}

// complaint is what the clouds say in an answer that is an error, each in its own way.
type complaint struct {
	// OAuth 2: Entra ID, Google's token service.
	Error       json.RawMessage `json:"error"`
	Description string          `json:"error_description"`
	// AWS with JSON.
	Type     string `json:"__type"`
	Message  string `json:"message"`
	Message2 string `json:"Message"`
	Code     string `json:"code"`
}

// awsXML is an error of AWS's query protocol.
type awsXML struct {
	Code    string `xml:"Error>Code"`
	Message string `xml:"Error>Message"`
}

// answered is the error for an answer that is no success.
func answered(service string, resp *http.Response, body []byte) error {
	said := says(body)
	if len(said) > 500 {
		said = said[:500] + "..."
	}
	if said != "" {
		said = ": " + said
	}
	after, _ := retryafter.Read(resp.Header)
	return &AnswerError{
		Status: resp.StatusCode, After: after,
		text: fmt.Sprintf("%s answers %d %s%s", service, resp.StatusCode, http.StatusText(resp.StatusCode), said),
	}
}

// says is the code and text of an answer that is an error, "" if it is in no form that the clouds document.
func says(body []byte) string {
	var x awsXML
	if xml.Unmarshal(body, &x) == nil && x.Code != "" {
		return joined(x.Code, x.Message)
	}
	var j complaint
	if json.Unmarshal(body, &j) != nil {
		return ""
	}
	var code string
	var nested struct {
		Code    json.RawMessage `json:"code"`
		Status  string          `json:"status"`
		Message string          `json:"message"`
	}
	switch {
	case json.Unmarshal(j.Error, &code) == nil && code != "":
		return joined(code, j.Description)
	case json.Unmarshal(j.Error, &nested) == nil && nested.Message != "":
		if nested.Status == "" {
			nested.Status = strings.Trim(string(nested.Code), `"`)
		}
		return joined(nested.Status, nested.Message)
	case j.Type != "" || j.Code != "":
		_, name, _ := strings.Cut("#"+j.Type, "#")
		if i := strings.LastIndex(name, "#"); i >= 0 {
			name = name[i+1:]
		}
		return joined(name+j.Code, j.Message+j.Message2)
	}
	return j.Message + j.Message2
}

func joined(code, text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "Trace ID:") // Entra ID adds what changes each time.
	text = strings.TrimSpace(text)
	if text == "" {
		return code
	}
	return code + ": " + text
}

// decode reads an answer in JSON.
func decode(service string, body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: the answer is not what is documented: %w", service, err)
	}
	return nil
}
