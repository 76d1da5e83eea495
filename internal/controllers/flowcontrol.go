package controllers

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// flowSchemaHeader is set on every answer of an API server that shares its capacity fairly.
const flowSchemaHeader = "X-Kubernetes-Pf-Flowschema-Uid"

// unthrottle takes the client-side limits off where the server does its own (API priority and
// fairness): then --kube-api-qps only makes work wait that the server had room for. A server that
// cannot be asked keeps the limits.
func unthrottle(ctx context.Context, config *rest.Config) error {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return fmt.Errorf("read the API server's address: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, base.JoinPath("livez", "ping").String(), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil
	}
	resp.Body.Close()
	if resp.Header.Get(flowSchemaHeader) != "" {
		config.QPS, config.Burst = -1, -1
	}
	return nil
}
