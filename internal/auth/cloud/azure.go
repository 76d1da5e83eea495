package cloud

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// Resources of Azure that tokens are for, by the scope of their own name with /.default.
const (
	azureDevOps  = "499b84ac-1321-427f-aa17-267ca6975798"
	azureAKS     = "6dae42f8-4368-4678-94ff-3960e28e3630"
	AzureStorage = "https://storage.azure.com"
)

// audienceAzure is for whom tokens for Microsoft Entra ID are.
const audienceAzure = "api://AzureADTokenExchange"

const defaultAuthority = "https://login.microsoftonline.com"

var guid = pattern(`^[0-9A-Fa-f-]{36}$`)

// Azure returns an access token for a resource, such as AzureStorage.
func (c *Clouds) Azure(ctx context.Context, id Identity, resource string) (Token, error) {
	value, until, err := kept(ctx, c, "azure/"+id.key()+"/"+resource, func(ctx context.Context) (string, time.Time, error) {
		return c.azureToken(ctx, id, resource)
	})
	return Token{Value: value, Until: until}, err
}

func (c *Clouds) azureToken(ctx context.Context, id Identity, resource string) (string, time.Time, error) {
	env := c.opts.Getenv
	a := id.Account
	if a == nil {
		return c.azureOwn(ctx, id, resource)
	}
	client, tenant := a.Annotations[annotationClientID], cmp.Or(a.Annotations[annotationTenantID], env("AZURE_TENANT_ID"))
	if !guid().MatchString(client) {
		return "", time.Time{}, fmt.Errorf("invalid annotation '%s' of the service account '%s': '%s' is not a client id", annotationClientID, a, client)
	}
	if !guid().MatchString(tenant) {
		return "", time.Time{}, fmt.Errorf("the service account '%s' needs the annotation '%s' with a tenant id, or the controller AZURE_TENANT_ID", a, annotationTenantID)
	}
	assertion, err := c.mint(ctx, a, audienceAzure)
	if err != nil {
		return "", time.Time{}, err
	}
	return c.azureAssert(ctx, id, tenant, client, resource, assertion)
}

// azureOwn is the controller's own identity: client secret or federated token of the environment, else the managed
// identity of the node.
func (c *Clouds) azureOwn(ctx context.Context, id Identity, resource string) (string, time.Time, error) {
	env := c.opts.Getenv
	tenant, client := env("AZURE_TENANT_ID"), env("AZURE_CLIENT_ID")
	if tenant != "" && client != "" {
		if secret := env("AZURE_CLIENT_SECRET"); secret != "" {
			return c.azureGrant(ctx, id, tenant, client, resource, url.Values{"client_secret": {secret}})
		}
		if file := env("AZURE_FEDERATED_TOKEN_FILE"); file != "" {
			assertion, err := os.ReadFile(file)
			if err != nil {
				return "", time.Time{}, fmt.Errorf("AZURE_FEDERATED_TOKEN_FILE: %w", err)
			}
			return c.azureAssert(ctx, id, tenant, client, resource, strings.TrimSpace(string(assertion)))
		}
	}
	return c.azureManaged(ctx, client, resource)
}

func (c *Clouds) azureAssert(ctx context.Context, id Identity, tenant, client, resource, assertion string) (string, time.Time, error) {
	return c.azureGrant(ctx, id, tenant, client, resource, url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	})
}

// azureGrant is the client credentials grant.
func (c *Clouds) azureGrant(ctx context.Context, id Identity, tenant, client, resource string, proof url.Values) (string, time.Time, error) {
	const service = "Microsoft Entra ID"
	proof.Set("grant_type", "client_credentials")
	proof.Set("client_id", client)
	proof.Set("scope", strings.TrimSuffix(resource, "/")+"/.default")
	body, header := form(proof)
	authority := strings.TrimSuffix(cmp.Or(c.opts.Getenv("AZURE_AUTHORITY_HOST"), defaultAuthority), "/")
	answer, err := c.do(ctx, id, call{
		method: http.MethodPost, url: authority + "/" + url.PathEscape(tenant) + "/oauth2/v2.0/token", header: header, body: body, service: service,
	})
	if err != nil {
		return "", time.Time{}, err
	}
	return c.readOAuth(service, answer)
}

// azureManaged asks the metadata service of the node.
func (c *Clouds) azureManaged(ctx context.Context, client, resource string) (string, time.Time, error) {
	const service = "the Azure instance metadata service"
	q := url.Values{"api-version": {"2018-02-01"}, "resource": {resource}}
	if client != "" {
		q.Set("client_id", client)
	}
	answer, err := c.do(ctx, Identity{}, call{
		method: http.MethodGet, url: "http://169.254.169.254/metadata/identity/oauth2/token?" + q.Encode(),
		header: http.Header{"Metadata": {"true"}}, service: service, local: true,
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("azure: %w: %w", ErrNoIdentity, err)
	}
	return c.readOAuth(service, answer)
}

// AzureManaged returns a token of a managed identity of the node, by its client id.
func (c *Clouds) AzureManaged(ctx context.Context, client, resource string) (Token, error) {
	value, until, err := kept(ctx, c, "azure/managed/"+client+"/"+resource, func(ctx context.Context) (string, time.Time, error) {
		return c.azureManaged(ctx, client, resource)
	})
	return Token{Value: value, Until: until}, err
}

// readOAuth reads the answer of a token endpoint. Azure's metadata service puts the number in quotes.
func (c *Clouds) readOAuth(service string, answer []byte) (string, time.Time, error) {
	var got struct {
		Token   string          `json:"access_token"`
		Expires json.RawMessage `json:"expires_in"`
	}
	if err := decode(service, answer, &got); err != nil {
		return "", time.Time{}, err
	}
	if got.Token == "" {
		return "", time.Time{}, fmt.Errorf("%s: the answer holds no token", service)
	}
	life, err := time.ParseDuration(strings.Trim(string(got.Expires), `"`) + "s")
	if err != nil || life <= 0 {
		life = 5 * time.Minute
	}
	return got.Token, c.opts.Now().Add(life), nil
}

// azureEnvironment is the part of the file of AZURE_ENVIRONMENT_FILEPATH (Azure Stack) that matters here.
type azureEnvironment struct {
	ResourceManager string `json:"resourceManagerEndpoint"`
	RegistrySuffix  string `json:"containerRegistryDNSSuffix"`
}

func (c *Clouds) azureEnvironment() (e azureEnvironment, err error) {
	file := c.opts.Getenv("AZURE_ENVIRONMENT_FILEPATH")
	if file == "" {
		return e, nil
	}
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err != nil {
		return e, fmt.Errorf("AZURE_ENVIRONMENT_FILEPATH: %w", err)
	}
	return e, nil
}

var acrHost = pattern(`^[a-z0-9-]+(\.[a-z0-9-]+)?\.azurecr\.(io|cn|de|us)$`)

// resourceManagers by the last label of the registries of their cloud.
var resourceManagers = map[string]string{
	"io": "https://management.azure.com", "cn": "https://management.chinacloudapi.cn",
	"de": "https://management.microsoftazure.de", "us": "https://management.usgovcloudapi.net",
}

// acrLife is how long a refresh token of ACR is used at most; it is good for three hours.
const acrLife = 2 * time.Hour

// managerOf is the resource manager whose tokens open a registry; a host that is no registry of Azure is an error.
func (c *Clouds) managerOf(host string) (string, error) {
	env, err := c.azureEnvironment()
	if err != nil {
		return "", err
	}
	if env.RegistrySuffix != "" && strings.HasSuffix(host, "."+strings.TrimPrefix(env.RegistrySuffix, ".")) {
		return env.ResourceManager, nil
	}
	m := acrHost().FindStringSubmatch(host)
	if m == nil {
		return "", fmt.Errorf("invalid Azure registry: '%s'. must match %s", host, acrHost())
	}
	return cmp.Or(env.ResourceManager, resourceManagers[m[2]]), nil
}

// azureRegistry exchanges an access token of Azure for a refresh token of the registry.
func (c *Clouds) azureRegistry(ctx context.Context, id Identity, host string) (auth.Login, time.Time, error) {
	manager, err := c.managerOf(host)
	if err != nil {
		return auth.Login{}, time.Time{}, err
	}
	token, err := c.Azure(ctx, id, manager)
	if err != nil {
		return auth.Login{}, time.Time{}, err
	}
	const service = "Azure Container Registry"
	body, header := form(url.Values{"grant_type": {"access_token"}, "service": {host}, "access_token": {token.Value}})
	answer, err := c.do(ctx, id, call{method: http.MethodPost, url: "https://" + host + "/oauth2/exchange", header: header, body: body, service: service})
	if err != nil {
		return auth.Login{}, time.Time{}, err
	}
	var got struct {
		Token string `json:"refresh_token"`
	}
	if err := decode(service, answer, &got); err != nil {
		return auth.Login{}, time.Time{}, err
	}
	if got.Token == "" {
		return auth.Login{}, time.Time{}, fmt.Errorf("%s: the answer holds no token", service)
	}
	return auth.Login{Username: "00000000-0000-0000-0000-000000000000", Password: got.Token}, c.opts.Now().Add(acrLife), nil
}

var aksCluster = pattern(`^/subscriptions/[^/?#]{36}/resource[gG]roups/[^/?#]{1,200}/providers/Microsoft\.ContainerService/managedClusters/[^/?#]{1,100}$`)

// aksDescribe reads the addresses of a cluster, and its authority, from the kubeconfigs that Azure makes for its users.
func (c *Clouds) aksDescribe(ctx context.Context, id Identity, cluster string) (addresses []string, ca []byte, err error) {
	const service = "Azure Resource Manager"
	env, err := c.azureEnvironment()
	if err != nil {
		return nil, nil, err
	}
	manager := strings.TrimSuffix(cmp.Or(env.ResourceManager, c.azureManager()), "/")
	token, err := c.Azure(ctx, id, manager)
	if err != nil {
		return nil, nil, err
	}
	answer, err := c.do(ctx, id, call{
		method: http.MethodPost, url: manager + cluster + "/listClusterUserCredential?api-version=2025-05-01",
		header: http.Header{"Authorization": {"Bearer " + token.Value}}, service: service,
	})
	if err != nil {
		return nil, nil, err
	}
	var got struct {
		Kubeconfigs []struct {
			Value string `json:"value"`
		} `json:"kubeconfigs"`
	}
	if err := decode(service, answer, &got); err != nil {
		return nil, nil, err
	}
	for _, k := range got.Kubeconfigs {
		text, err := base64.StdEncoding.DecodeString(k.Value)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: a kubeconfig is not base64", service)
		}
		var file struct {
			Clusters []struct {
				Cluster struct {
					Server string `json:"server"`
					CA     []byte `json:"certificate-authority-data"`
				} `json:"cluster"`
			} `json:"clusters"`
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			return nil, nil, fmt.Errorf("%s: a kubeconfig is not YAML", service)
		}
		for _, one := range file.Clusters {
			addresses = append(addresses, one.Cluster.Server)
			ca = one.Cluster.CA
		}
	}
	if len(addresses) == 0 {
		return nil, nil, fmt.Errorf("%s: the cluster has no kubeconfig", service)
	}
	return addresses, ca, nil
}

// azureManager is the resource manager of the cloud that the authority belongs to.
func (c *Clouds) azureManager() string {
	switch host := c.opts.Getenv("AZURE_AUTHORITY_HOST"); {
	case strings.Contains(host, "chinacloudapi.cn") || strings.Contains(host, "partner.microsoftonline.cn"):
		return resourceManagers["cn"]
	case strings.Contains(host, "microsoftonline.us"):
		return resourceManagers["us"]
	}
	return resourceManagers["io"]
}
