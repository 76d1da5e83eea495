package decrypt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Limits of one request to a key service.
const (
	requestTimeout = 30 * time.Second
	maxAnswer      = 1 << 20
)

func getenv(name string) string { return os.Getenv(name) }

// client follows no redirects: what is sent is for one host alone.
func client(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true,
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second,
		}
	}
	return &http.Client{Timeout: requestTimeout, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// post sends JSON and reads the answer into out. An error tells the service, the status and the code that the service
// documents; an answer in any other form is not quoted.
func (d *Decryptor) post(ctx context.Context, service, address string, header http.Header, in, out any, sign func(*http.Request, []byte) error) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: the address '%s' is not valid", service, address)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if sign != nil {
		if err := sign(req, body); err != nil {
			return err
		}
	}
	return d.send(req, service, out)
}

func (d *Decryptor) send(req *http.Request, service string, out any) error {
	resp, err := d.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("%s cannot be reached at %s: %w", service, req.URL.Host, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: the answer broke off: %w", service, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d %s%s", service, resp.StatusCode, http.StatusText(resp.StatusCode), complaint(answer))
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s: the answer is not what its contract says", service)
	}
	return nil
}

// complaint is what a key service says about a request that it refused.
func complaint(answer []byte) string {
	var said struct {
		Type    string `json:"__type"` // AWS
		Message string `json:"message"`
		Error   struct {
			Code    any    `json:"code"` // Azure, Google
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(answer, &said) != nil {
		return ""
	}
	code, message := said.Type, said.Message
	if said.Error.Message != "" {
		code, message = said.Error.Status, said.Error.Message
		if code == "" {
			code = fmt.Sprint(said.Error.Code)
		}
	}
	if len(message) > 500 {
		message = message[:500] + "..."
	}
	switch {
	case code == "" && message == "":
		return ""
	case message == "":
		return " (" + code + ")"
	}
	return fmt.Sprintf(" (%s: %s)", code, message)
}
