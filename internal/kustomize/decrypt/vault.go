package decrypt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/getsops/sops/v3/keyservice"
	"github.com/hashicorp/vault/api"
)

// VaultLogin is how a ServiceAccount logs in to a Vault or OpenBao.
type VaultLogin struct {
	// Path of the login, used as it is, such as auth/kubernetes/login.
	Path string
	// Role and Token are what is sent: a role, and a token of the ServiceAccount for the address as its audience.
	Role, Token string
}

// vaultLogin is the end of a login, good or bad.
type vaultLogin struct {
	token string
	err   error
}

// decryptVault asks the transit engine of a Vault or OpenBao.
func (d *Decryptor) decryptVault(ctx context.Context, key *keyservice.VaultKey, sealed []byte) ([]byte, error) {
	token, err := d.vaultToken(ctx, key.VaultAddress)
	if err != nil {
		return nil, err
	}
	client, err := d.vaultClient(key.VaultAddress)
	if err != nil {
		return nil, err
	}
	client.SetToken(token)
	path := strings.Trim(key.EnginePath, "/") + "/decrypt/" + key.KeyName
	answer, err := client.Logical().WriteWithContext(ctx, path, map[string]any{"ciphertext": string(sealed)})
	if err != nil {
		return nil, vaultError("decryption", err)
	}
	if answer == nil {
		return nil, errors.New("the answer is empty")
	}
	text, _ := answer.Data["plaintext"].(string)
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(plain) == 0 {
		return nil, errors.New("the answer holds no plaintext")
	}
	return plain, nil
}

// vaultClient honours the VAULT_ variables of the environment for TLS, proxy and namespace.
func (d *Decryptor) vaultClient(address string) (*api.Client, error) {
	c := api.DefaultConfig()
	if c.Error != nil {
		return nil, fmt.Errorf("the VAULT_ variables of the controller's environment are not valid: %w", c.Error)
	}
	c.Address, c.MaxRetries, c.Timeout = address, 1, requestTimeout
	client, err := api.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("the address '%s' is not valid", address)
	}
	client.ClearToken()
	return client, nil
}

// vaultToken returns the static token of the Secret, that of a login, or the controller's own.
func (d *Decryptor) vaultToken(ctx context.Context, address string) (string, error) {
	if d.keys.vault != "" {
		return d.keys.vault, nil
	}
	if done, ok := d.vaults[address]; ok {
		return done.token, done.err
	}
	login, err := d.workload.Vault(ctx, address)
	switch {
	case err != nil:
	case login != nil:
		var token string
		token, err = d.vaultLogin(ctx, address, login)
		d.vaults[address] = vaultLogin{token, err}
		return token, err
	default:
		return d.ownVaultToken(address)
	}
	return "", err
}

// ownVaultToken is the token of the controller's environment. Where the environment says whose it is, it goes nowhere
// else: the address in a file is written by whoever wrote the file.
func (d *Decryptor) ownVaultToken(address string) (string, error) {
	token, home := d.env(api.EnvVaultToken), d.env(api.EnvVaultAddress)
	if token == "" {
		return "", d.keys.missing("Vault token", vaultEntry)
	}
	if home != "" && strings.TrimSuffix(home, "/") != strings.TrimSuffix(address, "/") {
		return "", fmt.Errorf("the controller's own Vault token is for %s only (VAULT_ADDR); put a token for this address into the entry '%s' of the Secret in spec.decryption.secretRef", home, vaultEntry)
	}
	return token, nil
}

func (d *Decryptor) vaultLogin(ctx context.Context, address string, l *VaultLogin) (string, error) {
	client, err := d.vaultClient(address)
	if err != nil {
		return "", err
	}
	answer, err := client.Logical().WriteWithContext(ctx, strings.Trim(l.Path, "/"), map[string]any{"jwt": l.Token, "role": l.Role})
	if err != nil {
		return "", vaultError(fmt.Sprintf("the login with role '%s' at '%s'", l.Role, l.Path), err)
	}
	if answer == nil || answer.Auth == nil || answer.Auth.ClientToken == "" {
		return "", fmt.Errorf("the answer to the login with role '%s' at '%s' holds no token", l.Role, l.Path)
	}
	return answer.Auth.ClientToken, nil
}

// vaultError keeps what Vault documents as its errors; an answer in any other form is not quoted.
func vaultError(what string, err error) error {
	var refused *api.ResponseError
	if !errors.As(err, &refused) {
		return fmt.Errorf("%s failed: the server cannot be reached", what)
	}
	text := fmt.Sprintf("%s is refused with status %d", what, refused.StatusCode)
	if len(refused.Errors) > 0 && !refused.RawError {
		said := strings.Join(refused.Errors, ", ")
		text += ": " + strings.TrimSpace(said[:min(len(said), 500)])
	}
	return errors.New(text)
}
