package providers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

func init() {
	registerStatus("azuredevops", states{success: "succeeded", failure: "error"}, func(c *Config) (statusHost, error) { return newAzureDevOps(c) })
}

const azureAPIVersion = "api-version=7.1"

// azureDevOps is a repository: https://dev.azure.com/<organisation>/<project>/_git/<repository>.
type azureDevOps struct {
	*Config
	repo  string
	login string // empty: the controller's identity
}

func newAzureDevOps(c *Config) (*azureDevOps, error) {
	at, err := gitAddress(c)
	if err != nil {
		return nil, err
	}
	host, path := at.base(), at.path
	if rest, ok := strings.CutPrefix(path, "v3/"); ok && at.host == "ssh.dev.azure.com" {
		host = "https://dev.azure.com"
		if parts := strings.Split(rest, "/"); len(parts) == 3 {
			path = parts[0] + "/" + parts[1] + "/_git/" + parts[2]
		}
	}
	project, name, ok := strings.Cut(path, "/_git/")
	organisation, project, two := strings.Cut(project, "/")
	if !ok || !two || name == "" {
		return nil, errors.New("address must be https://<host>/<organisation>/<project>/_git/<repository>")
	}
	login := ""
	if token := cmp.Or(c.Token, c.Password); token != "" {
		login = basicAuth("", token)
	}
	return &azureDevOps{
		Config: c, login: login,
		repo: host + "/" + url.PathEscape(organisation) + "/" + url.PathEscape(project) + "/_apis/git/repositories/" + url.PathEscape(name),
	}, nil
}

// azureDevOpsResource is the id of the service among the applications of every tenant.
const azureDevOpsResource = "499b84ac-1321-427f-aa17-267ca6975798"

func (a *azureDevOps) authorize(ctx context.Context) (http.Header, error) {
	if a.login != "" {
		return header("Authorization", a.login), nil
	}
	token, err := a.azureToken(ctx, azureDevOpsResource)
	return header("Authorization", "Bearer "+token), err
}

type azureStatus struct {
	State       string       `json:"state"`
	Description string       `json:"description"`
	Context     azureContext `json:"context"`
}

type azureContext struct {
	Name  string `json:"name"`
	Genre string `json:"genre"`
}

func azureContextOf(s status) azureContext {
	if s.Summary != "" {
		return azureContext{s.ID, "fluxcd:" + s.Summary}
	}
	return azureContext{s.ID, "fluxcd"}
}

func (a *azureDevOps) current(ctx context.Context, commit string, s status) (state, description string, found bool, err error) {
	auth, err := a.authorize(ctx)
	if err != nil {
		return "", "", false, err
	}
	var list struct{ Value []azureStatus }
	if _, err := a.getJSON(ctx, a.repo+"/commits/"+commit+"/statuses?latestOnly=true&"+azureAPIVersion, auth, &list); err != nil {
		return "", "", false, err
	}
	for _, one := range list.Value {
		if one.Context == azureContextOf(s) {
			return one.State, one.Description, true, nil
		}
	}
	return "", "", false, nil
}

func (a *azureDevOps) write(ctx context.Context, commit string, s status) error {
	auth, err := a.authorize(ctx)
	if err != nil {
		return err
	}
	_, err = a.postJSON(ctx, a.repo+"/commits/"+commit+"/statuses?"+azureAPIVersion,
		azureStatus{State: s.State, Description: s.Description, Context: azureContextOf(s)}, auth)
	return err
}
