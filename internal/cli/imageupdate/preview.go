// Package imageupdate previews what image automations would commit.
package imageupdate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/edits"
	"github.com/gitops-toolkit/flux/internal/image/spec"
)

// Command returns `flux image`.
func Command(s *session.Session) *cobra.Command {
	root := &cobra.Command{
		Use:   "image",
		Short: "Look into image automation",
		Long:  "The image commands tell what image automation would do, without doing it.",
	}
	root.AddCommand(preview(s))
	return root
}

func preview(s *session.Session) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "preview [name]",
		Short: "Print the lines that an ImageUpdateAutomation would change",
		Long: "The preview command fetches the branch that an ImageUpdateAutomation pushes to, with the credentials of its GitRepository, and prints each line " +
			"that it would change, and the markers that nothing can be written to. Nothing is committed. It needs the right to read Secrets.",
		Example:           "  # what would be committed now\n  flux image preview fleet",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: session.CompleteNames(s, kinds.ImageUpdateAutomation.Resource),
	}
	cmd.RunE = s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
		v := &viewer{Session: s, cluster: c}
		return v.preview(ctx, args[0])
	})
	return cmd
}

// viewer previews one automation.
type viewer struct {
	*session.Session
	cluster *cluster.Client
}

func (v *viewer) preview(ctx context.Context, name string) error {
	obj := &imagev1.ImageUpdateAutomation{}
	if err := v.cluster.Get(ctx, kinds.ImageUpdateAutomation.Resource, v.Namespace, name, obj); err != nil {
		return err
	}
	if obj.Spec.GitSpec == nil {
		return errors.New("the automation has no spec.git")
	}
	repo := &sourcev1.GitRepository{}
	source := types.NamespacedName{Namespace: cmp.Or(obj.Spec.SourceRef.Namespace, v.Namespace), Name: obj.Spec.SourceRef.Name}
	if err := v.cluster.Get(ctx, kinds.GitRepository.Resource, source.Namespace, source.Name, repo); err != nil {
		return err
	}
	images, err := v.images(ctx, obj)
	if err != nil {
		return err
	}
	branch, err := spec.PushBranch(obj, repo)
	if err != nil {
		return err
	}
	plan, revision, err := v.plan(ctx, obj, repo, branch, images)
	if err != nil {
		return err
	}
	v.print(obj, plan, revision, branch)
	return nil
}

// images are what the policies of the automation have chosen.
func (v *viewer) images(ctx context.Context, obj *imagev1.ImageUpdateAutomation) (map[string]imagev1.ImageRef, error) {
	selector := labels.Everything()
	if s := obj.Spec.PolicySelector; s != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(s); err != nil {
			return nil, fmt.Errorf("spec.policySelector: %w", err)
		}
	}
	var policies []imagev1.ImagePolicy
	_, err := v.cluster.List(ctx, kinds.ImagePolicy.Resource, cluster.ListOptions{Namespace: v.Namespace}, func(raw json.RawMessage) error {
		var p imagev1.ImagePolicy
		err := json.Unmarshal(raw, &p)
		policies = append(policies, p)
		return err
	})
	return spec.Selected(policies, selector), err
}

// plan fetches what the commit would build on, and finds out what would change.
func (v *viewer) plan(ctx context.Context, obj *imagev1.ImageUpdateAutomation, repo *sourcev1.GitRepository, branch string, images map[string]imagev1.ImageRef) (plan edits.Plan, revision string, err error) {
	clouds := cloud.New(cloud.Options{})
	way := access.Git{Foreign: true, Secrets: kinds.Reader{Client: v.cluster}, Accounts: accounts{}, Tokens: githubapp.NewTokens(githubapp.Options{}), Clouds: clouds}
	remote, _, err := way.Remote(ctx, logr.Discard(), repo)
	if err != nil {
		return plan, "", err
	}
	dir, err := os.MkdirTemp("", "flux-image-preview-")
	if err != nil {
		return plan, "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := gitrepo.NewStore(dir, gitrepo.Options{})
	if err != nil {
		return plan, "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	v.Log.Actionf("fetching branch %s of %s", branch, gitrepo.RedactURL(repo.Spec.URL))
	rev, err := store.Resolve(ctx, remote, gitrepo.Reference{Branch: branch})
	if errors.Is(err, gitrepo.ErrReference) { // The first push will make the branch.
		rev, err = store.Resolve(ctx, remote, spec.CheckoutRef(obj, repo))
	}
	if err != nil {
		return plan, "", err
	}
	var below string
	if u := obj.Spec.Update; u != nil {
		below = u.Path
	}
	snap, err := store.FetchFiles(ctx, remote, rev, edits.Clean(below), edits.IsYAML)
	if err != nil {
		return plan, "", err
	}
	defer snap.Close()
	plan, err = new(edits.Finder).Plan(ctx, snap, below, spec.Lookup(obj.Namespace, images))
	return plan, rev.String(), err
}

func (v *viewer) print(obj *imagev1.ImageUpdateAutomation, plan edits.Plan, revision, branch string) {
	dir := ""
	if u := obj.Spec.Update; u != nil {
		dir = edits.Clean(u.Path)
	}
	for _, c := range plan.Changes {
		fmt.Fprintf(v.Out, "%s:%d: %s -> %s (%s)\n", path.Join(dir, c.File), c.Line, printed(c.Old), printed(c.New), c.Setter)
	}
	for _, s := range plan.Skipped {
		at := path.Join(dir, s.File)
		if s.Line > 0 {
			at = fmt.Sprintf("%s:%d", at, s.Line)
		}
		v.Log.Warningf("%s: skipped: %s", at, s.Why)
	}
	if len(plan.Changes) == 0 {
		v.Log.Successf("nothing to change at %s", revision)
		return
	}
	v.Log.Successf("%d values in %d files would be pushed to branch %s, on top of %s", len(plan.Changes), len(plan.Edits), branch, revision)
}

// printed shows that an empty value is one.
func printed(value string) string {
	if value == "" {
		return `""`
	}
	return value
}

// accounts has no identities at clouds.
type accounts struct{}

// CheckCloudAccount refuses what only the controller can do.
func (accounts) CheckCloudAccount(named, field, _ string) error {
	if named == "" {
		return nil
	}
	return fmt.Errorf("%s: the identity of a ServiceAccount at a cloud is the controller's to use", field)
}

// CloudAccount stands for the identity of whoever runs the command.
func (accounts) CloudAccount(context.Context, string, string, string) (*corev1.ServiceAccount, error) {
	return nil, nil
}
