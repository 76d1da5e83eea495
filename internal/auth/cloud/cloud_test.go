package cloud_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/cloud/cloudtest"
)

var account = cloud.Identity{Account: &cloud.Account{Namespace: "apps", Name: "sync", UID: "u", Annotations: map[string]string{
	"eks.amazonaws.com/role-arn":                    "arn:aws:iam::123456789012:role/sync",
	"azure.workload.identity/client-id":             cloudtest.ClientID,
	"azure.workload.identity/tenant-id":             cloudtest.TenantID,
	"iam.gke.io/gcp-service-account":                "flux@proj.iam.gserviceaccount.com",
	"gcp.auth.fluxcd.io/workload-identity-provider": cloudtest.Pool,
}}}

// annotated is the account with another annotation.
func annotated(name, value string) cloud.Identity {
	a := *account.Account
	a.Annotations = map[string]string{}
	for k, v := range account.Account.Annotations {
		a.Annotations[k] = v
	}
	a.Annotations[name] = value
	return cloud.Identity{Account: &a}
}

func newClouds(env map[string]string) (*cloud.Clouds, *cloudtest.Clouds) {
	fake := &cloudtest.Clouds{}
	return cloud.New(cloud.Options{
		Transport: fake, Getenv: func(name string) string { return env[name] },
		Mint: func(_ context.Context, namespace, name string, audiences []string) (string, time.Time, error) {
			return cloudtest.Token("system:serviceaccount:"+namespace+":"+name, audiences...), time.Now().Add(time.Hour), nil
		},
	}), fake
}

func TestRegistries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason, provider, host string
		id                     cloud.Identity
		env                    map[string]string
		want                   auth.Login
		err                    string
	}{
		{"ECR as an account", "aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com", account, nil, auth.Login{Username: "AWS", Password: "canary-ecr-password"}, ""},
		{"ECR as the node", "aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com", cloud.Identity{}, nil, auth.Login{Username: "AWS", Password: "canary-ecr-password"}, ""},
		{"public ECR", "aws", "public.ecr.aws", account, nil, auth.Login{Username: "AWS", Password: "canary-ecr-password"}, ""},
		{"ACR as an account", "azure", "apps.azurecr.io", account, nil, auth.Login{Username: "00000000-0000-0000-0000-000000000000", Password: "canary-acr-refresh-token"}, ""},
		{"ACR with the tenant of the environment", "azure", "apps.azurecr.io", annotated("azure.workload.identity/tenant-id", ""), map[string]string{"AZURE_TENANT_ID": cloudtest.TenantID}, auth.Login{Username: "00000000-0000-0000-0000-000000000000", Password: "canary-acr-refresh-token"}, ""},
		{"GAR as an account", "gcp", "europe-docker.pkg.dev", account, nil, auth.Login{Username: "oauth2accesstoken", Password: cloudtest.GoogleToken}, ""},
		{"GAR directly, from GKE", "gcp", "gcr.io", cloud.Identity{Account: &cloud.Account{Namespace: "apps", Name: "sync"}}, nil, auth.Login{Username: "oauth2accesstoken", Password: cloudtest.Federated}, ""},
		{"GAR as the node", "gcp", "eu.gcr.io", cloud.Identity{}, nil, auth.Login{Username: "oauth2accesstoken", Password: cloudtest.GoogleToken}, ""},
		{"an identity is shown to no other host", "aws", "ghcr.io", account, nil, auth.Login{}, "invalid AWS registry: 'ghcr.io'. must match"},
		{"nor to one that looks like it", "azure", "apps.azurecr.io.evil.com", account, nil, auth.Login{}, "invalid Azure registry"},
		{"nor to one that begins like it", "gcp", "gcr.io.evil.com", account, nil, auth.Login{}, "invalid GCP registry"},
		{"a cloud that is none", "ibm", "x", account, nil, auth.Login{}, "unknown cloud provider 'ibm'"},
		{"a role that is none", "aws", "public.ecr.aws", annotated("eks.amazonaws.com/role-arn", "sync"), nil, auth.Login{}, "invalid annotation 'eks.amazonaws.com/role-arn' of the service account 'apps/sync'"},
		{"a role that is not given", "aws", "public.ecr.aws", annotated("eks.amazonaws.com/role-arn", "arn:aws:iam::123456789012:role/forbidden"), nil, auth.Login{}, "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		{"a client that is unknown", "azure", "apps.azurecr.io", annotated("azure.workload.identity/client-id", cloudtest.TenantID), nil, auth.Login{}, "invalid_client: AADSTS700213: No matching federated identity record found."},
		{"a client that is none", "azure", "apps.azurecr.io", annotated("azure.workload.identity/client-id", "me"), nil, auth.Login{}, "is not a client id"},
		{"a Google account that is another's", "gcp", "gcr.io", annotated("iam.gke.io/gcp-service-account", "x@proj.iam.gserviceaccount.com"), nil, auth.Login{}, "PERMISSION_DENIED"},
		{"a pool that is none", "gcp", "gcr.io", annotated("gcp.auth.fluxcd.io/workload-identity-provider", "pool"), nil, auth.Login{}, "does not match"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			clouds, fake := newClouds(tt.env)
			login, until, err := clouds.Registry(context.Background(), tt.provider, tt.id, tt.host)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				if strings.Contains(err.Error(), "Trace ID") || strings.Contains(err.Error(), "canary") {
					t.Errorf("the error tells too much: %v", err)
				}
				return
			}
			if err != nil || login != tt.want || !until.After(time.Now()) {
				t.Fatalf("%+v until %s, %v; requests %v", login, until, err, fake.Seen())
			}
			n := len(fake.Seen())
			if _, _, err := clouds.Registry(context.Background(), tt.provider, tt.id, tt.host); err != nil || len(fake.Seen()) != n {
				t.Errorf("the login was not kept: %v, %v", err, fake.Seen()[n:])
			}
		})
	}
}

func TestTheAccountIsTheSubject(t *testing.T) {
	t.Parallel()
	clouds, fake := newClouds(nil)
	if _, err := clouds.AWS(context.Background(), account, cloud.AWSOptions{Region: "eu-west-1"}); err != nil {
		t.Fatal(err)
	}
	if got := fake.Subject("sts.amazonaws.com"); got != "system:serviceaccount:apps:sync" {
		t.Errorf("the token was issued to %q", got)
	}
	// Two accounts never share what is kept.
	other := *account.Account
	other.Name = "other"
	n := len(fake.Seen())
	if _, err := clouds.AWS(context.Background(), cloud.Identity{Account: &other}, cloud.AWSOptions{Region: "eu-west-1"}); err != nil || len(fake.Seen()) == n {
		t.Errorf("another account got what was kept for the first: %v", err)
	}
}

func TestOwnIdentities(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ctx := context.Background()
	aws := map[string]map[string]string{
		"environment":  {"AWS_ACCESS_KEY_ID": cloudtest.AccessKey, "AWS_SECRET_ACCESS_KEY": cloudtest.SecretKey, "AWS_SESSION_TOKEN": cloudtest.SessionToken},
		"IRSA":         {"AWS_WEB_IDENTITY_TOKEN_FILE": file("irsa", cloudtest.Token("x", "sts.amazonaws.com")), "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/flux", "AWS_REGION": "eu-west-1"},
		"pod identity": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": file("pod", "pod-token\n")},
		"node":         {},
	}
	for reason, env := range aws {
		clouds, _ := newClouds(env)
		keys, err := clouds.AWS(ctx, cloud.Identity{}, cloud.AWSOptions{})
		if err != nil || keys.AccessKey != cloudtest.AccessKey || keys.SecretKey != cloudtest.SecretKey || keys.SessionToken != cloudtest.SessionToken {
			t.Errorf("AWS, %s: %v", reason, err)
		}
	}
	clouds, _ := newClouds(map[string]string{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example.com/"})
	if _, err := clouds.AWS(ctx, cloud.Identity{}, cloud.AWSOptions{}); err == nil || !strings.Contains(err.Error(), "is not asked over plain HTTP") {
		t.Errorf("a container service at any host: %v", err)
	}
	clouds, _ = newClouds(map[string]string{"AWS_EC2_METADATA_DISABLED": "true"})
	if _, err := clouds.AWS(ctx, cloud.Identity{}, cloud.AWSOptions{}); !errors.Is(err, cloud.ErrNoIdentity) {
		t.Errorf("no identity: %v", err)
	}
	own := map[string]string{"AZURE_TENANT_ID": cloudtest.TenantID, "AZURE_CLIENT_ID": cloudtest.ClientID}
	with := func(name, value string) map[string]string {
		return map[string]string{"AZURE_TENANT_ID": own["AZURE_TENANT_ID"], "AZURE_CLIENT_ID": own["AZURE_CLIENT_ID"], name: value}
	}
	for want, env := range map[string]map[string]string{
		cloudtest.AzureToken + "/https://storage.azure.com/.default":              with("AZURE_FEDERATED_TOKEN_FILE", file("azure", cloudtest.Token("x", "api://AzureADTokenExchange"))),
		cloudtest.AzureToken + "/https://storage.azure.com/.default ":             with("AZURE_CLIENT_SECRET", "canary-client-secret"),
		cloudtest.AzureToken + "/https://storage.azure.com/" + cloudtest.ClientID: {"AZURE_CLIENT_ID": cloudtest.ClientID},
	} {
		clouds, _ := newClouds(env)
		token, err := clouds.Azure(ctx, cloud.Identity{}, cloud.AzureStorage)
		if err != nil || token.Value != strings.TrimSpace(want) {
			t.Errorf("Azure: %q, want %q: %v", token.Value, want, err)
		}
	}
}

func TestGit(t *testing.T) {
	t.Parallel()
	clouds, _ := newClouds(nil)
	ctx := context.Background()
	login, _, err := clouds.Git(ctx, "azure", account, "https://dev.azure.com/org/project/_git/repo")
	if err != nil || login.BearerToken != cloudtest.AzureToken+"/499b84ac-1321-427f-aa17-267ca6975798/.default" {
		t.Errorf("Azure DevOps: %+v, %v", login, err)
	}
	const repo = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app"
	login, until, err := clouds.Git(ctx, "aws", account, repo)
	if err != nil || login.Username != cloudtest.AccessKey+"%"+cloudtest.SessionToken || !until.Before(time.Now().Add(15*time.Minute)) {
		t.Fatalf("CodeCommit: %+v until %s, %v", login, until, err)
	}
	at, signature, _ := strings.Cut(login.Password, "Z")
	scope := at[:8] + "/eu-west-1/codecommit/aws4_request"
	// The canonical request of git-remote-codecommit, hashed: method GIT, path, no query, the header host, no payload.
	want := cloudtest.Sign(cloudtest.SecretKey, at, scope, cloudtest.Hash("GIT\n/v1/repos/app\n\nhost:git-codecommit.eu-west-1.amazonaws.com\n\nhost\n"))
	if signature != want {
		t.Errorf("signature %s, want %s", signature, want)
	}
	for _, bad := range []struct{ provider, url, err string }{
		{"aws", "https://github.com/org/repo", "invalid AWS CodeCommit URL"},
		{"aws", "http://git-codecommit.eu-west-1.amazonaws.com/v1/repos/app", "with https"},
		{"azure", "http://dev.azure.com/org/project/_git/repo", "https only"},
		{"gcp", repo, "has no Git host"},
	} {
		if _, _, err := clouds.Git(ctx, bad.provider, account, bad.url); err == nil || !strings.Contains(err.Error(), bad.err) {
			t.Errorf("%s %s: %v", bad.provider, bad.url, err)
		}
	}
}

func TestClusters(t *testing.T) {
	t.Parallel()
	const aks = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/prod"
	const eks, gke = "arn:aws:eks:eu-west-1:123456789012:cluster/prod", "projects/proj/locations/europe-west1/clusters/prod"
	for _, tt := range []struct {
		reason      string
		ref         cloud.ClusterRef
		address, ca string
		err         string
	}{
		{"EKS", cloud.ClusterRef{Provider: "aws", Cluster: eks}, "https://ABC.gr7.eu-west-1.eks.amazonaws.com", "eks-ca", ""},
		{"AKS", cloud.ClusterRef{Provider: "azure", Cluster: aks}, "https://prod.hcp.westeurope.azmk8s.io:443", "aks-ca", ""},
		{"GKE", cloud.ClusterRef{Provider: "gcp", Cluster: gke}, "https://34.1.2.3", "gke-ca", ""},
		{"GKE by name", cloud.ClusterRef{Provider: "gcp", Cluster: gke, Address: "https://gke-1.europe-west1.gke.goog"}, "https://gke-1.europe-west1.gke.goog", "", ""},
		{"address and authority given", cloud.ClusterRef{Provider: "gcp", Address: "https://10.0.0.1", CA: []byte("own")}, "https://10.0.0.1", "own", ""},
		{"generic", cloud.ClusterRef{Provider: "generic", Address: "https://remote.example.com"}, "https://remote.example.com", "", ""},
		{"an address of another", cloud.ClusterRef{Provider: "aws", Cluster: eks, Address: "https://evil.example.com"}, "", "", "is not one of the cluster's"},
		{"plain HTTP", cloud.ClusterRef{Provider: "generic", Address: "http://x"}, "", "", "must be an https URL"},
		{"no cluster", cloud.ClusterRef{Provider: "gcp"}, "", "", "needs the key 'cluster'"},
		{"no ARN", cloud.ClusterRef{Provider: "aws", Cluster: "prod"}, "", "", "invalid EKS cluster 'prod'"},
		{"generic without an address", cloud.ClusterRef{Provider: "generic"}, "", "", "needs the key 'address'"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			clouds, _ := newClouds(nil)
			tt.ref.Identity = account
			got, err := clouds.Cluster(context.Background(), tt.ref)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || got.Address != tt.address || string(got.CA) != tt.ca || got.Token == "" || !got.Until.After(time.Now()) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	clouds, _ := newClouds(nil)
	got, err := clouds.Cluster(context.Background(), cloud.ClusterRef{Provider: "aws", Cluster: eks, Identity: account})
	if err != nil {
		t.Fatal(err)
	}
	// What aws-iam-authenticator documents of the token: a presigned GetCallerIdentity that covers the cluster's name.
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(got.Token, "k8s-aws-v1."))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Host != "sts.eu-west-1.amazonaws.com" || q.Get("Action") != "GetCallerIdentity" || q.Get("X-Amz-SignedHeaders") != "host;x-k8s-aws-id" || q.Get("X-Amz-Signature") == "" || q.Get("X-Amz-Expires") == "" {
		t.Errorf("the token is a request to %s with %v", u.Host, q)
	}
}

// TestGCPKey refuses key files that would read other files or ask other hosts.
func TestGCPKey(t *testing.T) {
	t.Parallel()
	clouds, fake := newClouds(nil)
	for _, key := range []string{
		`{"type":"external_account","credential_source":{"file":"/etc/passwd"}}`,
		`{"type":"service_account","token_uri":"http://169.254.169.254/"}`,
		`{"type":"service_account","token_uri":"https://evil.example.com/?googleapis.com"}`,
		`not json`,
	} {
		if _, err := clouds.GCPKey(context.Background(), []byte(key), nil); err == nil || strings.Contains(err.Error(), "passwd") {
			t.Errorf("%s: %v", key, err)
		}
	}
	if len(fake.Seen()) != 0 {
		t.Errorf("asked %v", fake.Seen())
	}
}
