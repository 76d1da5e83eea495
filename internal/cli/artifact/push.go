package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/logs"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// pushed is what push prints for programs.
type pushed struct {
	URL        string `json:"url"`
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	Digest     string `json:"digest"`
}

type pushFlags struct {
	fileFlags
	remoteFlags
	source, revision, output string
	annotations              []string
	reproducible, debug      bool
}

func pushCommand(s *session.Session) *cobra.Command {
	f := &pushFlags{}
	cmd := &cobra.Command{
		Use:   "artifact",
		Short: "Push manifests to a registry",
		Long: "The command archives the manifests of a directory, a file or standard input, and pushes them as an artifact that an OCIRepository can follow. " +
			"Without --creds the login is that of the Docker configuration.",
		Example: `  # what is checked out, with where it comes from
  flux push artifact oci://ghcr.io/org/config/app:$(git rev-parse --short HEAD) \
    --path="./deploy" \
    --source="$(git config --get remote.origin.url)" \
    --revision="$(git branch --show-current)@sha1:$(git rev-parse HEAD)"`,
	}
	flags := cmd.Flags()
	f.fileFlags.define(flags, "f", true)
	f.remoteFlags.define(flags, true)
	flags.StringVar(&f.source, "source", "", "address that the manifests come from, such as that of the Git repository")
	flags.StringVar(&f.revision, "revision", "", "revision of the source as <branch|tag>@sha1:<commit>")
	flags.StringArrayVarP(&f.annotations, "annotations", "a", nil, "annotations of the artifact as <key>=<value>")
	flags.StringVarP(&f.output, "output", "o", "", "print the result as json or yaml instead of telling the progress")
	flags.BoolVar(&f.reproducible, "reproducible", false, "leave the time of creation out, so that equal content gives an equal digest")
	flags.BoolVar(&f.debug, "debug", false, "print the requests to the registry, without credentials")
	cmd.RunE = run(s, func(ctx context.Context, url string) error { return f.push(ctx, s, url) })
	return cmd
}

func (f *pushFlags) push(ctx context.Context, s *session.Session, url string) error {
	switch {
	case f.source == "":
		return errors.New("--source is required")
	case f.revision == "":
		return errors.New("--revision is required")
	case f.output != "" && f.output != "json" && f.output != "yaml":
		return fmt.Errorf("--output '%s' is neither json nor yaml", f.output)
	}
	l, err := registry.ParseLocation(url)
	if err != nil {
		return err
	}
	if l.Digest != "" {
		return fmt.Errorf("invalid URL '%s': an artifact is pushed to a tag, its digest follows from the content", url)
	}
	if err := f.check(); err != nil {
		return err
	}
	annotations, err := f.metadata()
	if err != nil {
		return err
	}
	if f.debug {
		logs.Debug.SetOutput(s.Err)
	}
	src, err := f.read(s.In)
	if err != nil {
		return err
	}
	repo, err := f.open(ctx, l)
	if err != nil {
		return err
	}
	if f.output == "" {
		s.Log.Actionf("pushing artifact to %s", l.Text)
	}
	return f.withArchive(src, func(file string) error {
		digest, err := repo.Push(ctx, l.Tag, registry.Artifact{File: file, Annotations: annotations})
		if err != nil {
			return fmt.Errorf("pushing artifact failed: %w", err)
		}
		return f.report(s, pushed{
			URL: registry.URLPrefix + repo.Name() + "@" + digest, Repository: repo.Name(), Tag: l.Tag, Digest: digest,
		})
	})
}

// metadata is what the flags say of the artifact. The time of creation may be given as an annotation.
func (f *pushFlags) metadata() (map[string]string, error) {
	m := map[string]string{registry.AnnotationCreated: time.Now().UTC().Format(time.RFC3339)}
	if f.reproducible {
		m[registry.AnnotationCreated] = time.Unix(0, 0).UTC().Format(time.RFC3339)
	}
	for _, text := range f.annotations {
		key, value, ok := strings.Cut(text, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("invalid annotation '%s': it must be in the format <key>=<value>", text)
		}
		m[key] = value
	}
	m[registry.AnnotationSource], m[registry.AnnotationRevision] = f.source, f.revision
	return m, nil
}

func (f *pushFlags) report(s *session.Session, p pushed) error {
	var text []byte
	var err error
	switch f.output {
	case "json":
		text, err = json.MarshalIndent(p, "", "  ")
		text = append(text, '\n')
	case "yaml":
		text, err = yaml.Marshal(p)
	default:
		s.Log.Successf("artifact successfully pushed to %s@%s", p.Repository, p.Digest)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = s.Out.Write(text)
	return err
}
