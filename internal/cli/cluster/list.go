package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pageSize is how many objects one request asks for: large enough to be fast, small enough
// that neither side holds a large cluster in memory at once.
const pageSize = 500

// ListOptions narrow a list.
type ListOptions struct {
	Namespace string // all namespaces when empty
	Labels    string
	Fields    string
}

type page struct {
	Metadata metav1.ListMeta   `json:"metadata"`
	Items    []json.RawMessage `json:"items"`
}

// List calls each with every object, in the server's order, and returns the resourceVersion
// of the list. The next page is fetched while the present one is decoded.
func (c *Client) List(ctx context.Context, r Resource, opts ListOptions, each func(json.RawMessage) error) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bodies := make(chan []byte, 1)
	failed := make(chan error, 1)
	version := ""
	go func() {
		defer close(bodies)
		failed <- c.fetchPages(ctx, r, opts, bodies)
	}()
	for body := range bodies {
		var p page
		if err := json.Unmarshal(body, &p); err != nil {
			return "", fmt.Errorf("decode the list of %s: %w", r.GroupResource(), err)
		}
		version = p.Metadata.ResourceVersion
		for _, item := range p.Items {
			if err := each(item); err != nil {
				return "", err
			}
		}
	}
	return version, <-failed
}

func (c *Client) fetchPages(ctx context.Context, r Resource, opts ListOptions, bodies chan<- []byte) error {
	token := ""
	for {
		body, err := c.fetchPage(ctx, r, opts, token)
		if err != nil {
			if next := resumeToken(err); next != "" && next != token {
				token = next
				continue
			}
			return err
		}
		next := struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
		}{}
		if err := json.Unmarshal(body, &next); err != nil {
			return fmt.Errorf("decode the list of %s: %w", r.GroupResource(), err)
		}
		select {
		case bodies <- body:
		case <-ctx.Done():
			return ctx.Err()
		}
		if token = next.Metadata.Continue; token == "" {
			return nil
		}
	}
}

func (c *Client) fetchPage(ctx context.Context, r Resource, opts ListOptions, token string) ([]byte, error) {
	req := c.request(http.MethodGet, r, opts.Namespace, "").Param("limit", strconv.Itoa(pageSize))
	if opts.Labels != "" {
		req.Param("labelSelector", opts.Labels)
	}
	if opts.Fields != "" {
		req.Param("fieldSelector", opts.Fields)
	}
	if token != "" {
		req.Param("continue", token)
	}
	return c.raw(ctx, req)
}

// resumeToken returns the token with which a list goes on whose own token has expired.
func resumeToken(err error) string {
	var status apierrors.APIStatus
	if !apierrors.IsResourceExpired(err) || !errors.As(err, &status) {
		return ""
	}
	return status.Status().Continue
}

// IsNoKind reports whether the server does not serve the resource at all (the CRD is absent),
// as opposed to not having one object of it.
func IsNoKind(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == ""
}

// All lists into a slice of T.
func All[T any](ctx context.Context, c *Client, r Resource, opts ListOptions) ([]T, error) {
	var all []T
	_, err := c.List(ctx, r, opts, func(raw json.RawMessage) error {
		var item T
		if err := json.Unmarshal(raw, &item); err != nil {
			return fmt.Errorf("decode an object of %s: %w", r.GroupResource(), err)
		}
		all = append(all, item)
		return nil
	})
	return all, err
}
