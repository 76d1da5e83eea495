// Package info tells what is installed: versions, checks and figures about the controllers.
package info

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/version"
)

const (
	partOfLabel    = "app.kubernetes.io/part-of"
	versionLabel   = "app.kubernetes.io/version"
	markerCRD      = "gitrepositories.source.toolkit.fluxcd.io"
	ownerNameLabel = "kustomize.toolkit.fluxcd.io/name"
	ownerNSLabel   = "kustomize.toolkit.fluxcd.io/namespace"
)

// VersionCommand returns `flux version`.
func VersionCommand(s *session.Session) *cobra.Command {
	var clientOnly bool
	var output string
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of this program and of the installed controllers",
		Example: "  # of everything\n  flux version\n\n  # of this program, without asking a cluster\n  flux version --client",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "print only the version of this program")
	cmd.Flags().StringVarP(&output, "output", "o", "yaml", "format: yaml or json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if output != "yaml" && output != "json" {
			return fmt.Errorf("--output must be json or yaml, not %s", output)
		}
		versions := map[string]string{"flux": version.Version}
		if clientOnly {
			return printVersions(s, output, versions)
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, _ []string) error {
			if err := installedVersions(ctx, c, s.Namespace, versions); err != nil {
				return err
			}
			return printVersions(s, output, versions)
		})(cmd, args)
	}
	return cmd
}

func installedVersions(ctx context.Context, c *cluster.Client, namespace string, into map[string]string) error {
	deployments, err := cluster.All[appsv1.Deployment](ctx, c, kinds.Deployments, cluster.ListOptions{Namespace: namespace, Labels: kinds.PartOf})
	if err != nil {
		return err
	}
	if len(deployments) == 0 {
		return fmt.Errorf("no deployments found in %s namespace", namespace)
	}
	for _, deployment := range deployments {
		for _, container := range deployment.Spec.Template.Spec.Containers {
			into[deployment.Name] = imageTag(container.Image)
			break
		}
	}
	if installed, err := readInstall(ctx, c); err == nil && installed.distribution != "" {
		into["distribution"] = installed.distribution
	}
	return nil
}

// imageTag returns what follows the repository of an image: its tag, or its digest when it has
// no tag.
func imageTag(image string) string {
	name, digest, _ := strings.Cut(image, "@")
	base := name[strings.LastIndex(name, "/")+1:]
	if _, tag, ok := strings.Cut(base, ":"); ok {
		return tag
	}
	return digest
}

// installation is what the labels of the marker CRD tell.
type installation struct {
	distribution string
	bootstrapped bool
}

func readInstall(ctx context.Context, c *cluster.Client) (installation, error) {
	var crd metav1.PartialObjectMetadata
	if err := c.Get(ctx, kinds.CRDs, "", markerCRD, &crd); err != nil {
		return installation{}, err
	}
	var found installation
	labels := crd.Labels
	if labels[partOfLabel] != "" && labels[versionLabel] != "" {
		found.distribution = labels[partOfLabel] + "-" + labels[versionLabel]
	}
	found.bootstrapped = labels[ownerNameLabel] != "" && labels[ownerNSLabel] != ""
	return found, nil
}

func printVersions(s *session.Session, output string, versions map[string]string) error {
	if output == "json" {
		text, err := json.MarshalIndent(versions, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.Out, "%s\n", text)
		return err
	}
	rest := map[string]string{}
	fmt.Fprintf(s.Out, "flux: %s\n", versions["flux"])
	for name, value := range versions {
		if name != "flux" {
			rest[name] = value
		}
	}
	if len(rest) == 0 {
		return nil
	}
	text, err := yaml.Marshal(rest)
	if err != nil {
		return err
	}
	_, err = s.Out.Write(text)
	return err
}
