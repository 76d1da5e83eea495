package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
)

// Keys of the Secret of an S3 storage.
const (
	keyAccess = "accesskey"
	keySecret = "secretkey"
)

// s3Retries is how often minio-go tries a request that fails on the way.
const s3Retries = 3

// s3 is a bucket at a storage that speaks S3.
type s3 struct {
	core   minio.Core
	bucket string
}

func openS3(ctx context.Context, s settings) (storage, time.Time, error) {
	creds, until, err := s3Credentials(ctx, s)
	if err != nil {
		return nil, until, err
	}
	client, err := minio.New(endpoint(s.obj), &minio.Options{
		Creds: creds, Secure: !s.obj.Spec.Insecure, Region: s.obj.Spec.Region,
		Transport: s.client.Transport, MaxRetries: s3Retries,
	})
	if err != nil {
		return nil, until, fmt.Errorf("spec.endpoint: %w", err)
	}
	return &s3{core: minio.Core{Client: client}, bucket: s.obj.Spec.BucketName}, until, nil
}

// s3Credentials come from the Secret, from a token service, or from the identity at AWS; else there are none.
func s3Credentials(ctx context.Context, s settings) (*credentials.Credentials, time.Time, error) {
	var never time.Time
	sts := s.obj.Spec.STS
	switch {
	case s.secret != nil:
		access, secret := string(s.secret.Data[keyAccess]), string(s.secret.Data[keySecret])
		if access == "" || secret == "" {
			return nil, never, fmt.Errorf("invalid '%s' secret data: required fields '%s' and '%s'", s.secret.Name, keyAccess, keySecret)
		}
		return credentials.NewStaticV4(access, secret, ""), never, nil
	case sts != nil && sts.Provider == stsLDAP:
		return credentials.New(&credentials.LDAPIdentity{
			Client: s.sts.client, STSEndpoint: sts.Endpoint, LDAPUsername: s.sts.username, LDAPPassword: s.sts.password,
		}), never, nil
	case provider(s.obj) == sourcev1.GenericProvider:
		return credentials.NewStatic("", "", "", credentials.SignatureAnonymous), never, nil
	}
	o := cloud.AWSOptions{Region: s.obj.Spec.Region}
	if sts != nil {
		o.STSEndpoint = sts.Endpoint
	}
	keys, err := s.clouds.AWS(ctx, s.id, o)
	if err != nil {
		return nil, never, fmt.Errorf("failed to get credentials from aws: %w", err)
	}
	return credentials.NewStaticV4(keys.AccessKey, keys.SecretKey, keys.SessionToken), keys.Until, nil
}

func (s *s3) list(ctx context.Context, prefix string, visit func(object) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing where visit fails
	for o := range s.core.Client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			return s3Error(o.Err)
		}
		if err := visit(object{Key: o.Key, ETag: o.ETag, Size: o.Size}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *s3) open(ctx context.Context, o object) (io.ReadCloser, string, error) {
	body, info, _, err := s.core.GetObject(ctx, s.bucket, o.Key, minio.GetObjectOptions{})
	if err != nil {
		return nil, "", s3Error(err)
	}
	return body, strings.Trim(info.ETag, `"`), nil
}

// s3Error names the errors that callers tell apart.
func s3Error(err error) error {
	var said minio.ErrorResponse
	if !errors.As(err, &said) {
		return err
	}
	switch {
	case said.Code == minio.NoSuchBucket:
		return errNoBucket
	case said.Code == minio.NoSuchKey:
		return errGone
	case said.StatusCode == http.StatusUnauthorized || said.StatusCode == http.StatusForbidden:
		return &deniedError{err}
	}
	return err
}
