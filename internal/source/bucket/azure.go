package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/gitops-toolkit/flux/internal/auth/cloud"
)

// Keys of the Secret of an Azure storage.
const (
	keyTenantID            = "tenantId"
	keyClientID            = "clientId"
	keyClientSecret        = "clientSecret"
	keyClientCertificate   = "clientCertificate"
	keyCertificatePassword = "clientCertificatePassword"
	keySendChain           = "clientCertificateSendChain"
	keyAuthorityHost       = "authorityHost"
	keyAccountKey          = "accountKey"
	keySAS                 = "sasKey"
)

// blobs is a container of Azure Blob Storage.
type blobs struct{ client *container.Client }

func openAzure(ctx context.Context, s settings) (storage, time.Time, error) {
	address, err := containerURL(s.obj.Spec.Endpoint, s.obj.Spec.BucketName)
	if err != nil {
		return nil, time.Time{}, err
	}
	options := &container.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: s.client, Retry: policy.RetryOptions{MaxRetries: 3, RetryDelay: time.Second, MaxRetryDelay: 10 * time.Second},
	}}
	client, until, err := azureClient(ctx, s, address, options)
	if err != nil {
		return nil, until, err
	}
	return &blobs{client}, until, nil
}

// azureClient chooses the proof of identity: what the Secret holds in the order of the tables, else workload identity,
// else none.
func azureClient(ctx context.Context, s settings, address string, options *container.ClientOptions) (client *container.Client, until time.Time, err error) {
	token, until, err := azureToken(ctx, s, options.ClientOptions)
	switch {
	case err != nil:
		return nil, until, err
	case token != nil && !strings.HasPrefix(address, "https://"):
		return nil, until, errors.New("spec.endpoint: an access token of Azure is sent over https only")
	case token != nil:
		client, err = container.NewClient(address, token, options)
		return client, until, err
	case s.secret == nil:
		client, err = container.NewClientWithNoCredential(address, options)
		return client, until, err
	}
	data := s.secret.Data
	if key := strings.TrimSpace(string(data[keyAccountKey])); key != "" {
		account, _, _ := strings.Cut(host(s.obj), ".")
		shared, err := container.NewSharedKeyCredential(account, key)
		if err != nil {
			return nil, until, fmt.Errorf("invalid '%s' secret data: '%s' is not base64", s.secret.Name, keyAccountKey)
		}
		client, err = container.NewClientWithSharedKeyCredential(address, shared, options)
		return client, until, err
	}
	if sas := strings.TrimPrefix(strings.TrimSpace(string(data[keySAS])), "?"); sas != "" {
		if address, err = withSAS(address, sas); err != nil {
			return nil, until, fmt.Errorf("invalid '%s' secret data: '%s' is not the query of a URL", s.secret.Name, keySAS)
		}
		client, err = container.NewClientWithNoCredential(address, options)
		return client, until, err
	}
	return nil, until, fmt.Errorf("invalid '%s' secret data: requires a '%s' or '%s' field, a combination of '%s', '%s' and '%s', or '%s', '%s' and '%s'",
		s.secret.Name, keySAS, keyAccountKey, keyTenantID, keyClientID, keyClientSecret, keyTenantID, keyClientID, keyClientCertificate)
}

// containerURL is the address of a container. The endpoint may have a query, such as a shared access signature.
func containerURL(endpoint, name string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", errors.New("spec.endpoint cannot be parsed")
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+"/"+name, ""
	return u.String(), nil
}

// withSAS adds a shared access signature to an address; its values win over those that are there.
func withSAS(address, sas string) (string, error) {
	more, err := url.ParseQuery(sas)
	if err != nil {
		return "", err
	}
	before, query, found := strings.Cut(address, "?")
	if !found {
		return before + "?" + sas, nil
	}
	merged, err := url.ParseQuery(query)
	if err != nil {
		return "", err
	}
	maps.Copy(merged, more)
	return before + "?" + merged.Encode(), nil
}

// azureToken returns what gets access tokens, nil if something else is to be used.
func azureToken(ctx context.Context, s settings, options policy.ClientOptions) (azcore.TokenCredential, time.Time, error) {
	var never time.Time
	if s.secret == nil {
		return azureIdentity(ctx, s)
	}
	get := func(key string) string { return strings.TrimSpace(string(s.secret.Data[key])) }
	if authority := get(keyAuthorityHost); authority != "" {
		options.Cloud = azcloud.Configuration{ActiveDirectoryAuthorityHost: authority}
	}
	tenant, client := get(keyTenantID), get(keyClientID)
	switch {
	case tenant != "" && client != "" && get(keyClientSecret) != "":
		t, err := azidentity.NewClientSecretCredential(tenant, client, get(keyClientSecret), &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
		return credential(t, err), never, invalid(s, err)
	case tenant != "" && client != "" && get(keyClientCertificate) != "":
		certs, key, err := azidentity.ParseCertificates(s.secret.Data[keyClientCertificate], s.secret.Data[keyCertificatePassword])
		if err != nil {
			return nil, never, fmt.Errorf("invalid '%s' secret data: '%s' cannot be read; check '%s'", s.secret.Name, keyClientCertificate, keyCertificatePassword)
		}
		t, err := azidentity.NewClientCertificateCredential(tenant, client, certs, key, &azidentity.ClientCertificateCredentialOptions{
			ClientOptions: options, SendCertificateChain: get(keySendChain) == "1" || strings.EqualFold(get(keySendChain), "true"),
		})
		return credential(t, err), never, invalid(s, err)
	case client != "":
		return tokenSource(func(ctx context.Context) (cloud.Token, error) {
			return s.clouds.AzureManaged(ctx, client, cloud.AzureStorage)
		}), never, nil
	}
	return nil, never, nil
}

// credential keeps a nil pointer out of the interface.
func credential[T azcore.TokenCredential](t T, err error) azcore.TokenCredential {
	if err != nil {
		return nil
	}
	return t
}

func invalid(s settings, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("invalid '%s' secret data: %w", s.secret.Name, err)
}

// azureIdentity is workload identity. That of a ServiceAccount must work; without one the bucket may be public.
func azureIdentity(ctx context.Context, s settings) (azcore.TokenCredential, time.Time, error) {
	var never time.Time
	if !ownedBy(host(s.obj), ".blob.core.windows.net", ".blob.storage.azure.net", ".blob.core.chinacloudapi.cn", ".blob.core.usgovcloudapi.net", ".blob.core.cloudapi.de") {
		if s.id.Account == nil {
			return nil, never, nil
		}
		return nil, never, fmt.Errorf("spec.endpoint: the identity at azure is not shown to '%s', which is not a host of Azure", host(s.obj))
	}
	source := tokenSource(func(ctx context.Context) (cloud.Token, error) { return s.clouds.Azure(ctx, s.id, cloud.AzureStorage) })
	_, err := source(ctx)
	switch {
	case err == nil:
		return source, never, nil
	case s.id.Account == nil && errors.Is(err, cloud.ErrNoIdentity):
		return nil, time.Now().Add(anonymousFor), nil
	}
	return nil, never, fmt.Errorf("failed to get credentials from azure: %w", err)
}

// anonymousFor is how long the absence of an identity is believed.
const anonymousFor = 10 * time.Minute

// tokenSource is a way to access tokens, as the SDK wants it.
type tokenSource func(ctx context.Context) (cloud.Token, error)

// GetToken implements azcore.TokenCredential.
func (t tokenSource) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := t(ctx)
	return azcore.AccessToken{Token: token.Value, ExpiresOn: token.Until}, err
}

func (b *blobs) list(ctx context.Context, prefix string, visit func(object) error) error {
	options := &container.ListBlobsFlatOptions{}
	if prefix != "" {
		options.Prefix = &prefix
	}
	for pager := b.client.NewListBlobsFlatPager(options); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return azureError(err)
		}
		for _, item := range page.Segment.BlobItems {
			if item.Name == nil || item.Properties == nil || item.Properties.ETag == nil {
				continue
			}
			o := object{Key: *item.Name, ETag: strings.Trim(string(*item.Properties.ETag), `"`)}
			if n := item.Properties.ContentLength; n != nil {
				o.Size = *n
			}
			if err := visit(o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *blobs) open(ctx context.Context, o object) (io.ReadCloser, string, error) {
	resp, err := b.client.NewBlobClient(o.Key).DownloadStream(ctx, nil)
	if err != nil {
		return nil, "", azureError(err)
	}
	if resp.ETag == nil {
		return nil, "", errors.Join(errors.New("the storage answers without an ETag"), resp.Body.Close())
	}
	return resp.Body, strings.Trim(string(*resp.ETag), `"`), nil
}

// azureError names the errors that callers tell apart; the SDK's own text fills a screen.
func azureError(err error) error {
	var refused *azidentity.AuthenticationFailedError
	if errors.As(err, &refused) {
		return &deniedError{fmt.Errorf("%s refuses the credentials: %s", "Microsoft Entra ID", entraSays(refused.RawResponse))}
	}
	var said *azcore.ResponseError
	if !errors.As(err, &said) {
		return err
	}
	short := fmt.Errorf("the storage answers %d %s", said.StatusCode, said.ErrorCode)
	switch {
	case bloberror.HasCode(err, bloberror.ContainerNotFound):
		return errNoBucket
	case bloberror.HasCode(err, bloberror.BlobNotFound):
		return errGone
	case said.StatusCode == http.StatusUnauthorized || said.StatusCode == http.StatusForbidden:
		return &deniedError{short}
	}
	return short
}

// entraSays is the reason that Entra ID gives, without what is another each time.
func entraSays(resp *http.Response) string {
	if resp == nil {
		return "no answer"
	}
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&said) != nil || said.Code == "" {
		return resp.Status
	}
	text, _, _ := strings.Cut(said.Description, "Trace ID:")
	return said.Code + ": " + strings.TrimSpace(text)
}
