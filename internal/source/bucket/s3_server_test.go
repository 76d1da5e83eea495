package bucket_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/gitops-toolkit/flux/test/harness"
)

const (
	accessKey = "tester"
	secretKey = "tester-secret-key"
)

// s3Server is a real S3 server with a bucket of the name sample.
type s3Server struct {
	*harness.S3
	t *testing.T
	// endpoint is where it listens.
	endpoint string
}

func startS3(t *testing.T, cert, key string) *s3Server {
	t.Helper()
	server, err := harness.StartS3(t.TempDir(), cert, key)
	if errors.Is(err, harness.ErrNoS3) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Close()
		if t.Failed() {
			t.Logf("S3 server: %s", server.Output())
		}
	})
	if err := server.Client.MakeBucket(context.Background(), "sample", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return &s3Server{S3: server, t: t, endpoint: server.Endpoint}
}

func (s *s3Server) put(key, content string) {
	s.t.Helper()
	if err := s.Put("sample", key, content); err != nil {
		s.t.Fatal(err)
	}
}

func (s *s3Server) remove(key string) {
	s.t.Helper()
	if err := s.Client.RemoveObject(context.Background(), "sample", key, minio.RemoveObjectOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// counter counts the requests of the controller: those for content, and all.
type counter struct {
	next         http.RoundTripper
	all, objects atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.all.Add(1)
	if r.Method == http.MethodGet && !r.URL.Query().Has("list-type") && !r.URL.Query().Has("location") && strings.Count(r.URL.Path, "/") > 1 && !strings.HasSuffix(r.URL.Path, "/") {
		c.objects.Add(1)
	}
	return c.next.RoundTrip(r)
}
