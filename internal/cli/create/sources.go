package create

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/value"
)

// clouds are the identities that registries and buckets accept.
var clouds = []string{"generic", "aws", "azure", "gcp"}

// verification are the flags about signatures.
type verification struct{ provider, secret, issuer, subject string }

func (v *verification) define(flags *pflag.FlagSet) {
	flags.Var(value.OneOf(&v.provider, "source OCI verify provider", "cosign").Named("sourceOCIVerifyProvider"), "verify-provider", "who verifies signatures: cosign")
	flags.StringVar(&v.secret, "verify-secret-ref", "", "Secret with the public keys of signers")
	flags.StringVar(&v.issuer, "verify-issuer", "", "regular expression of the issuer in the signer's certificate")
	flags.StringVar(&v.subject, "verify-subject", "", "regular expression of the subject in the signer's certificate")
}

func (v *verification) check() error {
	if v.provider == "" && (v.secret != "" || v.issuer != "" || v.subject != "") {
		return errors.New("a verification provider must be specified")
	}
	return nil
}

func (v *verification) identities() []sourcev1.OIDCIdentityMatch {
	if v.issuer == "" && v.subject == "" {
		return nil
	}
	return []sourcev1.OIDCIdentityMatch{{Issuer: v.issuer, Subject: v.subject}}
}

func (m *maker) ociRepository() *cobra.Command {
	var address, layer, serviceAccount, secret, cert, proxy string
	var ref sourcev1.OCIRepositoryRef
	var ignore []string
	var insecure bool
	var verify verification
	provider := "generic"
	return m.command(recipe{
		kind:    kinds.OCIRepository,
		short:   "Create or change an OCIRepository source",
		example: "  flux create source oci podinfo --url=oci://ghcr.io/stefanprodan/manifests/podinfo --tag-semver=\">=6.0.0\"",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&address, "url", "", "address of the repository, as oci://<host>/<path>")
			flags.StringVar(&ref.Tag, "tag", "", "tag to follow")
			flags.StringVar(&ref.SemVer, "tag-semver", "", "range of versions; the latest tag in it is followed")
			flags.StringVar(&ref.Digest, "digest", "", "digest to stay at")
			flags.Var(value.OneOf(&provider, "source OCI provider", clouds...), "provider", "who authenticates: generic, aws, azure or gcp")
			flags.StringVar(&secret, "secret-ref", "", "existing Secret with the registry's credentials")
			flags.StringVar(&proxy, "proxy-secret-ref", "", "existing Secret with the proxy's address and credentials")
			flags.StringVar(&serviceAccount, "service-account", "", "ServiceAccount whose image pull secrets are used")
			flags.StringVar(&cert, "cert-ref", "", "existing Secret with TLS certificates")
			flags.StringSliceVar(&ignore, "ignore-paths", nil, "paths to leave out, in gitignore syntax")
			flags.BoolVar(&insecure, "insecure", false, "connect to the registry without TLS")
			flags.StringVar(&layer, "layer-selector", "", "layer to take, as <media-type>:<operation>; operations: extract, copy")
			verify.define(flags)
		},
		build: func(context.Context, string) (meta.Object, error) {
			if address == "" {
				return nil, errors.New("url is required")
			}
			if ref == (sourcev1.OCIRepositoryRef{}) {
				return nil, errors.New("--tag, --tag-semver or --digest is required")
			}
			if err := verify.check(); err != nil {
				return nil, err
			}
			obj := &sourcev1.OCIRepository{}
			obj.Spec = sourcev1.OCIRepositorySpec{
				URL: address, Reference: &ref, Provider: provider, Interval: meta.NewDuration(m.interval), Timeout: optionalDuration(m.fetchTimeout),
				SecretRef: localRef(secret), ProxySecretRef: localRef(proxy), CertSecretRef: localRef(cert),
				ServiceAccountName: serviceAccount, Ignore: ignoreRules(ignore), Insecure: insecure,
			}
			if layer != "" {
				media, operation, _ := strings.Cut(layer, ":")
				obj.Spec.LayerSelector = &sourcev1.OCILayerSelector{MediaType: media, Operation: operation}
			}
			if verify.provider != "" {
				obj.Spec.Verify = &sourcev1.OCIRepositoryVerification{Provider: verify.provider, SecretRef: localRef(verify.secret), MatchOIDCIdentity: verify.identities()}
			}
			return obj, nil
		},
		done: fetchedLines("OCIRepository"),
	})
}

func (m *maker) bucket() *cobra.Command {
	const title = "Bucket source"
	var spec sourcev1.BucketSpec
	var accessKey, secretKey, secret, proxy string
	var ignore []string
	spec.Provider = "generic"
	return m.command(recipe{
		kind:    kinds.Bucket,
		title:   title,
		short:   "Create or change a Bucket source",
		example: "  flux create source bucket podinfo --bucket-name=podinfo --endpoint=minio.example.com:9000 --access-key=$KEY --secret-key=$SECRET",
		flags: func(flags *pflag.FlagSet) {
			flags.Var(value.OneOf(&spec.Provider, "source Bucket provider", clouds...), "provider", "kind of storage: generic, aws, azure or gcp")
			flags.StringVar(&spec.BucketName, "bucket-name", "", "name of the bucket")
			flags.StringVar(&spec.Endpoint, "endpoint", "", "address of the storage")
			flags.StringVar(&spec.Region, "region", "", "region of the bucket")
			flags.BoolVar(&spec.Insecure, "insecure", false, "connect to the storage without TLS")
			flags.StringVar(&accessKey, "access-key", "", "access key")
			flags.StringVar(&secretKey, "secret-key", "", "secret key")
			flags.StringVar(&secret, "secret-ref", "", "existing Secret with the credentials")
			flags.StringVar(&proxy, "proxy-secret-ref", "", "existing Secret with the proxy's address and credentials")
			flags.StringSliceVar(&ignore, "ignore-paths", nil, "paths to leave out, in gitignore syntax")
		},
		build: func(ctx context.Context, name string) (meta.Object, error) {
			if spec.BucketName == "" {
				return nil, errors.New("bucket-name is required")
			}
			if spec.Endpoint == "" {
				return nil, errors.New("endpoint is required")
			}
			m.generating(title)
			spec.Interval, spec.Timeout = meta.NewDuration(m.interval), optionalDuration(m.fetchTimeout)
			spec.SecretRef, spec.ProxySecretRef, spec.Ignore = localRef(secret), localRef(proxy), ignoreRules(ignore)
			obj := &sourcev1.Bucket{Spec: spec}
			if m.export || secret != "" || accessKey == "" || secretKey == "" {
				return obj, nil
			}
			obj.Spec.SecretRef = localRef(name)
			return obj, m.credentials(ctx, "bucket", secretDoc{name: name, data: map[string]string{"accesskey": accessKey, "secretkey": secretKey}})
		},
		done: fetchedLines(title),
	})
}

// credentials writes the Secret of a source and says so.
func (m *maker) credentials(ctx context.Context, what string, d secretDoc) error {
	m.Log.Actionf("applying secret with %s credentials", what)
	if err := m.applySecret(ctx, d); err != nil {
		return err
	}
	m.Log.Successf("authentication configured")
	return nil
}

func (m *maker) helmRepository() *cobra.Command {
	const title = "HelmRepository source"
	var spec sourcev1.HelmRepositorySpec
	var secret, ca string
	var user login
	var tls tlsFiles
	return m.command(recipe{
		kind:    kinds.HelmRepository,
		title:   title,
		made:    "source",
		short:   "Create or change a HelmRepository source",
		example: "  flux create source helm podinfo --url=https://stefanprodan.github.io/podinfo\n\n  # charts in a registry\n  flux create source helm podinfo --url=oci://ghcr.io/stefanprodan/charts",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&spec.URL, "url", "", "address of the repository: https, http or oci")
			user.define(flags)
			flags.StringVar(&tls.cert, "cert-file", "", "client certificate, PEM encoded")
			flags.StringVar(&tls.key, "key-file", "", "key of the client certificate, PEM encoded")
			flags.StringVar(&ca, "ca-file", "", "certificates, PEM encoded, that sign the server's")
			flags.StringVar(&secret, "secret-ref", "", "existing Secret with the credentials")
			flags.StringVar(&spec.Provider, "oci-provider", "", "who authenticates at a registry: generic, aws, azure or gcp")
			flags.BoolVar(&spec.PassCredentials, "pass-credentials", false, "send the credentials to every host that the index names")
		},
		build: func(ctx context.Context, name string) (meta.Object, error) {
			if spec.URL == "" {
				return nil, errors.New("url is required")
			}
			u, err := url.Parse(spec.URL)
			if err != nil {
				return nil, fmt.Errorf("url parse failed: %w", err)
			}
			if u.Scheme == "oci" {
				spec.Type = "oci"
			}
			m.generating(title)
			spec.Interval, spec.Timeout = meta.DurationPtr(m.interval), optionalDuration(m.fetchTimeout)
			spec.SecretRef = localRef(secret)
			obj := &sourcev1.HelmRepository{Spec: spec}
			if m.export || secret != "" {
				return obj, nil
			}
			d := secretDoc{name: name}
			if user.username != "" && user.password != "" {
				user.addTo(&d)
			}
			tls.ca = ca
			if err := tls.addTo(&d); err != nil || len(d.data) == 0 {
				return obj, err
			}
			d.kind = corev1.SecretTypeOpaque
			obj.Spec.SecretRef = localRef(name)
			return obj, m.credentials(ctx, "repository", d)
		},
		done: fetchedLines(title),
	})
}

func (m *maker) helmChart() *cobra.Command {
	const title = "HelmChart source"
	source := reference{kinds: []string{"HelmRepository", "GitRepository", "Bucket"}, fallback: "HelmRepository", typeName: "helmChartSource", what: "source"}
	spec := sourcev1.HelmChartSpec{ReconcileStrategy: "ChartVersion"}
	var verify verification
	return m.command(recipe{
		kind:    kinds.HelmChart,
		title:   title,
		short:   "Create or change a HelmChart source",
		example: "  flux create source chart podinfo --source=HelmRepository/podinfo --chart=podinfo --chart-version=\">=6.0.0\"",
		flags: func(flags *pflag.FlagSet) {
			flags.Var(&source, "source", "source of the chart, as <kind>/<name>; kinds: HelmRepository, GitRepository, Bucket")
			flags.StringVar(&spec.Chart, "chart", "", "name or path of the chart")
			flags.StringVar(&spec.Version, "chart-version", "", "version of the chart, or a range of versions")
			flags.StringVar(&spec.ReconcileStrategy, "reconcile-strategy", "ChartVersion", "what makes a new chart: ChartVersion or Revision")
			verify.define(flags)
		},
		build: func(context.Context, string) (meta.Object, error) {
			if source.name == "" {
				return nil, errors.New("chart source is required")
			}
			if spec.Chart == "" {
				return nil, errors.New("chart name or path is required")
			}
			if err := verify.check(); err != nil {
				return nil, err
			}
			m.Log.Generatef("generating %s", title)
			spec.Interval = meta.NewDuration(m.interval)
			spec.SourceRef = sourcev1.LocalHelmChartSourceReference{Kind: source.kind, Name: source.name}
			if verify.provider != "" {
				spec.Verify = &sourcev1.HelmChartVerification{Provider: verify.provider, SecretRef: localRef(verify.secret), MatchOIDCIdentity: verify.identities()}
			}
			return &sourcev1.HelmChart{Spec: spec}, nil
		},
		done: fetchedLines(title),
	})
}
