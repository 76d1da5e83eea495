package bucket

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// Providers of token services.
const (
	stsAWS  = sourcev1.AWSProvider
	stsLDAP = sourcev1.LDAPProvider
)

// provider of the bucket, with the default filled in.
func provider(obj *sourcev1.Bucket) string {
	return cmp.Or(obj.Spec.Provider, sourcev1.GenericProvider)
}

// checkSpec finds what no repetition would mend.
func checkSpec(obj *sourcev1.Bucket) *attempt.Failure {
	if err := checkEndpoint(obj); err != nil {
		return attempt.Stall(sourcev1.URLInvalidReason, err)
	}
	if sts := obj.Spec.STS; sts != nil {
		if err := checkSTS(obj, sts); err != nil {
			return attempt.Stall(sourcev1.InvalidSTSConfigurationReason, err)
		}
	}
	if text := obj.Spec.Ignore; text != nil {
		if _, err := ignore.Parse(*text, "."); err != nil {
			return attempt.Stall(sourcev1.SourceIgnoreErrorReason, fmt.Errorf("spec.ignore: %w", err))
		}
	}
	return nil
}

func checkSTS(obj *sourcev1.Bucket, sts *sourcev1.BucketSTSSpec) error {
	switch p := provider(obj); {
	case p == cloud.AWS && sts.Provider != stsAWS:
		return fmt.Errorf("STS provider '%s' is not supported for 'aws' bucket provider", sts.Provider)
	case p == cloud.AWS && sts.SecretRef != nil:
		return errors.New("spec.sts.secretRef is not required for the 'aws' STS provider")
	case p == cloud.AWS && sts.CertSecretRef != nil:
		return errors.New("spec.sts.certSecretRef is not required for the 'aws' STS provider")
	case p == sourcev1.GenericProvider && sts.Provider != stsLDAP:
		return fmt.Errorf("STS provider '%s' is not supported for 'generic' bucket provider", sts.Provider)
	case p != cloud.AWS && p != sourcev1.GenericProvider:
		return fmt.Errorf("STS configuration is not supported for '%s' bucket provider", p)
	}
	u, err := url.Parse(sts.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("failed to parse STS endpoint '%s': it must be a URL such as https://sts.example.com", sts.Endpoint)
	}
	return nil
}

// endpoint is where the storage is; one slash too many does no harm.
func endpoint(obj *sourcev1.Bucket) string { return strings.TrimSuffix(obj.Spec.Endpoint, "/") }

// checkEndpoint takes host[:port] for S3 and Google, and a URL for Azure.
func checkEndpoint(obj *sourcev1.Bucket) error {
	endpoint := endpoint(obj)
	if provider(obj) == cloud.Azure {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
			return fmt.Errorf("invalid spec.endpoint '%s': write it as https://ACCOUNT.blob.core.windows.net", endpoint)
		}
		return nil
	}
	u, err := url.Parse("//" + endpoint)
	if err != nil || u.Host == "" || u.Host != endpoint || strings.ContainsAny(endpoint, "/?#@") {
		return fmt.Errorf("invalid spec.endpoint '%s': write it as host or host:port, without a scheme", endpoint)
	}
	return nil
}

// host of the endpoint, in lower case and without a port.
func host(obj *sourcev1.Bucket) string {
	text := endpoint(obj)
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		text = u.Host
	}
	if h, _, err := net.SplitHostPort(text); err == nil {
		text = h
	}
	return strings.ToLower(text)
}

// current tells whether the artifact is of the revision.
func current(obj *sourcev1.Bucket, revision string) bool {
	a := obj.Status.Artifact
	return a != nil && a.Revision == revision
}
