package trigger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
)

// Variables with which GitHub and Forgejo let a job ask for its identity.
const (
	requestURLEnv   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	requestTokenEnv = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// identity returns the token that proves who calls: the given one, or the job's own.
func (o *options) identity(ctx context.Context) (string, error) {
	if o.oidcToken != "" {
		return o.oidcToken, nil
	}
	address, secret := os.Getenv(requestURLEnv), os.Getenv(requestTokenEnv)
	if address == "" || secret == "" {
		return "", fmt.Errorf("--oidc-provider=%s needs a job that may ask for its identity: give it the permission id-token: write (%s and %s are not set)", o.oidcProvider, requestURLEnv, requestTokenEnv)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New(requestURLEnv + " is no URL")
	}
	query := u.Query()
	query.Set("audience", cmp.Or(o.oidcAudience, defaultAudience))
	u.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for the job's identity: %w", cause(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask for the job's identity: the answer is %s", resp.Status)
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil || answer.Value == "" {
		return "", errors.New("ask for the job's identity: the answer has no token")
	}
	return answer.Value, nil
}
