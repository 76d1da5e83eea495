package bootstrap

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/spf13/pflag"

	"github.com/gitops-toolkit/flux/internal/cli/sshkey"
	"github.com/gitops-toolkit/flux/internal/gitrepo/signature"
)

// signing are the flags of the key that signs commits.
type signing struct {
	ring, ringPassphrase, keyID string
	keyFile, keyPassword        string
	reuse                       bool
	// reusable says that the host's command may sign with --private-key-file; keyFilePassword unlocks it.
	reusable        bool
	keyFilePassword string
}

func (s *signing) define(flags *pflag.FlagSet) {
	flags.StringVar(&s.ring, "gpg-key-ring", "", "OpenPGP key ring with the key that signs the commits")
	flags.StringVar(&s.ringPassphrase, "gpg-passphrase", "", "passphrase of that key")
	flags.StringVar(&s.keyID, "gpg-key-id", "", "id of the key in the ring, 16 hexadecimal digits; the first when empty")
	flags.StringVar(&s.keyFile, "ssh-signing-key-file", "", "SSH private key that signs the commits")
	flags.StringVar(&s.keyPassword, "ssh-signing-password", "", "password of that key")
	flags.StringVar(&s.keyPassword, "ssh-signing-passphrase", "", "same as --ssh-signing-password")
	flags.BoolVar(&s.reuse, "ssh-signing-reuse-private-key", false, "sign the commits with the key of --private-key-file")
	_ = flags.MarkHidden("ssh-signing-passphrase")
}

var keyIDFormat = regexp.MustCompile(`^[0-9A-Fa-f]{16}$`)

// signer reads the key, before any work; nil when commits are not signed.
func (s *signing) signer(privateKeyFile string) (signature.Signer, error) {
	pgp := s.ring != "" || s.keyID != "" || s.ringPassphrase != ""
	ssh := s.keyFile != "" || s.reuse
	switch {
	case pgp && ssh:
		return nil, errors.New("--gpg-key-ring and the --ssh-signing flags exclude each other: choose one key")
	case s.keyFile != "" && s.reuse:
		return nil, errors.New("--ssh-signing-key-file and --ssh-signing-reuse-private-key exclude each other: choose one key")
	case s.reuse && !s.reusable:
		return nil, errors.New("--ssh-signing-reuse-private-key is for git, gitlab and bitbucket-server: give --ssh-signing-key-file")
	case s.reuse && privateKeyFile == "":
		return nil, errors.New("--ssh-signing-reuse-private-key needs --private-key-file")
	case pgp:
		return s.pgpSigner()
	case s.reuse:
		password := s.keyPassword
		if password == "" {
			password = s.keyFilePassword
		}
		return sshSigner(privateKeyFile, password)
	case ssh:
		return sshSigner(s.keyFile, s.keyPassword)
	}
	return nil, nil
}

func (s *signing) pgpSigner() (signature.Signer, error) {
	if s.ring == "" {
		return nil, errors.New("invalid GPG signing key: give the key ring with --gpg-key-ring")
	}
	if s.keyID != "" && !keyIDFormat.MatchString(s.keyID) {
		return nil, fmt.Errorf("invalid GPG signing key: --gpg-key-id %q is not 16 hexadecimal digits", s.keyID)
	}
	ring, err := sshkey.ReadFile(s.ring)
	if err != nil {
		return nil, fmt.Errorf("invalid GPG signing key: %w", err)
	}
	signer, err := signature.NewPGPSignerOf(ring, s.ringPassphrase, s.keyID)
	if err != nil {
		return nil, fmt.Errorf("invalid GPG signing key: %w", err)
	}
	return signer, nil
}

func sshSigner(file, password string) (signature.Signer, error) {
	key, err := sshkey.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("invalid SSH signing key: %w", err)
	}
	signer, err := signature.NewSSHSigner(key, password)
	if err != nil {
		return nil, fmt.Errorf("invalid SSH signing key: %w", err)
	}
	return signer, nil
}
