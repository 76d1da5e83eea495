package bucket_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3Env names the S3 server that tests run; hack/s3-server.sh builds it.
const s3Env = "FLUX_TEST_S3"

const (
	accessKey = "tester"
	secretKey = "tester-secret-key"
)

// s3Server is a real S3 server with a bucket of the name sample, behind a counter of requests.
type s3Server struct {
	t        *testing.T
	endpoint string // of the server itself
	client   *minio.Client
}

func startS3(t *testing.T, args ...string) *s3Server {
	t.Helper()
	binary := os.Getenv(s3Env)
	if binary == "" {
		t.Skipf("no S3 server: run `make test`, or set %s to what hack/s3-server.sh prints", s3Env)
	}
	dir := t.TempDir()
	data, sidecar := filepath.Join(dir, "data"), filepath.Join(dir, "meta")
	for _, d := range []string{data, sidecar} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &s3Server{t: t, endpoint: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--quiet", "--access", accessKey, "--secret", secretKey, "--port", s.endpoint}, args...)
	cmd := exec.Command(binary, append(args, "posix", "--sidecar", sidecar, data)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("S3 server: %s", output.String())
		}
	})
	secure := strings.Contains(strings.Join(args, " "), "--cert")
	s.client, err = minio.New(s.endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Secure: secure, Region: "us-east-1", Transport: insecureTransport(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		err := s.client.MakeBucket(context.Background(), "sample", minio.MakeBucketOptions{})
		if err == nil {
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("the S3 server does not come up: %v", err)
		}
	}
}

func (s *s3Server) put(key, content string) {
	s.t.Helper()
	_, err := s.client.PutObject(context.Background(), "sample", key, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *s3Server) remove(key string) {
	s.t.Helper()
	if err := s.client.RemoveObject(context.Background(), "sample", key, minio.RemoveObjectOptions{}); err != nil {
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
