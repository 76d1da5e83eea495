package decrypt

//lint:file-ignore ST1005 these errors begin with names

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf16"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azurecloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/getsops/sops/v3/keyservice"
	sigsyaml "sigs.k8s.io/yaml"
)

// azureLogin is the entry sops.azure-kv. AppID, Tenant and Password are how the command az writes a service principal.
type azureLogin struct {
	TenantID                   string `json:"tenantId"`
	ClientID                   string `json:"clientId"`
	ClientSecret               string `json:"clientSecret"`
	ClientCertificate          string `json:"clientCertificate"`
	ClientCertificatePassword  string `json:"clientCertificatePassword"`
	ClientCertificateSendChain bool   `json:"clientCertificateSendChain"`
	AuthorityHost              string `json:"authorityHost"`
	AppID                      string `json:"appId"`
	Tenant                     string `json:"tenant"`
	Password                   string `json:"password"`
}

func parseAzure(content []byte) (*azureLogin, error) {
	login := &azureLogin{}
	if err := sigsyaml.Unmarshal(withoutBOM(content), login); err != nil {
		return nil, errors.New("it is neither valid JSON nor valid YAML")
	}
	switch {
	case login.TenantID != "" && login.ClientID != "" && (login.ClientSecret != "" || login.ClientCertificate != ""):
	case login.AppID != "" && login.Tenant != "" && login.Password != "":
		login.TenantID, login.ClientID, login.ClientSecret = login.Tenant, login.AppID, login.Password
	case login.ClientID != "":
	default:
		return nil, errors.New("it needs tenantId, clientId and clientSecret or clientCertificate; or appId, tenant and password; or clientId alone for a managed identity")
	}
	return login, nil
}

// withoutBOM returns UTF-8: PowerShell writes UTF-16 with a byte order mark.
func withoutBOM(content []byte) []byte {
	switch {
	case bytes.HasPrefix(content, []byte{0xEF, 0xBB, 0xBF}):
		return content[3:]
	case bytes.HasPrefix(content, []byte{0xFF, 0xFE}):
		return fromUTF16(content[2:], 0)
	case bytes.HasPrefix(content, []byte{0xFE, 0xFF}):
		return fromUTF16(content[2:], 1)
	}
	return content
}

// fromUTF16 decodes pairs of bytes of which the one at index low is the lower.
func fromUTF16(content []byte, low int) []byte {
	var units []uint16
	for i := 0; i+1 < len(content); i += 2 {
		units = append(units, uint16(content[i+low])|uint16(content[i+1-low])<<8)
	}
	return []byte(string(utf16.Decode(units)))
}

// credential returns the login at Microsoft Entra ID.
func (l *azureLogin) credential(o azcore.ClientOptions) (azcore.TokenCredential, error) {
	if l.AuthorityHost != "" {
		o.Cloud = azurecloud.Configuration{ActiveDirectoryAuthorityHost: l.AuthorityHost}
	}
	switch {
	case l.TenantID != "" && l.ClientSecret != "":
		return azidentity.NewClientSecretCredential(l.TenantID, l.ClientID, l.ClientSecret, &azidentity.ClientSecretCredentialOptions{ClientOptions: o})
	case l.TenantID != "" && l.ClientCertificate != "":
		certificates, key, err := azidentity.ParseCertificates([]byte(l.ClientCertificate), []byte(l.ClientCertificatePassword))
		if err != nil {
			return nil, errors.New("clientCertificate holds no certificate with its private key in PEM, or clientCertificatePassword is wrong")
		}
		return azidentity.NewClientCertificateCredential(l.TenantID, l.ClientID, certificates, key, &azidentity.ClientCertificateCredentialOptions{
			ClientOptions: o, SendCertificateChain: l.ClientCertificateSendChain,
		})
	}
	return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o, ID: azidentity.ClientID(l.ClientID)})
}

// azureDomains are those of Key Vault and Managed HSM in all of Azure's clouds. A token goes nowhere else.
var azureDomains = []string{
	"vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net", "vault.microsoftazure.de",
	"managedhsm.azure.net", "managedhsm.azure.cn", "managedhsm.usgovcloudapi.net",
}

// azureScope returns what a token for a vault is asked for.
func azureScope(vault *url.URL) (string, error) {
	for _, domain := range azureDomains {
		if strings.HasSuffix(vault.Hostname(), "."+domain) && vault.Scheme == "https" && vault.User == nil {
			return "https://" + domain + "/.default", nil
		}
	}
	return "", errors.New("this is no address of a vault: it must be https://NAME.vault.azure.net or that of another of Azure's clouds")
}

// decryptAzure asks Azure Key Vault (operation decrypt of its REST API 7.4, RSA-OAEP-256).
func (d *Decryptor) decryptAzure(ctx context.Context, key *keyservice.AzureKeyVaultKey, sealed []byte) ([]byte, error) {
	vault, err := url.Parse(key.VaultUrl)
	if err != nil {
		return nil, errors.New("the address of the vault is not valid")
	}
	scope, err := azureScope(vault)
	if err != nil {
		return nil, err
	}
	value, err := base64.RawURLEncoding.DecodeString(string(sealed))
	if err != nil {
		return nil, errors.New("the encrypted data key is not valid base64")
	}
	token, err := d.azureToken(ctx, scope)
	if err != nil {
		return nil, err
	}
	address := vault.JoinPath("keys", key.Name, key.Version, "decrypt").String() + "?api-version=7.4"
	in := map[string]string{"alg": "RSA-OAEP-256", "value": base64.RawURLEncoding.EncodeToString(value)}
	var out struct{ Value string }
	if err := d.post(ctx, "Azure Key Vault", address, http.Header{"Authorization": {"Bearer " + token}}, in, &out, nil); err != nil {
		return nil, err
	}
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(out.Value, "="))
}

func (d *Decryptor) azureToken(ctx context.Context, scope string) (string, error) {
	if d.keys.azure == nil {
		return d.workload.Azure(ctx, scope)
	}
	credential, err := d.keys.azure.credential(azcore.ClientOptions{Transport: d.client, Retry: policy.RetryOptions{MaxRetries: 2}})
	if err != nil {
		return "", fmt.Errorf("Secret '%s', entry '%s': %w", d.keys.from, azureEntry, err)
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
	var refused *azidentity.AuthenticationFailedError
	if errors.As(err, &refused) && refused.RawResponse != nil {
		return "", fmt.Errorf("Microsoft Entra ID refuses the login of Secret '%s', entry '%s': %s", d.keys.from, azureEntry, refused.RawResponse.Status)
	}
	if err != nil {
		return "", fmt.Errorf("Microsoft Entra ID could not be asked with the login of Secret '%s', entry '%s'", d.keys.from, azureEntry)
	}
	return token.Token, nil
}
