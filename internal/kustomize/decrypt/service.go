package decrypt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/keyservice"
	"google.golang.org/grpc"
)

// service opens data keys for the library: it is asked for one key of a file after the other, until one works.
type service struct {
	ctx      context.Context
	d        *Decryptor
	attempts []attempt
}

// attempt is a key of a file that could not be used.
type attempt struct {
	key string
	err error
}

var _ keyservice.KeyServiceClient = (*service)(nil)

// Encrypt is refused: a controller only reads.
func (s *service) Encrypt(context.Context, *keyservice.EncryptRequest, ...grpc.CallOption) (*keyservice.EncryptResponse, error) {
	return nil, errors.ErrUnsupported
}

// Decrypt opens a data key with one key of the file.
func (s *service) Decrypt(_ context.Context, req *keyservice.DecryptRequest, _ ...grpc.CallOption) (*keyservice.DecryptResponse, error) {
	if err := context.Cause(s.ctx); err != nil {
		return nil, err
	}
	name, plain, err := s.open(req)
	if err != nil {
		s.attempts = append(s.attempts, attempt{name, err})
		return nil, err
	}
	return &keyservice.DecryptResponse{Plaintext: plain}, nil
}

func (s *service) open(req *keyservice.DecryptRequest) (name string, plain []byte, err error) {
	d, sealed := s.d, req.Ciphertext
	switch key := req.Key.GetKeyType().(type) {
	case *keyservice.Key_AgeKey:
		name = "age " + key.AgeKey.Recipient
		plain, err = d.keys.decryptAge(sealed)
	case *keyservice.Key_PgpKey:
		name = "OpenPGP " + key.PgpKey.Fingerprint
		plain, err = d.keys.decryptPGP(sealed)
	case *keyservice.Key_KmsKey:
		name = "AWS KMS " + key.KmsKey.Arn
		plain, err = d.decryptAWS(s.ctx, key.KmsKey, sealed)
	case *keyservice.Key_AzureKeyvaultKey:
		name = "Azure Key Vault " + key.AzureKeyvaultKey.VaultUrl + "/keys/" + key.AzureKeyvaultKey.Name
		plain, err = d.decryptAzure(s.ctx, key.AzureKeyvaultKey, sealed)
	case *keyservice.Key_GcpKmsKey:
		name = "Google Cloud KMS " + key.GcpKmsKey.ResourceId
		plain, err = d.decryptGCP(s.ctx, key.GcpKmsKey.ResourceId, sealed)
	case *keyservice.Key_VaultKey:
		name = "Vault " + key.VaultKey.VaultAddress + "/v1/" + key.VaultKey.EnginePath + "/keys/" + key.VaultKey.KeyName
		plain, err = d.decryptVault(s.ctx, key.VaultKey, sealed)
	case *keyservice.Key_HckmsKey:
		name, err = "Huawei Cloud KMS "+key.HckmsKey.KeyId, errors.New("this key service is not supported")
	default:
		name, err = "a key", fmt.Errorf("of the unknown type %T", key)
	}
	return name, plain, err
}

// dataKey finds the key with which the values of a file are encrypted.
func (d *Decryptor) dataKey(ctx context.Context, m *sops.Metadata) ([]byte, error) {
	s := &service{ctx: ctx, d: d}
	key, err := m.GetDataKeyWithKeyServices([]keyservice.KeyServiceClient{s}, sops.DefaultDecryptionOrder)
	if err == nil {
		return key, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	return nil, s.explain(m)
}

// explain says why none of a file's keys could be used, each key with its reason.
func (s *service) explain(m *sops.Metadata) error {
	if len(s.attempts) == 0 {
		return errors.New("cannot get sops data key: the file names no key, or its parts do not fit together")
	}
	text := "cannot get sops data key: "
	if len(m.KeyGroups) > 1 {
		text += fmt.Sprintf("%d of its %d key groups are needed: ", m.ShamirThreshold, len(m.KeyGroups))
	}
	var lines []string
	for _, a := range s.attempts {
		if line := a.key + ": " + a.err.Error(); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return &dataKeyError{text: text + strings.Join(lines, "; "), attempts: s.attempts}
}

// dataKeyError wraps the errors of all keys.
type dataKeyError struct {
	text     string
	attempts []attempt
}

func (e *dataKeyError) Error() string { return e.text }

func (e *dataKeyError) Unwrap() []error {
	errs := make([]error, len(e.attempts))
	for i, a := range e.attempts {
		errs[i] = a.err
	}
	return errs
}
