package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Env names the S3 server that tests run; hack/test-tool.sh s3 builds it.
const S3Env = "FLUX_TEST_S3"

// ErrNoS3 says that there is no S3 server to run.
var ErrNoS3 = errors.New("no S3 server: run `make test`, or set " + S3Env + " to what `hack/test-tool.sh s3` prints")

// S3 is a real S3 server on loopback.
type S3 struct {
	Endpoint             string
	AccessKey, SecretKey string
	Client               *minio.Client

	server *exec.Cmd
	output bytes.Buffer
}

// StartS3 runs the server with its data below dir; with a certificate and its key, both names of files, it speaks TLS.
// Close ends it.
func StartS3(dir, cert, key string) (*S3, error) {
	binary := os.Getenv(S3Env)
	if binary == "" {
		return nil, ErrNoS3
	}
	data, sidecar := filepath.Join(dir, "data"), filepath.Join(dir, "meta")
	if err := errors.Join(os.Mkdir(data, 0o700), os.Mkdir(sidecar, 0o700)); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &S3{Endpoint: l.Addr().String(), AccessKey: "tester", SecretKey: "tester-secret-key"}
	if err := l.Close(); err != nil {
		return nil, err
	}
	args := []string{"--quiet", "--access", s.AccessKey, "--secret", s.SecretKey, "--port", s.Endpoint}
	if cert != "" {
		args = append(args, "--cert", cert, "--key", key)
	}
	s.server = exec.Command(binary, append(args, "posix", "--sidecar", sidecar, data)...)
	s.server.Stdout, s.server.Stderr = &s.output, &s.output
	s.Client, err = minio.New(s.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: "us-east-1", Secure: cert != "",
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}, //nolint:gosec // our own server
	})
	if err != nil {
		return nil, err
	}
	if err := s.server.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err = s.Client.ListBuckets(context.Background()); err == nil {
			return s, nil
		}
		if time.Now().After(end) {
			s.Close()
			return nil, fmt.Errorf("the S3 server does not come up: %w: %s", err, s.Output())
		}
	}
}

// Close ends the server.
func (s *S3) Close() {
	_ = s.server.Process.Kill()
	_ = s.server.Wait()
}

// Output is what the server said. Read it when it has ended.
func (s *S3) Output() string { return s.output.String() }

// Put uploads an object, and makes its bucket if need be.
func (s *S3) Put(bucket, key, content string) error {
	ctx := context.Background()
	err := s.Client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{})
	if err != nil && minio.ToErrorResponse(err).Code != minio.BucketAlreadyOwnedByYou {
		return err
	}
	_, err = s.Client.PutObject(ctx, bucket, key, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
	return err
}
