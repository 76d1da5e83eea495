package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// ErrNoIdentity is wrapped when the cloud has left no identity for the controller anywhere.
var ErrNoIdentity = errors.New("the controller has no identity there")

// awsOwn finds the controller's own credentials in the order of AWS's SDKs: environment, projected token, container
// credentials (EKS Pod Identity, ECS), metadata service of the node. Files of profiles are not read.
func (c *Clouds) awsOwn(ctx context.Context, id Identity, o AWSOptions) (AWSKeys, error) {
	env := c.opts.Getenv
	if key, secret := env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"); key != "" && secret != "" {
		return AWSKeys{AccessKey: key, SecretKey: secret, SessionToken: env("AWS_SESSION_TOKEN"), Until: c.opts.Now().Add(time.Hour)}, nil
	}
	if file, role := env("AWS_WEB_IDENTITY_TOKEN_FILE"), env("AWS_ROLE_ARN"); file != "" && role != "" {
		token, err := os.ReadFile(file)
		if err != nil {
			return AWSKeys{}, fmt.Errorf("AWS_WEB_IDENTITY_TOKEN_FILE: %w", err)
		}
		session := sessionName(cmp.Or(env("AWS_ROLE_SESSION_NAME"), env("HOSTNAME"), "flux"))
		return c.assumeRole(ctx, id, o, role, session, strings.TrimSpace(string(token)))
	}
	if address, err := containerAddress(env); err != nil {
		return AWSKeys{}, err
	} else if address != "" {
		return c.containerKeys(ctx, address)
	}
	return c.instanceKeys(ctx)
}

// awsCredentials is the form in which services of the node hand out credentials.
type awsCredentials struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	Token           string
	Expiration      time.Time
}

func (k awsCredentials) keys(service string) (AWSKeys, error) {
	if k.AccessKeyID == "" || k.SecretAccessKey == "" {
		return AWSKeys{}, fmt.Errorf("%s: the answer holds no credentials", service)
	}
	return AWSKeys{AccessKey: k.AccessKeyID, SecretKey: k.SecretAccessKey, SessionToken: k.Token, Until: k.Expiration}, nil
}

// containerAddress is where the credentials of the container are, "" if nobody says. Over plain HTTP only the addresses
// that AWS reserves for it, and loopback, are asked.
func containerAddress(env func(string) string) (string, error) {
	if path := env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); path != "" {
		return "http://169.254.170.2" + path, nil
	}
	full := env("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	if full == "" {
		return "", nil
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" {
		return "", errors.New("AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL")
	}
	if u.Scheme == "https" {
		return full, nil
	}
	switch host := u.Hostname(); host {
	case "169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost":
		return full, nil
	default:
		if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
			return full, nil
		}
		return "", fmt.Errorf("AWS_CONTAINER_CREDENTIALS_FULL_URI: '%s' is not asked over plain HTTP", net.JoinHostPort(host, cmp.Or(u.Port(), "80")))
	}
}

func (c *Clouds) containerKeys(ctx context.Context, address string) (AWSKeys, error) {
	const service = "the container credentials service"
	header := http.Header{}
	token := c.opts.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if file := c.opts.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return AWSKeys{}, fmt.Errorf("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: %w", err)
		}
		token = strings.TrimSpace(string(data))
	}
	if token != "" {
		header.Set("Authorization", token)
	}
	answer, err := c.do(ctx, Identity{}, call{method: http.MethodGet, url: address, header: header, service: service, local: true})
	if err != nil {
		return AWSKeys{}, err
	}
	var got awsCredentials
	if err := decode(service, answer, &got); err != nil {
		return AWSKeys{}, err
	}
	return got.keys(service)
}

// instanceKeys asks the metadata service of the node, in its second version.
func (c *Clouds) instanceKeys(ctx context.Context) (AWSKeys, error) {
	const service = "the EC2 instance metadata service"
	if strings.EqualFold(c.opts.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		return AWSKeys{}, fmt.Errorf("AWS: %w: the environment has no credentials and AWS_EC2_METADATA_DISABLED is true", ErrNoIdentity)
	}
	base := strings.TrimSuffix(cmp.Or(c.opts.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), "http://169.254.169.254"), "/")
	session, err := c.do(ctx, Identity{}, call{
		method: http.MethodPut, url: base + "/latest/api/token", service: service, local: true,
		header: http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"300"}},
	})
	if err != nil {
		return AWSKeys{}, fmt.Errorf("AWS: %w: %w", ErrNoIdentity, err)
	}
	get := func(path string) ([]byte, error) {
		return c.do(ctx, Identity{}, call{
			method: http.MethodGet, url: base + "/latest/meta-data/iam/security-credentials/" + path, service: service, local: true,
			header: http.Header{"X-Aws-Ec2-Metadata-Token": {strings.TrimSpace(string(session))}},
		})
	}
	roles, err := get("")
	if err != nil {
		return AWSKeys{}, fmt.Errorf("AWS: the node has no role: %w", err)
	}
	role, _, _ := strings.Cut(strings.TrimSpace(string(roles)), "\n")
	answer, err := get(url.PathEscape(role))
	if err != nil {
		return AWSKeys{}, err
	}
	var got awsCredentials
	if err := decode(service, answer, &got); err != nil {
		return AWSKeys{}, err
	}
	return got.keys(service)
}
