// Package create writes objects from flags: to the cluster, waiting for the verdict, or with
// --export to stdout. Each kind is a function that declares its flags and builds the object;
// the rest is the same for all.
package create

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/export"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/reconcile"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// maker holds the flags that all create commands share.
type maker struct {
	*session.Session
	export       bool
	interval     time.Duration
	labels       []string
	fetchTimeout time.Duration
}

// Command returns `flux create`.
func Command(s *session.Session) *cobra.Command {
	m := &maker{Session: s}
	root := &cobra.Command{
		Use:   "create",
		Short: "Create or change objects",
		Long:  "The create commands write an object from flags and wait until it is ready, or print it as YAML with --export.",
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&m.export, "export", false, "print the object as YAML instead of writing it to the cluster")
	flags.DurationVar(&m.interval, "interval", time.Minute, "how often the object is reconciled")
	flags.StringSliceVar(&m.labels, "label", nil, "label of the object, as key=value; may be given several times")

	groups := &session.Group{Titles: map[string]string{
		"source": "Create or change sources", "image": "Create or change image automation objects", "secret": "Create or change Secrets for sources and notifications",
	}}
	for path, cmd := range map[string]*cobra.Command{
		"alert":            m.alert(),
		"alert-provider":   m.alertProvider(),
		"helmrelease":      m.helmRelease(),
		"image policy":     m.imagePolicy(),
		"image repository": m.imageRepository(),
		"image update":     m.imageUpdate(),
		"kustomization":    m.kustomization(),
		"receiver":         m.receiver(),
		"secret git":       m.secretGit(),
		"secret githubapp": m.secretGitHubApp(),
		"secret helm":      m.secretHelm(),
		"secret notation":  m.secretNotation(),
		"secret oci":       m.secretOCI(),
		"secret proxy":     m.secretProxy(),
		"secret receiver":  m.secretReceiver(),
		"secret tls":       m.secretTLS(),
		"source bucket":    m.bucket(),
		"source chart":     m.helmChart(),
		"source git":       m.gitRepository(),
		"source helm":      m.helmRepository(),
		"source oci":       m.ociRepository(),
		"tenant":           m.tenant(),
	} {
		groups.Place(root, path, cmd)
	}
	groups.Parent("source").PersistentFlags().DurationVar(&m.fetchTimeout, "fetch-timeout", 0, "time limit of one fetch of the source")
	return root
}

// recipe is how a kind is made.
type recipe struct {
	kind *kinds.Kind
	// title is what messages call the object, the kind's name when empty.
	title string
	// made is what the message of success calls it, title when empty.
	made  string
	short string
	// example follows the command's path.
	example string
	flags   func(*pflag.FlagSet)
	// build returns the object; it may print progress and write Secrets when not exporting.
	build func(ctx context.Context, name string) (meta.Object, error)
	// needs waits, once the object is written, for what build wrote beside it; nil: nothing.
	needs func(ctx context.Context, c *cluster.Client) error
	// done returns the last lines.
	done func(meta.Object) []string
}

func (m *maker) command(r recipe) *cobra.Command {
	if r.title == "" {
		r.title = r.kind.Kind
	}
	if r.made == "" {
		r.made = r.title
	}
	words := strings.Fields(r.kind.Path)
	cmd := &cobra.Command{
		Use:     words[len(words)-1] + " [name]",
		Aliases: r.kind.Aliases,
		Short:   r.short,
		Example: r.example,
	}
	r.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, err := objectName(args)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), m.Timeout)
		defer cancel()
		return m.make(ctx, &r, name)
	}
	return cmd
}

func (m *maker) make(ctx context.Context, r *recipe, name string) error {
	labels, err := parseLabels(m.labels)
	if err != nil {
		return err
	}
	obj, err := r.build(ctx, name)
	if err != nil {
		return err
	}
	obj.SetName(name)
	obj.SetNamespace(m.Namespace)
	obj.SetLabels(labels)
	obj.GetObjectKind().SetGroupVersionKind(r.kind.GVK())
	if m.export {
		return export.Object(m.Out, r.kind, obj)
	}
	return m.apply(ctx, r, obj)
}

// generating announces the object; recipes call it when their flags are known to be good.
func (m *maker) generating(title string) {
	if !m.export {
		m.Log.Generatef("generating %s", title)
	}
}

func (m *maker) apply(ctx context.Context, r *recipe, obj meta.Object) error {
	c, err := m.Client()
	if err != nil {
		return err
	}
	m.Log.Actionf("applying %s", r.title)
	created, err := upsert(ctx, c, r.kind.Resource, obj)
	if err != nil {
		return err
	}
	if created {
		m.Log.Successf("%s created", r.made)
	} else {
		m.Log.Successf("%s updated", r.made)
	}
	if r.needs != nil {
		if err := r.needs(ctx, c); err != nil {
			return err
		}
	}
	m.Log.Waitingf("waiting for %s reconciliation", r.title)
	done, err := reconcile.Wait(ctx, c, m.Log, r.kind, obj.GetNamespace(), obj.GetName(), reconcile.Observed)
	if err != nil {
		return err
	}
	for _, line := range r.done(done) {
		m.Log.Successf("%s", line)
	}
	return nil
}

// pauseOfConflict is how long a write waits that came too late.
const pauseOfConflict = 50 * time.Millisecond

// upsert creates the object, or replaces labels and spec of the one that exists. A controller that writes to it at the
// same time only makes it try again.
func upsert(ctx context.Context, c *cluster.Client, r cluster.Resource, obj metav1.Object) (created bool, err error) {
	for {
		created, err = upsertOnce(ctx, c, r, obj)
		if !apierrors.IsConflict(err) {
			return created, err
		}
		select {
		case <-ctx.Done():
			return created, err
		case <-time.After(pauseOfConflict):
		}
	}
}

func upsertOnce(ctx context.Context, c *cluster.Client, r cluster.Resource, obj metav1.Object) (created bool, err error) {
	var existing map[string]any
	err = c.Get(ctx, r, obj.GetNamespace(), obj.GetName(), &existing)
	switch {
	case apierrors.IsNotFound(err) && !cluster.IsNoKind(err):
		return true, c.Create(ctx, r, obj)
	case err != nil:
		return false, err
	}
	wanted, err := asMap(obj)
	if err != nil {
		return false, err
	}
	replacement := &rawObject{PartialObjectMetadata: metav1.PartialObjectMetadata{}, content: existing}
	for key, value := range wanted {
		if key != "metadata" && key != "status" {
			existing[key] = value
		}
	}
	metadata, _ := existing["metadata"].(map[string]any)
	delete(metadata, "labels")
	if labels := obj.GetLabels(); len(labels) > 0 {
		metadata["labels"] = labels
	}
	replacement.Namespace, replacement.Name = obj.GetNamespace(), obj.GetName()
	return false, c.Update(ctx, r, replacement)
}

// rawObject is an object of any kind for writing.
type rawObject struct {
	metav1.PartialObjectMetadata
	content map[string]any
}

// MarshalJSON writes the whole content.
func (o *rawObject) MarshalJSON() ([]byte, error) { return json.Marshal(o.content) }

// UnmarshalJSON reads the whole content.
func (o *rawObject) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &o.content) }

func asMap(obj any) (map[string]any, error) {
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	var content map[string]any
	return content, json.Unmarshal(data, &content)
}

var nameFormat = regexp.MustCompile(`^[a-z0-9]([a-z0-9\-]){0,61}[a-z0-9]$`)

func objectName(args []string) (string, error) {
	if len(args) == 0 {
		return "", errors.New("name is required")
	}
	if !nameFormat.MatchString(args[0]) {
		return "", fmt.Errorf("name '%s' is invalid, it should adhere to standard defined in RFC 1123, the name can only contain alphanumeric characters or '-'", args[0])
	}
	return args[0], nil
}

func parseLabels(pairs []string) (map[string]string, error) {
	labels := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("invalid label format '%s', must be key=value", pair)
		}
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			return nil, fmt.Errorf("invalid label '%s': %v", key, problems)
		}
		if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
			return nil, fmt.Errorf("invalid label value '%s': %v", value, problems)
		}
		labels[key] = value
	}
	return labels, nil
}

// Small helpers of the recipes.

func localRef(name string) *meta.LocalObjectReference {
	if name == "" {
		return nil
	}
	return &meta.LocalObjectReference{Name: name}
}

func optionalDuration(d time.Duration) *meta.Duration {
	if d == 0 {
		return nil
	}
	return meta.DurationPtr(d)
}

// ignoreRules joins patterns into the text of spec.ignore.
func ignoreRules(patterns []string) *string {
	if len(patterns) == 0 {
		return nil
	}
	text := strings.Join(patterns, "\n")
	return &text
}

func fetchedLines(title string) func(meta.Object) []string {
	return func(obj meta.Object) []string {
		lines := []string{title + " reconciliation completed"}
		if artifact := obj.(meta.Source).GetArtifact(); artifact != nil {
			lines = append(lines, "fetched revision: "+artifact.Revision)
		}
		return lines
	}
}

func readyLines(kind string, more func(meta.Object) []string) func(meta.Object) []string {
	return func(obj meta.Object) []string {
		lines := []string{kind + " " + obj.GetName() + " is ready"}
		if more != nil {
			lines = append(lines, more(obj)...)
		}
		return lines
	}
}
