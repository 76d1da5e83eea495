package decrypt

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/getsops/sops/v3/keyservice"
	sigsyaml "sigs.k8s.io/yaml"
)

// AWSCredentials sign requests to AWS.
type AWSCredentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }

// awsLogin is the entry sops.aws-kms.
type awsLogin struct {
	AccessKeyID     string `json:"aws_access_key_id"`
	SecretAccessKey string `json:"aws_secret_access_key"`
	SessionToken    string `json:"aws_session_token"`
}

func parseAWS(content []byte) (*awsLogin, error) {
	login := &awsLogin{}
	if err := sigsyaml.Unmarshal(content, login); err != nil {
		return nil, errors.New("it is no valid YAML")
	}
	if login.AccessKeyID == "" || login.SecretAccessKey == "" {
		return nil, errors.New("aws_access_key_id and aws_secret_access_key are both needed")
	}
	return login, nil
}

// awsARN is a KMS key or alias: partition and region.
var awsARN = regexp.MustCompile(`^arn:(aws[a-zA-Z-]*):kms:([a-z]{2}[a-z0-9-]*-\d):\d{12}:(?:key|alias)/.+$`)

// awsDomains are the domains of the partitions that have one of their own.
var awsDomains = map[string]string{
	"aws-cn": "amazonaws.com.cn", "aws-iso": "c2s.ic.gov", "aws-iso-b": "sc2s.sgov.gov", "aws-eusc": "amazonaws.eu",
}

// awsPlace is where a key lives.
type awsPlace struct{ region, domain string }

// endpoint is that of a service, unless the environment names another one as for AWS's own SDKs.
func (p awsPlace) endpoint(d *Decryptor, service string) string {
	if other := d.env("AWS_ENDPOINT_URL_" + strings.ToUpper(service)); other != "" {
		return strings.TrimSuffix(other, "/") + "/"
	}
	return fmt.Sprintf("https://%s.%s.%s/", service, p.region, p.domain)
}

// decryptAWS asks AWS KMS (action TrentService.Decrypt of its JSON 1.1 protocol).
func (d *Decryptor) decryptAWS(ctx context.Context, key *keyservice.KmsKey, sealed []byte) ([]byte, error) {
	arn := awsARN.FindStringSubmatch(strings.ReplaceAll(key.Arn, " ", ""))
	if arn == nil {
		return nil, errors.New("this is no ARN of a KMS key or alias")
	}
	place := awsPlace{region: arn[2], domain: "amazonaws.com"}
	if domain := awsDomains[arn[1]]; domain != "" {
		place.domain = domain
	}
	blob, err := base64.StdEncoding.DecodeString(string(sealed))
	if err != nil {
		return nil, errors.New("the encrypted data key is not valid base64")
	}
	credentials, err := d.awsCredentials(ctx, place, key.Role)
	if err != nil {
		return nil, err
	}
	in := map[string]any{"CiphertextBlob": blob, "KeyId": key.Arn}
	if len(key.Context) > 0 {
		in["EncryptionContext"] = key.Context
	}
	header := http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {"TrentService.Decrypt"}}
	var out struct{ Plaintext []byte }
	err = d.post(ctx, "AWS KMS", place.endpoint(d, "kms"), header, in, &out, func(req *http.Request, body []byte) error {
		return signAWS(ctx, req, body, credentials, "kms", place.region)
	})
	return out.Plaintext, err
}

func (d *Decryptor) awsCredentials(ctx context.Context, place awsPlace, role string) (c AWSCredentials, err error) {
	if d.keys.aws != nil {
		c = AWSCredentials(*d.keys.aws)
	} else if c, err = d.workload.AWS(ctx, place.region); err != nil {
		return c, err
	}
	if role == "" {
		return c, nil
	}
	return d.assumeRole(ctx, place, c, role)
}

// assumeRole asks STS for the role that the file names.
func (d *Decryptor) assumeRole(ctx context.Context, place awsPlace, c AWSCredentials, role string) (AWSCredentials, error) {
	body := []byte(url.Values{
		"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {role}, "RoleSessionName": {"sops@flux"},
	}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, place.endpoint(d, "sts"), strings.NewReader(string(body)))
	if err != nil {
		return c, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := signAWS(ctx, req, body, c, "sts", place.region); err != nil {
		return c, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return c, fmt.Errorf("AWS STS cannot be reached at %s", req.URL.Host)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	var out struct {
		Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken string } `xml:"AssumeRoleResult>Credentials"`
		Code        string                                                      `xml:"Error>Code"`
	}
	if err != nil || xml.Unmarshal(answer, &out) != nil || resp.StatusCode != http.StatusOK || out.Credentials.AccessKeyId == "" {
		return c, fmt.Errorf("failed to assume role '%s': AWS STS answers %d %s", role, resp.StatusCode, out.Code)
	}
	return AWSCredentials{out.Credentials.AccessKeyId, out.Credentials.SecretAccessKey, out.Credentials.SessionToken}, nil
}

func signAWS(ctx context.Context, req *http.Request, body []byte, c AWSCredentials, service, region string) error {
	sum := sha256.Sum256(body)
	return v4.NewSigner().SignHTTP(ctx, aws.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
	}, req, hex.EncodeToString(sum[:]), service, region, time.Now())
}
