package create

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/value"
)

func completed(kind string) func(meta.Object) []string {
	return func(meta.Object) []string { return []string{kind + " reconciliation completed"} }
}

func (m *maker) imageRepository() *cobra.Command {
	var image, secret, cert string
	var timeout time.Duration
	return m.command(recipe{
		kind:    kinds.ImageRepository,
		short:   "Create or change an ImageRepository",
		example: "  flux create image repository podinfo --image=ghcr.io/stefanprodan/podinfo --interval=5m",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&image, "image", "", "image without tag")
			flags.StringVar(&secret, "secret-ref", "", "existing Secret with the registry's credentials")
			flags.StringVar(&cert, "cert-ref", "", "existing Secret with TLS certificates")
			flags.DurationVar(&timeout, "scan-timeout", 0, "time limit of one scan")
		},
		build: func(context.Context, string) (meta.Object, error) {
			if image == "" {
				return nil, errors.New("an image repository (--image) is required")
			}
			m.generating("ImageRepository")
			obj := &imagev1.ImageRepository{}
			obj.Spec = imagev1.ImageRepositorySpec{
				Image: image, Interval: meta.NewDuration(m.interval), Timeout: optionalDuration(timeout),
				SecretRef: localRef(secret), CertSecretRef: localRef(cert),
			}
			return obj, nil
		},
		done: completed("ImageRepository"),
	})
}

type policyFlags struct {
	image, semver, alpha, numeric string
	pattern, extract, reflect     string
	interval                      time.Duration
	made                          string // the ImageRepository that this command has made
}

func (m *maker) imagePolicy() *cobra.Command {
	f := &policyFlags{}
	return m.command(recipe{
		kind:    kinds.ImagePolicy,
		short:   "Create or change an ImagePolicy",
		example: "  flux create image policy podinfo --image-ref=podinfo --select-semver=\">=1.0.0\"\n\n  # find or create the ImageRepository of an image; the latest stable release\n  flux create image policy podinfo --image-ref=ghcr.io/stefanprodan/podinfo\n\n  # by the build number in the tag\n  flux create image policy podinfo --image-ref=podinfo --select-numeric=asc --filter-regex='^main-(?P<n>[0-9]+)$' --filter-extract='$n'",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&f.image, "image-ref", "", "ImageRepository to choose from, or the address of an image, whose ImageRepository is found or created")
			flags.StringVar(&f.semver, "select-semver", "", "choose the latest version in this range")
			flags.StringVar(&f.alpha, "select-alpha", "", "choose by the alphabet: asc or desc")
			flags.StringVar(&f.numeric, "select-numeric", "", "choose by number: asc or desc")
			flags.StringVar(&f.pattern, "filter-regex", "", "regular expression that tags must match")
			flags.StringVar(&f.extract, "filter-extract", "", "what of the match is compared, such as $version")
			flags.StringVar(&f.reflect, "reflect-digest", "", "whether the digest is written: Always, IfNotPresent or Never")
			flags.DurationVar(&f.interval, "interval", 0, "how often the digest is looked up, with --reflect-digest=Always")
		},
		build: func(ctx context.Context, _ string) (meta.Object, error) { return f.build(ctx, m) },
		needs: func(ctx context.Context, c *cluster.Client) error { return f.scanned(ctx, m, c) },
		done:  completed("ImagePolicy"),
	})
}

func (f *policyFlags) build(ctx context.Context, m *maker) (meta.Object, error) {
	if f.image == "" {
		return nil, errors.New("the name of an ImageRepository in the same namespace is required (--image-ref)")
	}
	obj := &imagev1.ImagePolicy{}
	choice, err := f.choice(m)
	if err != nil {
		return nil, err
	}
	filter, err := f.filter()
	if err != nil {
		return nil, err
	}
	switch f.reflect {
	case "", "Always", "IfNotPresent", "Never":
	default:
		return nil, fmt.Errorf("invalid --reflect-digest '%s', must be one of: Always, IfNotPresent, Never", f.reflect)
	}
	if f.interval != 0 && f.reflect != "Always" {
		return nil, errors.New("--interval makes sense only with --reflect-digest=Always")
	}
	repository := f.image
	if strings.Contains(f.image, "/") { // No name of an object has a slash.
		if repository, err = f.repositoryOf(ctx, m, f.image); err != nil {
			return nil, err
		}
	}
	m.generating("ImagePolicy")
	obj.Spec = imagev1.ImagePolicySpec{
		ImageRepositoryRef: meta.NamespacedObjectReference{Name: repository}, Policy: choice, FilterTags: filter,
		DigestReflectionPolicy: f.reflect, Interval: optionalDuration(f.interval),
	}
	return obj, nil
}

func (f *policyFlags) choice(m *maker) (imagev1.ImagePolicyChoice, error) {
	var choice imagev1.ImagePolicyChoice
	given := 0
	for _, selector := range []string{f.semver, f.alpha, f.numeric} {
		if selector != "" {
			given++
		}
	}
	switch {
	case given == 0:
		m.Log.Actionf("no policy given: the latest stable release is chosen (--select-semver='*')")
		choice.SemVer = &imagev1.SemVerPolicy{Range: "*"}
		return choice, nil
	case given > 1:
		return choice, errors.New("only one of --select-semver, --select-alpha and --select-numeric can be specified")
	case f.semver != "":
		if _, err := semver.NewConstraint(f.semver); err != nil {
			return choice, fmt.Errorf("--select-semver '%s' is no range of versions, such as '>=1.0.0 <2.0.0' or '1.x': %w", f.semver, err)
		}
		choice.SemVer = &imagev1.SemVerPolicy{Range: f.semver}
		return choice, nil
	}
	order := f.alpha + f.numeric
	if order != "asc" && order != "desc" {
		return choice, fmt.Errorf("invalid order '%s', must be asc or desc", order)
	}
	if f.alpha != "" {
		choice.Alphabetical = &imagev1.AlphabeticalPolicy{Order: order}
	} else {
		choice.Numerical = &imagev1.NumericalPolicy{Order: order}
	}
	return choice, nil
}

func (f *policyFlags) filter() (*imagev1.TagFilter, error) {
	if f.pattern == "" && f.extract == "" {
		return nil, nil
	}
	if f.pattern == "" {
		return nil, errors.New("--filter-extract needs --filter-regex")
	}
	expression, err := regexp.Compile(f.pattern)
	if err != nil {
		return nil, fmt.Errorf("--filter-regex is no regular expression: %w", err)
	}
	if name := groupName(f.extract); name != "" && expression.SubexpIndex(name) < 0 {
		return nil, fmt.Errorf("--filter-extract: the group '%s' is not in --filter-regex", name)
	}
	return &imagev1.TagFilter{Pattern: f.pattern, Extract: f.extract}, nil
}

// groupName returns the name in a plain $name or ${name}, empty for anything else.
func groupName(template string) string {
	name, ok := strings.CutPrefix(template, "$")
	if !ok {
		return ""
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "{"), "}")
	if !regexp.MustCompile(`^[A-Za-z_]\w*$`).MatchString(name) {
		return ""
	}
	return name
}

type updateFlags struct {
	repository, repositoryNamespace, path string
	checkout, push                        string
	template, author, email               string
	signingSecret, signingType            string
}

func (m *maker) imageUpdate() *cobra.Command {
	f := &updateFlags{}
	return m.command(recipe{
		kind:    kinds.ImageUpdateAutomation,
		short:   "Create or change an ImageUpdateAutomation",
		example: "  flux create image update fleet --git-repo-ref=fleet --git-repo-path=./apps --checkout-branch=main --push-branch=main --author-name=flux --author-email=flux@example.com",
		flags: func(flags *pflag.FlagSet) {
			flags.StringVar(&f.repository, "git-repo-ref", "", "GitRepository to write to")
			flags.StringVar(&f.repositoryNamespace, "git-repo-namespace", "", "namespace of the GitRepository")
			flags.StringVar(&f.path, "git-repo-path", "", "directory whose manifests are changed")
			flags.StringVar(&f.checkout, "checkout-branch", "", "branch to start from")
			flags.StringVar(&f.push, "push-branch", "", "branch to push to, the one started from when empty")
			flags.StringVar(&f.template, "commit-template", "", "template of the commit message")
			flags.StringVar(&f.author, "author-name", "", "name of the commit's author")
			flags.StringVar(&f.email, "author-email", "", "e-mail address of the commit's author")
			flags.StringVar(&f.signingSecret, "signing-key-secret", "", "Secret with the key that signs commits")
			flags.Var(value.OneOf(&f.signingType, "signing key type", "gpg", "ssh").Named("string"), "signing-key-type", "kind of the signing key: gpg or ssh")
		},
		build: func(context.Context, string) (meta.Object, error) { return f.build(m) },
		done:  completed("ImageUpdateAutomation"),
	})
}

func (f *updateFlags) build(m *maker) (meta.Object, error) {
	switch {
	case f.repository == "":
		return nil, errors.New("a reference to a GitRepository is required (--git-repo-ref)")
	case f.checkout == "":
		return nil, errors.New("the Git repository branch is required (--checkout-branch)")
	case f.author == "":
		return nil, errors.New("the author name is required (--author-name)")
	case f.email == "":
		return nil, errors.New("the author email is required (--author-email)")
	case f.signingType != "" && f.signingSecret == "":
		return nil, errors.New("--signing-key-type needs --signing-key-secret")
	}
	m.generating("ImageUpdateAutomation")
	obj := &imagev1.ImageUpdateAutomation{}
	obj.Spec = imagev1.ImageUpdateAutomationSpec{
		SourceRef: imagev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: f.repository, Namespace: f.repositoryNamespace},
		Interval:  meta.NewDuration(m.interval),
		GitSpec: &imagev1.GitSpec{
			Checkout: &imagev1.GitCheckoutSpec{Reference: imagev1.GitRepositoryRef{Branch: f.checkout}},
			Commit:   imagev1.CommitSpec{Author: imagev1.CommitUser{Name: f.author, Email: f.email}, MessageTemplate: f.template},
		},
	}
	if f.push != "" {
		obj.Spec.GitSpec.Push = &imagev1.PushSpec{Branch: f.push}
	}
	if f.signingSecret != "" {
		obj.Spec.GitSpec.Commit.SigningKey = &imagev1.SigningKey{SecretRef: meta.LocalObjectReference{Name: f.signingSecret}, Type: f.signingType}
	}
	if f.path != "" {
		obj.Spec.Update = &imagev1.UpdateStrategy{Path: f.path, Strategy: "Setters"}
	}
	return obj, nil
}
