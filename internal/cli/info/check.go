package info

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/doctor"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/version"
)

// kubernetesConstraint is what the API server must be.
const kubernetesConstraint = ">=1.33.0-0"

var errCheckFailed = errors.New("check failed")

type checkFlags struct {
	pre        bool
	components []string
	extra      []string
	named      bool // the person said which components must be there
	poll       time.Duration
}

// CheckCommand returns `flux check`.
func CheckCommand(s *session.Session) *cobra.Command {
	f := &checkFlags{}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the cluster and the installation",
		Long: `The check command tells whether the cluster can run the controllers and whether those that are installed are ready.

It also looks for what keeps them from working, and says nothing of it when there is nothing: permissions that a
controller or the account that it applies as lacks, with the roles that give them (on stdout, ready for kubectl apply);
webhooks that do not answer, policies and quotas that refuse, API versions that are gone or going, and deletions
that do not end. It changes nothing. Only a permission that a controller itself lacks makes the check fail.`,
		Example: "  # before an installation\n  flux check --pre\n\n  # after it\n  flux check\n\n  # give the controllers and the tenants what they lack\n  flux check > roles.yaml; less roles.yaml; kubectl apply -f roles.yaml",
		Args:    cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.pre, "pre", false, "check only what an installation needs")
	flags.StringSliceVar(&f.components, "components", []string{"source-controller", "kustomize-controller", "helm-controller", "notification-controller"}, "controllers that must be installed, when given")
	flags.StringSliceVar(&f.extra, "components-extra", nil, "more controllers that must be installed")
	flags.DurationVar(&f.poll, "poll-interval", 5*time.Second, "how often a controller that is not ready is looked at again, within --timeout")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.named = cmd.Flags().Changed("components") || len(f.extra) > 0
		return s.Run(func(ctx context.Context, c *cluster.Client, _ []string) error {
			return f.run(ctx, &checker{Session: s, client: c})
		})(cmd, args)
	}
	return cmd
}

type checker struct {
	*session.Session
	client *cluster.Client
}

func (f *checkFlags) run(ctx context.Context, c *checker) error {
	c.Log.Actionf("checking prerequisites")
	c.newer(ctx)
	ok := c.kubernetes(ctx)
	if f.pre {
		c.mayInstall(ctx)
		if !ok {
			return errCheckFailed
		}
		c.Log.Successf("prerequisites checks passed")
		return nil
	}
	c.Log.Actionf("checking version in cluster")
	ok = c.installed(ctx) && ok
	c.Log.Actionf("checking controllers")
	deployments, ready := f.controllers(ctx, c)
	ok = ready && ok
	c.Log.Actionf("checking crds")
	ok = c.crds(ctx) && ok
	ok = c.examine(ctx, deployments) && ok
	if !ok {
		return errCheckFailed
	}
	c.Log.Successf("all checks passed")
	return nil
}

// releaseTimeout bounds the question for a newer release, which is not worth waiting for.
const releaseTimeout = 2 * time.Second

// newer says that there is a newer release of this program. Without a network, and for
// pre-releases, it says nothing.
func (c *checker) newer(ctx context.Context) {
	own, err := semver.NewVersion(version.Version)
	if err != nil || own.Prerelease() != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	tag, err := install.DefaultReleases().Latest(ctx)
	if err != nil {
		return
	}
	if latest, err := semver.NewVersion(tag); err == nil && latest.GreaterThan(own) {
		c.Log.Failuref("flux %s <%s (new CLI version is available, please upgrade)", own, latest)
	}
}

func (c *checker) kubernetes(ctx context.Context) bool {
	var server struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := c.client.Version(ctx, &server); err != nil {
		c.Log.Failuref("Kubernetes API call failed: %s", err)
		return false
	}
	found, err := semver.NewVersion(server.GitVersion)
	if err != nil {
		c.Log.Failuref("Kubernetes version can't be determined from '%s': %s", server.GitVersion, err)
		return false
	}
	constraint, err := semver.NewConstraint(kubernetesConstraint)
	if err != nil {
		c.Log.Failuref("%s", err)
		return false
	}
	if !constraint.Check(found) {
		c.Log.Failuref("Kubernetes version %s does not match %s", found.Original(), kubernetesConstraint)
		return false
	}
	c.Log.Successf("Kubernetes %s %s", found.String(), kubernetesConstraint)
	return true
}

func (c *checker) installed(ctx context.Context) bool {
	found, err := readInstall(ctx, c.client)
	if err != nil {
		c.Log.Failuref("checking failed: %s", err)
		return false
	}
	c.Log.Successf("distribution: %s", found.distribution)
	c.Log.Successf("bootstrapped: %t", found.bootstrapped)
	return true
}

// mayInstall says what the person would be refused; a server that does not tell is not asked again.
func (c *checker) mayInstall(ctx context.Context) {
	for _, r := range doctor.ToInstall {
		verbs, err := doctor.Lacking(ctx, c.client, r.Group, r.Plural, "create", "patch")
		if err != nil {
			return
		}
		if len(verbs) > 0 {
			c.Log.Warningf("you may not %s %s, which `flux install` and `flux bootstrap` do: ask for the role cluster-admin, or let its holder run them", strings.Join(verbs, ", "), r.GroupResource())
		}
	}
}

// examine looks for what keeps the controllers from working.
func (c *checker) examine(ctx context.Context, deployments []appsv1.Deployment) bool {
	if len(deployments) == 0 {
		return true
	}
	d := &doctor.Doctor{Client: c.client, Discovery: c.Discovery(c.client), Log: c.Log, Out: c.Out}
	ok, err := d.Examine(ctx, deployments)
	if err != nil {
		c.Log.Warningf("not everything could be looked at: %s", err)
	}
	return ok
}

// controllers waits for each, and returns what there is.
func (f *checkFlags) controllers(ctx context.Context, c *checker) ([]appsv1.Deployment, bool) {
	deployments, err := cluster.All[appsv1.Deployment](ctx, c.client, kinds.Deployments, cluster.ListOptions{Namespace: c.Namespace, Labels: kinds.PartOf})
	if err != nil {
		c.refused(err)
		return nil, false
	}
	if len(deployments) == 0 {
		c.Log.Failuref("no controllers found in the '%s' namespace with the label selector '%s'", c.Namespace, kinds.PartOf)
		return nil, false
	}
	ok := true
	for i := range deployments {
		ok = f.controller(ctx, c, &deployments[i]) && ok
	}
	if !f.named {
		return deployments, ok
	}
	for _, name := range append(slices.Clone(f.components), f.extra...) {
		if !slices.ContainsFunc(deployments, func(d appsv1.Deployment) bool { return d.Name == name }) {
			c.Log.Failuref("%s: deployment not found", name)
			ok = false
		}
	}
	return deployments, ok
}

// controller waits until the Deployment is ready, or tells why it is not.
func (f *checkFlags) controller(ctx context.Context, c *checker, d *appsv1.Deployment) bool {
	problem := notReady(d)
	for problem != "" && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(f.poll):
			if err := c.client.Get(ctx, kinds.Deployments, d.Namespace, d.Name, d); apierrors.IsNotFound(err) {
				c.Log.Failuref("%s: deployment not found", d.Name)
				return false
			}
			problem = notReady(d)
		}
	}
	if problem == "" {
		c.Log.Successf("%s: deployment ready", d.Name)
	} else {
		c.Log.Failuref("%s: deployment not ready: %s", d.Name, problem)
	}
	for _, container := range d.Spec.Template.Spec.Containers {
		c.Log.Actionf("%s", container.Image)
	}
	return problem == ""
}

// refused tells why a list could not be had; that the API server cannot be reached has been told.
func (c *checker) refused(err error) {
	if apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
		c.Log.Failuref("%s", err)
	}
}

// notReady says what a rollout still lacks, nothing when it is complete.
func notReady(d *appsv1.Deployment) string {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	status := d.Status
	switch {
	case status.ObservedGeneration < d.Generation:
		return "its last change has not been seen yet"
	case status.UpdatedReplicas < want:
		return fmt.Sprintf("%d of %d replicas are up to date", status.UpdatedReplicas, want)
	case status.AvailableReplicas < want:
		return fmt.Sprintf("%d of %d replicas are available", status.AvailableReplicas, want)
	}
	return ""
}

func (c *checker) crds(ctx context.Context) bool {
	list, err := cluster.All[apiextensionsv1.CustomResourceDefinition](ctx, c.client, kinds.CRDs, cluster.ListOptions{Labels: kinds.PartOf})
	if err != nil {
		c.refused(err)
		return false
	}
	if len(list) == 0 {
		c.Log.Failuref("no crds found with the label selector '%s'", kinds.PartOf)
		return false
	}
	slices.SortFunc(list, func(a, b apiextensionsv1.CustomResourceDefinition) int { return strings.Compare(a.Name, b.Name) })
	ok := true
	for _, crd := range list {
		stored := crd.Status.StoredVersions
		if len(stored) == 0 {
			c.Log.Failuref("no stored versions for %s", crd.Name)
			ok = false
			continue
		}
		c.Log.Successf("%s/%s", crd.Name, stored[len(stored)-1])
	}
	return ok
}
