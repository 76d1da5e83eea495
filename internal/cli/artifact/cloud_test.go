package artifact

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/cloud/cloudtest"
	"github.com/gitops-toolkit/flux/internal/registry"
)

const (
	ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	acr = "apps.azurecr.io"
	gar = "europe-docker.pkg.dev"
)

// TestCloudLogin asks the environment first, then the cloud's own tool, then the machine.
func TestCloudLogin(t *testing.T) {
	t.Parallel()
	keys := map[string]string{"AWS_ACCESS_KEY_ID": cloudtest.AccessKey, "AWS_SECRET_ACCESS_KEY": cloudtest.SecretKey, "AWS_SESSION_TOKEN": cloudtest.SessionToken}
	const nobody = "00000000-0000-0000-0000-000000000000"
	for _, tt := range []struct {
		reason, provider, host string
		env                    map[string]string
		tool                   string // what the tool prints; it fails when this is empty
		want                   auth.Login
		ran, err               string
	}{
		{reason: "ECR by the environment", provider: "aws", host: ecr, env: keys, tool: "unused", want: auth.Login{Username: "AWS", Password: "canary-ecr-password"}},
		{reason: "ECR by the tool", provider: "aws", host: ecr, tool: "pw\n", want: auth.Login{Username: "AWS", Password: "pw"}, ran: "aws ecr get-login-password --region eu-west-1"},
		{reason: "public ECR by the tool", provider: "aws", host: "public.ecr.aws", tool: "pw", want: auth.Login{Username: "AWS", Password: "pw"}, ran: "aws ecr-public get-login-password --region us-east-1"},
		{reason: "ECR by the machine", provider: "aws", host: ecr, want: auth.Login{Username: "AWS", Password: "canary-ecr-password"}, ran: "aws ecr get-login-password --region eu-west-1"},
		{reason: "ACR by the environment", provider: "azure", host: acr, env: map[string]string{"AZURE_TENANT_ID": cloudtest.TenantID, "AZURE_CLIENT_ID": cloudtest.ClientID, "AZURE_CLIENT_SECRET": "canary-client-secret"}, want: auth.Login{Username: nobody, Password: "canary-acr-refresh-token"}},
		{reason: "ACR by az", provider: "azure", host: acr, tool: "token", want: auth.Login{Username: nobody, Password: "token"}, ran: "az acr login --name apps --expose-token --output tsv --query accessToken"},
		{reason: "GAR by gcloud", provider: "gcp", host: gar, tool: "token", want: auth.Login{Username: "oauth2accesstoken", Password: "token"}, ran: "gcloud auth print-access-token"},
		{reason: "GAR by the machine", provider: "gcp", host: gar, want: auth.Login{Username: "oauth2accesstoken", Password: cloudtest.GoogleToken}, ran: "gcloud auth print-access-token"},
		{reason: "another registry", provider: "aws", host: "ghcr.io", tool: "canary", err: "--provider aws: invalid AWS registry: 'ghcr.io'. must match"},
		{reason: "one that looks like it", provider: "azure", host: "apps.azurecr.io.evil.com", tool: "canary", err: "invalid Azure registry"},
		{reason: "nobody anywhere", provider: "aws", host: ecr, env: map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, ran: "aws ecr get-login-password --region eu-west-1",
			err: "neither the environment nor the machine says who you are, and no tool; log in with it, set AWS_ACCESS_KEY_ID, or give --creds"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			getenv := func(name string) string { return tt.env[name] }
			var ran []string
			who := cloudIdentity{
				clouds: cloud.New(cloud.Options{Transport: &cloudtest.Clouds{}, Getenv: getenv}), getenv: getenv,
				run: func(_ context.Context, tool string, args ...string) ([]byte, error) {
					ran = append(ran, tool+" "+strings.Join(args, " "))
					if tt.tool == "" {
						return nil, errors.New("no tool")
					}
					return []byte(tt.tool), nil
				},
			}
			login, err := who.login(context.Background(), tt.provider, registry.Location{Repository: tt.host + "/org/app"})
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "canary") {
					t.Errorf("error %v, want %q", err, tt.err)
				}
			} else if err != nil || login != tt.want {
				t.Errorf("%+v, %v", login, err)
			}
			if got := strings.Join(ran, "; "); got != tt.ran {
				t.Errorf("ran %q, want %q", got, tt.ran)
			}
		})
	}
}

// TestRunTool runs a program that is there, and says what one that fails complains of.
func TestRunTool(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "az"), []byte("#!/bin/sh\nif [ \"$3\" = ok ]; then echo token; else echo 'Please run az login' >&2; exit 1; fi\n"), 0o700))
	t.Setenv("PATH", dir)
	if out, err := runTool(t.Context(), "az", "acr", "login", "ok"); err != nil || string(out) != "token\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := runTool(t.Context(), "az", "acr", "login"); err == nil || err.Error() != "'az acr login' fails: exit status 1: Please run az login" {
		t.Errorf("a tool that fails: %v", err)
	}
	if _, err := runTool(t.Context(), "gcloud", "auth", "x"); err == nil || err.Error() != "'gcloud' is not installed" {
		t.Errorf("a tool that is not there: %v", err)
	}
}
