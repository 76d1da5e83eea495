package receivers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

func init() { register(Type{Name: "gcr", Accept: acceptGCR}) }

// pubSubMessage is the envelope in which Google Pub/Sub pushes; the data is base64 of what the
// registry says.
type pubSubMessage struct {
	Message struct {
		Data []byte `json:"data"`
	} `json:"message"`
}

type gcrPush struct {
	Action string `json:"action"`
	Digest string `json:"digest"`
	Tag    string `json:"tag"`
}

// acceptGCR takes pushes of a Pub/Sub subscription that logs in as the service account with the
// e-mail, for the audience, that the Secret names.
func acceptGCR(ctx context.Context, o *OIDC, c *Call) (Result, error) {
	email, audience := string(c.Secret["email"]), string(c.Secret["audience"])
	if email == "" || audience == "" {
		return Result{}, errors.New("the Receiver's Secret must have the keys 'email' and 'audience'")
	}
	token, err := c.bearer()
	if err != nil {
		return Result{}, err
	}
	claims, err := o.verifyGoogle(ctx, audience, token)
	if err != nil {
		return Result{}, err
	}
	if !claims.EmailVerified || !equal(claims.Email, []byte(email)) {
		return Result{}, errors.New("the token's e-mail is not verified, or not that of the Secret")
	}
	var envelope pubSubMessage
	if err := c.decode("Pub/Sub", &envelope); err != nil {
		return Result{}, err
	}
	var push gcrPush
	if err := json.Unmarshal(envelope.Message.Data, &push); err != nil {
		return Result{}, fmt.Errorf("cannot decode the GCR webhook payload: %w", err)
	}
	return Result{Request: map[string]any{"action": push.Action, "digest": push.Digest, "tag": push.Tag}}, nil
}
