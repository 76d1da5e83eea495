package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// cloudIdentity is where a command of ours finds out who it is at a cloud: what the environment says, then what the cloud's
// own tool is logged in as, then what the cloud tells of the machine. The last comes last because it may take seconds to
// find out that nobody answers, and because a CI runner is often somebody else's machine.
type cloudIdentity struct {
	clouds *cloud.Clouds
	getenv func(string) string
	// run runs a tool and returns what it prints.
	run func(ctx context.Context, tool string, args ...string) ([]byte, error)
}

func newCloudIdentity() cloudIdentity {
	return cloudIdentity{clouds: cloud.New(cloud.Options{}), getenv: os.Getenv, run: runTool}
}

// named are the variables that name an identity, by cloud.
var named = map[string][]string{
	cloud.AWS:   {"AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"},
	cloud.Azure: {"AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"}, // with AZURE_CLIENT_ID and AZURE_TENANT_ID
	cloud.GCP:   {"GOOGLE_APPLICATION_CREDENTIALS"},
}

// login logs in to the registry of a location.
func (c cloudIdentity) login(ctx context.Context, provider string, l registry.Location) (auth.Login, error) {
	repo, err := name.NewRepository(l.Repository)
	if err != nil {
		return auth.Login{}, err
	}
	host := repo.RegistryStr()
	if err := cloud.CheckRegistry(provider, host, c.getenv); err != nil {
		return auth.Login{}, fmt.Errorf("--provider %s: %w", provider, err)
	}
	var toolErr error
	if !slices.ContainsFunc(named[provider], func(variable string) bool { return c.getenv(variable) != "" }) {
		var login auth.Login
		if login, toolErr = c.tool(ctx, provider, host); toolErr == nil {
			return login, nil
		}
	}
	login, _, err := c.clouds.Registry(ctx, provider, cloud.Identity{}, host)
	if err == nil {
		return login, nil
	}
	if errors.Is(err, cloud.ErrNoIdentity) && toolErr != nil {
		return auth.Login{}, fmt.Errorf("--provider %s: neither the environment nor the machine says who you are, and %w; log in with it, set %s, or give --creds",
			provider, toolErr, named[provider][0])
	}
	return auth.Login{}, fmt.Errorf("--provider %s: failed to log in to '%s': %w", provider, host, err)
}

// tool asks the cloud's own tool for a password.
func (c cloudIdentity) tool(ctx context.Context, provider, host string) (auth.Login, error) {
	var command []string
	var user string
	switch provider {
	case cloud.AWS:
		user, command = "AWS", []string{"aws", "ecr", "get-login-password"}
		if region := cloud.RegistryRegion(host); region != "" {
			command = append(command, "--region", region)
		} else {
			command = []string{"aws", "ecr-public", "get-login-password", "--region", "us-east-1"}
		}
	case cloud.Azure:
		user = "00000000-0000-0000-0000-000000000000"
		registry, _, _ := strings.Cut(host, ".")
		command = []string{"az", "acr", "login", "--name", registry, "--expose-token", "--output", "tsv", "--query", "accessToken"}
	default:
		user, command = "oauth2accesstoken", []string{"gcloud", "auth", "print-access-token"}
	}
	out, err := c.run(ctx, command[0], command[1:]...)
	if err != nil {
		return auth.Login{}, err
	}
	password := strings.TrimSpace(string(out))
	if password == "" {
		return auth.Login{}, fmt.Errorf("'%s' prints nothing", strings.Join(command[:3], " "))
	}
	return auth.Login{Username: user, Password: password}, nil
}

// runTool runs a program of the PATH without a shell. What it prints is a secret, what it complains of is not.
func runTool(ctx context.Context, tool string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(tool)
	if err != nil {
		return nil, fmt.Errorf("'%s' is not installed", tool)
	}
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		said, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		return nil, fmt.Errorf("'%s %s' fails: %w: %.300s", tool, strings.Join(args[:2], " "), err, said)
	}
	return out.Bytes(), nil
}
