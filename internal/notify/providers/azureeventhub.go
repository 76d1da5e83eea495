package providers

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

func init() { register(Type{Name: "azureeventhub", New: newEventHub}) }

const (
	eventHubResource = "https://eventhubs.azure.net"
	sasLife          = 10 * time.Minute
)

// eventHub sends over the hub's HTTPS interface. It logs in by a shared key, by a token that the
// Secret holds, or as the controller.
type eventHub struct {
	*Config
	url          string
	keyName, key string
}

func newEventHub(c *Config) (Sender, error) {
	if strings.Contains(c.Address, "SharedAccessKey") {
		return newSharedEventHub(c)
	}
	if c.Address == "" || strings.ContainsAny(c.Address, "/?#") {
		return nil, errors.New("address must be the name of the event hub, or a connection string with a SharedAccessKey")
	}
	if err := c.needChannel("the namespace of the event hub"); err != nil {
		return nil, err
	}
	host := c.Channel
	if !strings.Contains(host, ".") {
		host += eventHubSuffix()
	}
	at := url.URL{Scheme: "https", Host: host, Path: "/" + c.Address + "/messages"}
	return &eventHub{Config: c, url: at.String()}, nil
}

// eventHubSuffix is that of the cloud which AZURE_AUTHORITY_HOST names.
func eventHubSuffix() string {
	switch u, _ := url.Parse(os.Getenv("AZURE_AUTHORITY_HOST")); {
	case u != nil && u.Hostname() == "login.microsoftonline.us":
		return ".servicebus.usgovcloudapi.net"
	case u != nil && u.Hostname() == "login.chinacloudapi.cn":
		return ".servicebus.chinacloudapi.cn"
	}
	return ".servicebus.windows.net"
}

// newSharedEventHub reads a connection string: Endpoint=sb://<host>/;SharedAccessKeyName=<name>;
// SharedAccessKey=<key>;EntityPath=<hub>.
func newSharedEventHub(c *Config) (Sender, error) {
	if c.Token != "" {
		return nil, errors.New("a connection string with a SharedAccessKey needs no token: remove one of them")
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(c.Address, ";") {
		if k, v, ok := strings.Cut(part, "="); ok {
			parts[k] = v
		}
	}
	endpoint, err := url.Parse(parts["Endpoint"])
	if err != nil || endpoint.Host == "" || parts["SharedAccessKeyName"] == "" || parts["SharedAccessKey"] == "" || parts["EntityPath"] == "" {
		return nil, errors.New("the connection string must have Endpoint, SharedAccessKeyName, SharedAccessKey and EntityPath")
	}
	at := url.URL{Scheme: "https", Host: endpoint.Host, Path: "/" + parts["EntityPath"] + "/messages"}
	return &eventHub{Config: c, url: at.String(), keyName: parts["SharedAccessKeyName"], key: parts["SharedAccessKey"]}, nil
}

func (h *eventHub) Send(ctx context.Context, n *Notification) error {
	body, err := json.Marshal(n.Event)
	if err != nil {
		return refused("the event cannot be encoded: %v", err)
	}
	auth, err := h.authorization(ctx)
	if err != nil {
		return err
	}
	_, err = h.do(ctx, request{
		method: http.MethodPost, url: h.url + "?api-version=2014-01", body: body,
		header: header("Content-Type", "application/json", "Authorization", auth),
	})
	return err
}

func (h *eventHub) authorization(ctx context.Context) (string, error) {
	switch {
	case h.key != "":
		return h.sharedAccessSignature(time.Now().Add(sasLife)), nil
	case h.Token != "":
		return "Bearer " + h.Token, nil
	}
	token, err := h.azureToken(ctx, eventHubResource)
	return "Bearer " + token, err
}

func (h *eventHub) sharedAccessSignature(ends time.Time) string {
	resource := url.QueryEscape(strings.TrimSuffix(h.url, "/messages"))
	mac := hmac.New(sha256.New, []byte(h.key))
	fmt.Fprintf(mac, "%s\n%d", resource, ends.Unix())
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s", resource,
		url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))), ends.Unix(), url.QueryEscape(h.keyName))
}
