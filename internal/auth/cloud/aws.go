package cloud

import (
	"cmp"
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Annotations of a ServiceAccount that say what it is at the clouds.
const (
	annotationRoleARN     = "eks.amazonaws.com/role-arn"
	annotationClientID    = "azure.workload.identity/client-id"
	annotationTenantID    = "azure.workload.identity/tenant-id"
	annotationGCPAccount  = "iam.gke.io/gcp-service-account"
	annotationGCPProvider = "gcp.auth.fluxcd.io/workload-identity-provider"
)

var annotations = []string{annotationRoleARN, annotationClientID, annotationTenantID, annotationGCPAccount, annotationGCPProvider}

// audienceSTS is for whom tokens for AWS are.
const audienceSTS = "sts.amazonaws.com"

// AWSKeys are credentials of AWS.
type AWSKeys struct {
	AccessKey, SecretKey, SessionToken string
	// Until is when to ask for others.
	Until time.Time
}

// AWSOptions say where credentials are for.
type AWSOptions struct {
	// Region whose token service is asked; AWS_REGION or AWS_DEFAULT_REGION if empty.
	Region string
	// STSEndpoint replaces the token service of the region.
	STSEndpoint string
}

var roleARN = pattern(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}$`)

// AWS returns credentials of AWS.
func (c *Clouds) AWS(ctx context.Context, id Identity, o AWSOptions) (AWSKeys, error) {
	o.Region = c.region(o.Region)
	key := fmt.Sprintf("aws/%s/%s/%s", id.key(), o.Region, o.STSEndpoint)
	keys, until, err := kept(ctx, c, key, func(ctx context.Context) (AWSKeys, time.Time, error) {
		keys, err := c.awsKeys(ctx, id, o)
		return keys, keys.Until, err
	})
	keys.Until = until
	return keys, err
}

func (c *Clouds) region(given string) string {
	return cmp.Or(given, c.opts.Getenv("AWS_REGION"), c.opts.Getenv("AWS_DEFAULT_REGION"))
}

func (c *Clouds) awsKeys(ctx context.Context, id Identity, o AWSOptions) (AWSKeys, error) {
	a := id.Account
	if a == nil {
		return c.awsOwn(ctx, id, o)
	}
	role := a.Annotations[annotationRoleARN]
	if !roleARN().MatchString(role) {
		return AWSKeys{}, fmt.Errorf("invalid annotation '%s' of the service account '%s': '%s' is not the ARN of a role", annotationRoleARN, a, role)
	}
	token, err := c.mint(ctx, a, audienceSTS)
	if err != nil {
		return AWSKeys{}, err
	}
	return c.assumeRole(ctx, id, o, role, sessionName(a.Namespace+"."+a.Name), token)
}

var notInSessionName = pattern(`[^\w+=,.@-]`)

// sessionName makes a name that AWS accepts for a session.
func sessionName(s string) string {
	s = notInSessionName().ReplaceAllString(s, "-")
	return s[:min(len(s), 64)]
}

// stsHost is the token service of a region.
func stsHost(region string) string {
	if region == "" {
		return "sts.amazonaws.com"
	}
	return "sts." + region + "." + awsSuffix(region)
}

// awsSuffix is the domain of a region's services.
func awsSuffix(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "amazonaws.com.cn"
	case strings.HasPrefix(region, "us-iso-"):
		return "c2s.ic.gov"
	case strings.HasPrefix(region, "us-isob-"):
		return "sc2s.sgov.gov"
	case strings.HasPrefix(region, "eusc-"):
		return "amazonaws.eu"
	}
	return "amazonaws.com"
}

// assumeRole exchanges a token for credentials of a role.
func (c *Clouds) assumeRole(ctx context.Context, id Identity, o AWSOptions, role, session, token string) (AWSKeys, error) {
	endpoint := strings.TrimSuffix(o.STSEndpoint, "/") + "/"
	if o.STSEndpoint == "" {
		endpoint = "https://" + stsHost(o.Region) + "/"
	}
	body, header := form(url.Values{
		"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"},
		"RoleArn": {role}, "RoleSessionName": {session}, "WebIdentityToken": {token},
	})
	answer, err := c.do(ctx, id, call{method: http.MethodPost, url: endpoint, header: header, body: body, service: "AWS STS"})
	if err != nil {
		return AWSKeys{}, fmt.Errorf("failed to assume the role '%s': %w", role, err)
	}
	var got struct {
		AccessKey    string    `xml:"AssumeRoleWithWebIdentityResult>Credentials>AccessKeyId"`
		SecretKey    string    `xml:"AssumeRoleWithWebIdentityResult>Credentials>SecretAccessKey"`
		SessionToken string    `xml:"AssumeRoleWithWebIdentityResult>Credentials>SessionToken"`
		Expiration   time.Time `xml:"AssumeRoleWithWebIdentityResult>Credentials>Expiration"`
	}
	if err := xml.Unmarshal(answer, &got); err != nil || got.AccessKey == "" || got.SecretKey == "" {
		return AWSKeys{}, fmt.Errorf("failed to assume the role '%s': the answer of AWS STS holds no credentials", role)
	}
	return AWSKeys{AccessKey: got.AccessKey, SecretKey: got.SecretKey, SessionToken: got.SessionToken, Until: got.Expiration}, nil
}
