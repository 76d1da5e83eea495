package kustomize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	sigsyaml "sigs.k8s.io/yaml"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt"
	"github.com/gitops-toolkit/flux/internal/subject"
)

// DecryptionDefaults are what the operator gives to all Kustomizations that decrypt.
type DecryptionDefaults struct {
	// Account is the ServiceAccount, in the namespace of the Kustomization, whose identity is used where the spec names
	// none (--default-decryption-service-account).
	Account string
	// AgeSecret in the runtime namespace has age keys for Kustomizations without a secretRef (--sops-age-secret).
	AgeSecret string
	// VaultConfigMap in the runtime namespace tells where ServiceAccounts log in to Vault (--sops-vault-configmap).
	VaultConfigMap string
	// Transport leads to the key services; nil is the network.
	Transport http.RoundTripper
}

// checkDecryption refuses what a feature gate forbids.
func (c *controller) checkDecryption(_ context.Context, t *target) *kernel.Outcome {
	d := t.spec().Decryption
	if d == nil {
		return nil
	}
	if err := c.m.CheckCloudAccount(d.ServiceAccountName, "spec.decryption.serviceAccountName", "decryption"); err != nil {
		return stop(kernel.Stalled(kernel.FeatureGateDisabledReason, err).KeepObservedGeneration())
	}
	return nil
}

// decryptionInputs is what decides, beside the artifact, on whether the content can be decrypted.
func (c *controller) decryptionInputs(k *kustomizev1.Kustomization) any {
	d := k.Spec.Decryption
	if d == nil || d.SecretRef == nil {
		return d
	}
	version, _ := c.m.Version(k.Namespace, kernel.Secret(d.SecretRef.Name))
	return []any{d, version}
}

// decryptor returns what decrypts for one build, nil when the spec does not ask for it.
func (c *controller) decryptor(ctx context.Context, k *kustomizev1.Kustomization) (build.Decryptor, error) {
	if k.Spec.Decryption == nil {
		return nil, nil
	}
	keys, err := c.decryptionKeys(ctx, k)
	if err != nil {
		return nil, err
	}
	return decrypt.New(decrypt.Options{Keys: keys, Workload: &workload{c: c, k: k}, Transport: c.Decryption.Transport}), nil
}

func (c *controller) decryptionKeys(ctx context.Context, k *kustomizev1.Kustomization) (*decrypt.Keys, error) {
	if ref := k.Spec.Decryption.SecretRef; ref != nil {
		name := types.NamespacedName{Namespace: k.Namespace, Name: ref.Name}
		secret, err := c.m.GetSecret(ctx, name)
		if apierrors.IsNotFound(err) {
			err = fmt.Errorf("%w; create it, or correct spec.decryption.secretRef", err)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot get sops decryption Secret '%s': %w", name, err)
		}
		return decrypt.ParseKeys(name.String(), secret.Data)
	}
	if c.Decryption.AgeSecret == "" {
		return nil, nil
	}
	name := types.NamespacedName{Namespace: c.m.Settings().RuntimeNamespace, Name: c.Decryption.AgeSecret}
	secret, err := c.m.GetSecret(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("cannot get sops decryption Secret '%s' of the flag --sops-age-secret: %w", name, err)
	}
	return decrypt.ParseAgeKeys(name.String(), secret.Data)
}

// workload is the identity with which key services are asked where the Secret has no login for them.
type workload struct {
	c *controller
	k *kustomizev1.Kustomization
}

var errNoIdentity = errors.New("this program has no workload identity: put a login into the Secret of spec.decryption.secretRef")

func (w *workload) identity(ctx context.Context) (cloud.Identity, error) {
	if w.c.Clouds == nil {
		return cloud.Identity{}, errNoIdentity
	}
	sa, err := w.c.m.CloudAccount(ctx, w.k.Namespace, w.k.Spec.Decryption.ServiceAccountName, w.c.Decryption.Account)
	return cloud.Identity{Account: cloud.AccountOf(sa)}, err
}

// AWS returns credentials for a region.
func (w *workload) AWS(ctx context.Context, region string) (decrypt.AWSCredentials, error) {
	id, err := w.identity(ctx)
	if err != nil {
		return decrypt.AWSCredentials{}, err
	}
	keys, err := w.c.Clouds.AWS(subject.Doing(ctx, "decrypt_with_aws"), id, cloud.AWSOptions{Region: region})
	return decrypt.AWSCredentials{AccessKeyID: keys.AccessKey, SecretAccessKey: keys.SecretKey, SessionToken: keys.SessionToken}, err
}

// Azure returns an access token for a scope.
func (w *workload) Azure(ctx context.Context, scope string) (string, error) {
	id, err := w.identity(ctx)
	if err != nil {
		return "", err
	}
	token, err := w.c.Clouds.Azure(subject.Doing(ctx, "decrypt_with_azure"), id, strings.TrimSuffix(scope, "/.default"))
	return token.Value, err
}

// GCP returns an access token.
func (w *workload) GCP(ctx context.Context) (string, error) {
	id, err := w.identity(ctx)
	if err != nil {
		return "", err
	}
	token, err := w.c.Clouds.GCP(subject.Doing(ctx, "decrypt_with_gcp"), id)
	return token.Value, err
}

// vaultConfig is the entry config.yaml of the ConfigMap.
type vaultConfig struct {
	Instances []struct {
		Address   string `json:"address"`
		LoginPath string `json:"loginPath"`
	} `json:"instances"`
}

// Vault returns how the account logs in at an address; the ConfigMap lists the addresses that are allowed.
func (w *workload) Vault(ctx context.Context, address string) (*decrypt.VaultLogin, error) {
	if w.c.Decryption.VaultConfigMap == "" {
		return nil, nil
	}
	path, err := w.loginPath(ctx, address)
	if err != nil {
		return nil, err
	}
	account, err := w.account(ctx)
	if err != nil {
		return nil, err
	}
	if w.c.Clouds == nil {
		return nil, errNoIdentity
	}
	token, err := w.c.Clouds.AccountToken(subject.Doing(ctx, "decrypt_with_vault"), cloud.AccountOf(account), address)
	if err != nil {
		return nil, err
	}
	return &decrypt.VaultLogin{Path: path, Role: account.Namespace + "_" + account.Name, Token: token}, nil
}

func (w *workload) loginPath(ctx context.Context, address string) (string, error) {
	name := types.NamespacedName{Namespace: w.c.m.Settings().RuntimeNamespace, Name: w.c.Decryption.VaultConfigMap}
	stored, err := w.c.m.GetConfigMap(ctx, name)
	if err != nil {
		return "", fmt.Errorf("cannot get ConfigMap '%s' of the flag --sops-vault-configmap: %w", name, err)
	}
	var config vaultConfig
	if err := sigsyaml.UnmarshalStrict([]byte(stored.Data["config.yaml"]), &config); err != nil {
		return "", fmt.Errorf("ConfigMap '%s', key 'config.yaml': %w", name, err)
	}
	for _, instance := range config.Instances {
		if instance.Address == address && instance.LoginPath != "" {
			return instance.LoginPath, nil
		}
	}
	return "", fmt.Errorf("no Vault login path configured for address '%s' in ConfigMap '%s'", address, name)
}

// account is the ServiceAccount that logs in: that of the spec, the default one, or the controller's own.
func (w *workload) account(ctx context.Context) (*corev1.ServiceAccount, error) {
	sa, err := w.c.m.CloudAccount(ctx, w.k.Namespace, w.k.Spec.Decryption.ServiceAccountName, w.c.Decryption.Account)
	if err != nil || sa != nil {
		return sa, err
	}
	if sa, err = w.c.ownAccount(ctx); err != nil {
		return nil, fmt.Errorf("spec.decryption.serviceAccountName is not set: %w", err)
	}
	return sa, nil
}

// ownAccount is the ServiceAccount that the controller runs as.
func (c *controller) ownAccount(ctx context.Context) (*corev1.ServiceAccount, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.m.Client().Create(ctx, review); err != nil {
		return nil, fmt.Errorf("cannot find out the controller's own service account: %w", err)
	}
	user := review.Status.UserInfo.Username
	rest, found := strings.CutPrefix(user, "system:serviceaccount:")
	namespace, name, ok := strings.Cut(rest, ":")
	if !found || !ok {
		return nil, fmt.Errorf("the controller runs as '%s', which is no service account: name one", cmp.Or(user, "nobody"))
	}
	sa := &corev1.ServiceAccount{}
	return sa, c.m.Live().Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, sa)
}
