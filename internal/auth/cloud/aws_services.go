package cloud

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func (k AWSKeys) sdk() aws.Credentials {
	return aws.Credentials{AccessKeyID: k.AccessKey, SecretAccessKey: k.SecretKey, SessionToken: k.SessionToken}
}

// signed completes a call to a service of AWS.
func (c *Clouds) signed(ctx context.Context, k AWSKeys, service, region string, r call) call {
	r.sign = func(req *http.Request) error {
		sum := sha256.Sum256(r.body)
		return v4.NewSigner().SignHTTP(ctx, k.sdk(), req, hex.EncodeToString(sum[:]), service, region, c.opts.Now())
	}
	return r
}

// ecr is how errors call the service.
const ecr = "Amazon ECR"

// publicECR is the registry of public images, which lives in one region.
const publicECR = "public.ecr.aws"

var ecrHost = pattern(`^\d{12}\.dkr\.ecr(-fips)?\.([a-z0-9-]+)\.(amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov)$`)

func checkECR(host string) error {
	if host == publicECR || ecrHost().MatchString(host) {
		return nil
	}
	return fmt.Errorf("invalid AWS registry: '%s'. must match %s", host, ecrHost())
}

// awsRegistry logs in to ECR.
func (c *Clouds) awsRegistry(ctx context.Context, id Identity, host string) (auth.Login, time.Time, error) {
	region, service, target, api := "us-east-1", "ecr-public", "SpencerFrontendService.GetAuthorizationToken", "api.ecr-public.us-east-1.amazonaws.com"
	if err := checkECR(host); err != nil {
		return auth.Login{}, time.Time{}, err
	}
	if m := ecrHost().FindStringSubmatch(host); m != nil {
		region, service, target = m[2], "ecr", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
		api = "api.ecr." + region + "." + m[3]
		if m[1] != "" {
			api = "ecr-fips." + region + "." + m[3]
		}
	}
	keys, err := c.AWS(ctx, id, AWSOptions{Region: region})
	if err != nil {
		return auth.Login{}, time.Time{}, err
	}
	answer, err := c.do(ctx, id, c.signed(ctx, keys, service, region, call{
		method: http.MethodPost, url: "https://" + api + "/", service: ecr, body: []byte("{}"),
		header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {target}},
	}))
	if err != nil {
		return auth.Login{}, time.Time{}, err
	}
	return readECR(answer)
}

// readECR reads the answer to GetAuthorizationToken: a list of one from ECR, one from the public registry.
func readECR(answer []byte) (auth.Login, time.Time, error) {
	type data struct {
		Token   string  `json:"authorizationToken"`
		Expires float64 `json:"expiresAt"`
	}
	var got struct {
		Data json.RawMessage `json:"authorizationData"`
	}
	var one data
	list := []data{}
	err := json.Unmarshal(answer, &got)
	if err == nil && json.Unmarshal(got.Data, &one) != nil {
		if err = json.Unmarshal(got.Data, &list); err == nil && len(list) > 0 {
			one = list[0]
		}
	}
	plain, decodeErr := base64.StdEncoding.DecodeString(one.Token)
	user, password, found := strings.Cut(string(plain), ":")
	if err != nil || decodeErr != nil || !found {
		return auth.Login{}, time.Time{}, fmt.Errorf("%s: the answer holds no login", ecr)
	}
	return auth.Login{Username: user, Password: password}, time.Unix(int64(one.Expires), 0), nil
}

var codeCommitHost = pattern(`^git-codecommit(-fips)?\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$`)

// IsCodeCommit tells whether a host is Git at AWS.
func IsCodeCommit(host string) bool { return codeCommitHost().MatchString(host) }

// codeCommitLife is how long a signed password is accepted.
const codeCommitLife = 15 * time.Minute

// awsGit makes a login for CodeCommit: the password is a signature of the path (SigV4 with the method GIT and no payload).
func (c *Clouds) awsGit(ctx context.Context, id Identity, u *url.URL) (GitLogin, time.Time, error) {
	m := codeCommitHost().FindStringSubmatch(u.Hostname())
	if m == nil || u.Scheme != "https" {
		return GitLogin{}, time.Time{}, fmt.Errorf("invalid AWS CodeCommit URL: host '%s' must match %s, with https", u.Hostname(), codeCommitHost())
	}
	keys, err := c.AWS(ctx, id, AWSOptions{Region: m[2]})
	if err != nil {
		return GitLogin{}, time.Time{}, err
	}
	now := c.opts.Now().UTC()
	user := keys.AccessKey
	if keys.SessionToken != "" {
		user += "%" + keys.SessionToken
	}
	password := now.Format("20060102T150405") + "Z" + codeCommitSignature(keys.SecretKey, m[2], u.Hostname(), u.EscapedPath(), now)
	return GitLogin{Username: user, Password: password}, now.Add(codeCommitLife), nil
}

func codeCommitSignature(secret, region, host, path string, now time.Time) string {
	request := sha256.Sum256([]byte("GIT\n" + path + "\n\nhost:" + host + "\n\nhost\n"))
	date := now.Format("20060102")
	scope := date + "/" + region + "/codecommit/aws4_request"
	text := "AWS4-HMAC-SHA256\n" + now.Format("20060102T150405") + "\n" + scope + "\n" + hex.EncodeToString(request[:])
	key := []byte("AWS4" + secret)
	for _, part := range []string{date, region, "codecommit", "aws4_request", text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	return hex.EncodeToString(key)
}

var eksARN = pattern(`^arn:aws[a-z-]*:eks:([a-z0-9-]+):\d{12}:cluster/([0-9A-Za-z][A-Za-z0-9_-]{0,99})$`)

// eksToken is a signed request to STS that the cluster makes to see who signed it.
func (c *Clouds) eksToken(ctx context.Context, id Identity, region, name string) (string, time.Time, error) {
	keys, err := c.AWS(ctx, id, AWSOptions{Region: region})
	if err != nil {
		return "", time.Time{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"https://"+stsHost(region)+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=900", nil)
	if err != nil {
		return "", time.Time{}, err
	}
	req.Header.Set("x-k8s-aws-id", name)
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, keys.sdk(), req, emptyHash, "sts", region, c.opts.Now())
	if err != nil {
		return "", time.Time{}, err
	}
	// The signature is good for 15 minutes; what it was made with may end earlier.
	ends := c.opts.Now().Add(14 * time.Minute)
	if keys.Until.Before(ends) {
		ends = keys.Until
	}
	return "k8s-aws-v1." + base64.RawURLEncoding.EncodeToString([]byte(signed)), ends, nil
}

// eksCluster finds out where a cluster is.
func (c *Clouds) eksCluster(ctx context.Context, id Identity, region, name string) (addresses []string, ca []byte, err error) {
	keys, err := c.AWS(ctx, id, AWSOptions{Region: region})
	if err != nil {
		return nil, nil, err
	}
	const service = "Amazon EKS"
	answer, err := c.do(ctx, id, c.signed(ctx, keys, "eks", region, call{
		method: http.MethodGet, url: "https://eks." + region + "." + awsSuffix(region) + "/clusters/" + url.PathEscape(name), service: service,
	}))
	if err != nil {
		return nil, nil, err
	}
	var got struct {
		Cluster struct {
			Endpoint string `json:"endpoint"`
			CA       struct {
				Data []byte `json:"data"`
			} `json:"certificateAuthority"`
		} `json:"cluster"`
	}
	if err := decode(service, answer, &got); err != nil {
		return nil, nil, err
	}
	if got.Cluster.Endpoint == "" {
		return nil, nil, fmt.Errorf("%s: the cluster '%s' has no endpoint yet", service, name)
	}
	return []string{got.Cluster.Endpoint}, got.Cluster.CA.Data, nil
}
