package bucket

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/netcause"
	"github.com/gitops-toolkit/flux/internal/retryafter"
)

// deniedError says that the storage does not let the identity do what is wanted.
type deniedError struct{ err error }

func (e *deniedError) Error() string { return e.err.Error() }
func (e *deniedError) Unwrap() error { return e.err }

func isDenied(err error) bool {
	var denied *deniedError
	return errors.As(err, &denied)
}

// query is what may follow the path of an address in the text of an error: signatures and tokens.
var query = regexp.MustCompile(`\?[^\s"']+`)

// cleaned is an error whose text shows no query.
type cleaned struct {
	error
	text string
}

func (c *cleaned) Error() string { return c.text }
func (c *cleaned) Unwrap() error { return c.error }

// clean cuts signed URLs and tokens out of an error.
func clean(err error) error {
	text := err.Error()
	var address *url.Error
	if errors.As(err, &address) {
		if u, parseErr := url.Parse(address.URL); parseErr == nil && u.RawQuery != "" {
			text = strings.ReplaceAll(text, "?"+u.RawQuery, "")
		}
	}
	return &cleaned{err, query.ReplaceAllString(text, "")}
}

// explain adds to an error of the storage what to do next. The texts that people and their alerts know stay at the
// beginning.
func explain(obj *sourcev1.Bucket, err error) error {
	err = clean(err)
	if next := next(obj, err); next != "" {
		return fmt.Errorf("%w; %s", err, next)
	}
	return err
}

func next(obj *sourcev1.Bucket, err error) string {
	switch cause := netcause.Of(err); {
	case retryafter.Asked(err) > 0:
		return ""
	case isDenied(err):
		if ref := obj.Spec.SecretRef; ref != nil {
			return fmt.Sprintf("check the credentials in the Secret '%s/%s', and that they may list and read the bucket", obj.Namespace, ref.Name)
		}
		return "check that the identity may list and read the bucket, or name credentials in spec.secretRef"
	case cause == netcause.Authority:
		return "put the authority into a Secret, and name that in spec.certSecretRef"
	case cause == netcause.OtherHost:
		return "check spec.endpoint, or give the storage a certificate for it"
	case cause == netcause.Expired, cause == netcause.Invalid:
		return "give the storage a certificate that is valid"
	case cause == netcause.Proxy:
		return "check " + endpointField(obj, err) + ", and " + access.ProxyName(obj.Namespace, obj.Spec.ProxySecretRef)
	case cause == netcause.NoSuchHost:
		return "check " + endpointField(obj, err)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "set spec.insecure if the storage speaks plain HTTP"
	case cause == netcause.Timeout:
		return fmt.Sprintf("check that the storage can be reached from the cluster, or raise spec.timeout (%s)", obj.GetTimeout())
	case cause == netcause.Refused:
		return "the storage wants another client certificate: see spec.certSecretRef"
	case cause == netcause.Unreachable:
		return "check " + endpointField(obj, err) + ", and that the host can be reached from the cluster"
	}
	return ""
}

// endpointField is the field with the address that an error is about.
func endpointField(obj *sourcev1.Bucket, err error) string {
	var request *url.Error
	if sts := obj.Spec.STS; sts != nil && errors.As(err, &request) && strings.HasPrefix(request.URL, sts.Endpoint) {
		return "spec.sts.endpoint"
	}
	return "spec.endpoint"
}
