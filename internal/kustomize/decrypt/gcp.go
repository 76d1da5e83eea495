package decrypt

//lint:file-ignore ST1005 these errors begin with names

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const gcpScope = "https://www.googleapis.com/auth/cloud-platform"

// parseGCP checks the entry sops.gcp-kms. Only the key of a service account is taken: other types of credentials let
// whoever writes them read files and start programs of the controller.
func parseGCP(content []byte) ([]byte, error) {
	var login struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(content, &login); err != nil {
		return nil, errors.New("it is no valid JSON")
	}
	if login.Type != "service_account" {
		return nil, fmt.Errorf("credentials of type '%s' are not supported: use the key of a service account (type 'service_account')", login.Type)
	}
	if _, err := google.JWTConfigFromJSON(content, gcpScope); err != nil {
		return nil, errors.New("the key of the service account is incomplete")
	}
	return content, nil
}

var gcpKey = regexp.MustCompile(`^projects/[^/?#]+/locations/[^/?#]+/keyRings/[^/?#]+/cryptoKeys/[^/?#]+$`)

// decryptGCP asks Google Cloud KMS (method cryptoKeys.decrypt of its REST API v1).
func (d *Decryptor) decryptGCP(ctx context.Context, resource string, sealed []byte) ([]byte, error) {
	if !gcpKey.MatchString(resource) {
		return nil, errors.New("this is no resource ID of a key (projects/P/locations/L/keyRings/R/cryptoKeys/K)")
	}
	token, err := d.gcpToken(ctx)
	if err != nil {
		return nil, err
	}
	var out struct {
		Plaintext       []byte `json:"plaintext"`
		PlaintextCRC32C string `json:"plaintextCrc32c"`
	}
	endpoint := "https://cloudkms.googleapis.com"
	if other := d.env("SOPS_GCP_KMS_ENDPOINT"); other != "" {
		endpoint = "https://" + strings.TrimPrefix(strings.TrimSuffix(other, ":443"), "https://")
	}
	in := map[string]string{"ciphertext": string(sealed)} // in base64 already
	if _, err := base64.StdEncoding.DecodeString(string(sealed)); err != nil {
		return nil, errors.New("the encrypted data key is not valid base64")
	}
	if err := d.post(ctx, "Google Cloud KMS", endpoint+"/v1/"+resource+":decrypt", http.Header{"Authorization": {"Bearer " + token}}, in, &out, nil); err != nil {
		return nil, err
	}
	sum := strconv.FormatUint(uint64(crc32.Checksum(out.Plaintext, crc32.MakeTable(crc32.Castagnoli))), 10)
	if out.PlaintextCRC32C != "" && out.PlaintextCRC32C != sum {
		return nil, errors.New("Google Cloud KMS: the answer was damaged on its way (CRC32C)")
	}
	return out.Plaintext, nil
}

func (d *Decryptor) gcpToken(ctx context.Context) (string, error) {
	if d.keys.gcp == nil {
		return d.workload.GCP(ctx)
	}
	login, err := google.JWTConfigFromJSON(d.keys.gcp, gcpScope)
	if err != nil {
		return "", fmt.Errorf("Secret '%s', entry '%s': the key of the service account is incomplete", d.keys.from, gcpEntry)
	}
	token, err := login.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, d.client)).Token()
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		return "", fmt.Errorf("Google refuses the login of Secret '%s', entry '%s': %s", d.keys.from, gcpEntry, refused.Response.Status)
	}
	if err != nil {
		return "", fmt.Errorf("Google could not be asked with the login of Secret '%s', entry '%s'; is its private_key complete?", d.keys.from, gcpEntry)
	}
	return token.AccessToken, nil
}
