package receivers

import (
	"context"
	"crypto/sha1" //nolint:gosec // what Nexus signs with
)

// Registries that sign nothing: the path is the only secret, and the body must be theirs.
func init() {
	register(Type{Name: "dockerhub", Accept: acceptDockerHub})
	register(Type{Name: "quay", Accept: acceptQuay})
	register(Type{Name: "acr", Accept: acceptACR})
	register(Type{Name: "nexus", Accept: acceptNexus})
}

func acceptDockerHub(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	var body struct {
		PushData struct {
			Tag string `json:"tag"`
		} `json:"push_data"`
		Repository struct {
			URL string `json:"repo_url"`
		} `json:"repository"`
	}
	return Result{}, c.decode("DockerHub", &body)
}

func acceptQuay(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	var body struct {
		URL  string   `json:"docker_url"`
		Tags []string `json:"updated_tags"`
	}
	return Result{}, c.decode("Quay", &body)
}

func acceptACR(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	var body struct {
		Action string `json:"action"`
		Target struct {
			Repository string `json:"repository"`
			Tag        string `json:"tag"`
		} `json:"target"`
	}
	return Result{}, c.decode("ACR", &body)
}

func acceptNexus(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	if err := checkHMAC(sha1.New, c.Header.Get("X-Nexus-Webhook-Signature"), c.Body, c.token()); err != nil {
		return Result{}, err
	}
	var body struct {
		Action     string `json:"action"`
		Repository string `json:"repositoryName"`
	}
	return Result{}, c.decode("Nexus", &body)
}
