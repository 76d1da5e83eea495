package artifact

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// attached are the suffixes of tags that hold signatures and the like, not artifacts.
var attached = []string{".sig", ".att", ".sbom"}

// parallel is how many manifests are read at once.
const parallel = 6

type listFlags struct {
	remoteFlags
	semver, regex string
}

func listCommand(s *session.Session) *cobra.Command {
	f := &listFlags{}
	cmd := &cobra.Command{
		Use:     "artifacts",
		Short:   "List the artifacts of a repository",
		Long:    "The command lists the tags of a repository with their digests and where their content comes from.",
		Example: "  # all\n  flux list artifacts oci://ghcr.io/org/config/app\n\n  # the versions in a range\n  flux list artifacts oci://ghcr.io/org/config/app --filter-semver=\"1.x\"",
	}
	f.define(cmd.Flags(), true)
	cmd.Flags().StringVar(&f.semver, "filter-semver", "", "range of versions that a tag must be in")
	cmd.Flags().StringVar(&f.regex, "filter-regex", "", "regular expression that a tag must match")
	cmd.RunE = run(s, func(ctx context.Context, url string) error { return f.list(ctx, s, url) })
	return cmd
}

// filter returns what decides about a tag.
func (f *listFlags) filter() (func(tag string) bool, error) {
	var constraint *semver.Constraints
	var pattern *regexp.Regexp
	var err error
	if f.semver != "" {
		if constraint, err = semver.NewConstraint(f.semver); err != nil {
			return nil, fmt.Errorf("--filter-semver '%s': %w", f.semver, err)
		}
	}
	if f.regex != "" {
		if pattern, err = regexp.Compile(f.regex); err != nil {
			return nil, fmt.Errorf("--filter-regex '%s': %w", f.regex, err)
		}
	}
	return func(tag string) bool {
		if slices.ContainsFunc(attached, func(suffix string) bool { return strings.HasSuffix(tag, suffix) }) {
			return false
		}
		if pattern != nil && !pattern.MatchString(tag) {
			return false
		}
		if constraint == nil {
			return true
		}
		version, err := semver.NewVersion(tag)
		return err == nil && constraint.Check(version)
	}, nil
}

func (f *listFlags) list(ctx context.Context, s *session.Session, url string) error {
	wanted, err := f.filter()
	if err != nil {
		return err
	}
	l, err := registry.ParseLocation(url)
	if err != nil {
		return err
	}
	repo, err := f.open(ctx, l)
	if err != nil {
		return err
	}
	var tags []string
	err = repo.Tags(ctx, func(tag string) {
		if wanted(tag) {
			tags = append(tags, tag)
		}
	})
	if err != nil {
		return fmt.Errorf("listing tags failed: %w", err)
	}
	slices.Sort(tags)
	slices.Reverse(tags)
	rows := make([][]string, len(tags))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, tag := range tags {
		group.Go(func() error {
			digest, annotations, err := repo.Describe(ctx, tag)
			if err != nil {
				return fmt.Errorf("fetching the manifest of '%s' failed: %w", tag, err)
			}
			rows[i] = []string{repo.Name() + ":" + tag, digest, annotations[registry.AnnotationSource], annotations[registry.AnnotationRevision]}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	table := ui.Table{Header: []string{"artifact", "digest", "source", "revision"}, Rows: rows}
	return table.Write(s.Out)
}
