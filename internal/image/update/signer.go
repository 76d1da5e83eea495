package update

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/gitrepo/signature"
)

// Keys of the Secrets with signing keys.
const (
	keyPGP        = "git.asc"
	keyPassphrase = "passphrase"
	keyIdentity   = "identity"
	keyPassword   = "password"
)

// signer reads the signing key of the spec, nil if commits are not signed.
func (r *run) signer(ctx context.Context) (signature.Signer, *failure) {
	key := r.obj.Spec.GitSpec.Commit.SigningKey
	if key == nil {
		return nil, nil
	}
	at := types.NamespacedName{Namespace: r.obj.Namespace, Name: key.SecretRef.Name}
	secret, err := r.cluster.GetSecret(ctx, at)
	if err != nil {
		err = fmt.Errorf("could not find signing key secret '%s': %w", at, err)
		if apierrors.IsNotFound(err) {
			err = fmt.Errorf("%w; create it, or correct spec.git.commit.signingKey.secretRef", err)
		}
		return nil, unconfigured(err)
	}
	var s signature.Signer
	switch key.Type {
	case "ssh":
		s, err = sshSigner(at, secret)
	default:
		s, err = pgpSigner(at, secret)
	}
	if err != nil {
		return nil, unconfigured(err)
	}
	return s, nil
}

func pgpSigner(at types.NamespacedName, secret *corev1.Secret) (signature.Signer, error) {
	ring, ok := secret.Data[keyPGP]
	if !ok {
		return nil, fmt.Errorf("signing key secret '%s' does not contain a '%s' key", at, keyPGP)
	}
	passphrase, ok := secret.Data[keyPassphrase]
	s, err := signature.NewPGPSigner(ring, string(passphrase))
	if !ok && errors.Is(err, signature.ErrPassphrase) {
		return nil, needsPassphrase(keyPassphrase, at)
	}
	if err != nil {
		return nil, fmt.Errorf("signing key secret '%s': key '%s': %w", at, keyPGP, err)
	}
	return s, nil
}

func needsPassphrase(field string, at types.NamespacedName) error {
	return fmt.Errorf("can not use passphrase protected signing key without '%s' field present in secret %s", field, at)
}

// openSSH begins the only form of SSH keys that is taken.
var openSSH = []byte("-----BEGIN OPENSSH PRIVATE KEY-----")

func sshSigner(at types.NamespacedName, secret *corev1.Secret) (signature.Signer, error) {
	identity, ok := secret.Data[keyIdentity]
	if !ok {
		return nil, fmt.Errorf("signing key secret '%s' does not contain a '%s' key", at, keyIdentity)
	}
	if !bytes.Contains(identity, openSSH) {
		return nil, fmt.Errorf("signing key secret '%s': key '%s' is not an OpenSSH private key; convert it with: ssh-keygen -p -f <file>", at, keyIdentity)
	}
	password, ok := secret.Data[keyPassword]
	s, err := signature.NewSSHSigner(identity, string(password))
	if !ok && errors.Is(err, signature.ErrPassphrase) {
		return nil, needsPassphrase(keyPassword, at)
	}
	if err != nil {
		return nil, fmt.Errorf("signing key secret '%s': key '%s': %w", at, keyIdentity, err)
	}
	return s, nil
}
