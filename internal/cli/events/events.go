// Package events prints what controllers have said about objects, oldest first.
package events

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

type options struct {
	allNamespaces bool
	watch         bool
	about         string
	types         []string
}

// Command returns `flux events`.
func Command(s *session.Session) *cobra.Command {
	opts := &options{}
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print the events of objects",
		Long:  "The events command prints the events of objects of this toolkit, oldest first. With --for, the events of the source, chart or provider that the object refers to are printed, too.",
		Example: "  # all of a namespace\n  flux events\n\n  # what happened to one object and its source\n" +
			"  flux events --for Kustomization/my-app\n\n  # warnings of all namespaces, as they come\n  flux events -A --types Warning --watch",
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.allNamespaces, "all-namespaces", "A", false, "print the events of all namespaces")
	flags.BoolVarP(&opts.watch, "watch", "w", false, "after printing what happened, print what happens")
	flags.StringVar(&opts.about, "for", "", "print the events of one object, as kind/name, or of one kind")
	flags.StringSliceVar(&opts.types, "types", nil, "print only events of these types: Normal, Warning")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := opts.check(); err != nil {
			return err
		}
		if opts.watch {
			c, err := s.Client()
			if err != nil {
				return err
			}
			return follow(cmd.Context(), s, c, opts)
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, _ []string) error {
			return show(ctx, s, c, opts)
		})(cmd, args)
	}
	return cmd
}

// check takes types in whatever case, and only those that there are.
func (o *options) check() error {
	for i, word := range o.types {
		known := slices.IndexFunc(eventTypes, func(t string) bool { return strings.EqualFold(t, word) })
		if known < 0 {
			return fmt.Errorf("unknown type of events '%s', must be one of: %s", word, strings.Join(eventTypes, ", "))
		}
		o.types[i] = eventTypes[known]
	}
	return nil
}

var eventTypes = []string{corev1.EventTypeNormal, corev1.EventTypeWarning}

// scope is one list of events that the command asks for.
type scope struct {
	namespace string
	fields    string
}

// plan resolves the flags into the lists to read.
func plan(ctx context.Context, s *session.Session, c *cluster.Client, opts *options) ([]scope, error) {
	namespace := s.Namespace
	if opts.allNamespaces {
		namespace = ""
	}
	if opts.about == "" {
		return []scope{{namespace: namespace}}, nil
	}
	word, name, _ := strings.Cut(opts.about, "/")
	k := kinds.ByKind(word)
	if k == nil {
		return nil, fmt.Errorf("'%s' is not a recognized Flux kind", word)
	}
	if name == "" {
		return []scope{{namespace, "involvedObject.kind=" + k.Kind}}, nil
	}
	obj := k.New()
	if err := c.Get(ctx, k.Resource, s.Namespace, name, obj); err != nil {
		return nil, err
	}
	scopes := []scope{{s.Namespace, involving(kinds.Ref{Kind: k.Kind, Name: name})}}
	for _, ref := range k.RelatedTo(obj) {
		scopes = append(scopes, scope{ref.Namespace, involving(ref)})
	}
	return scopes, nil
}

func involving(ref kinds.Ref) string {
	return "involvedObject.kind=" + ref.Kind + ",involvedObject.name=" + ref.Name
}

func show(ctx context.Context, s *session.Session, c *cluster.Client, opts *options) error {
	scopes, err := plan(ctx, s, c, opts)
	if err != nil {
		return err
	}
	var found []corev1.Event
	for _, sc := range scopes {
		if _, err := list(ctx, c, sc, opts, &found); err != nil {
			return err
		}
	}
	if len(found) == 0 {
		if opts.allNamespaces {
			s.Log.Failuref("No events found.")
		} else {
			s.Log.Failuref("No events found in %s namespace.", s.Namespace)
		}
		return nil
	}
	return table(s, opts, scopes, found).Write(s.Out)
}

func list(ctx context.Context, c *cluster.Client, sc scope, opts *options, into *[]corev1.Event) (string, error) {
	listOptions := cluster.ListOptions{Namespace: sc.namespace, Fields: sc.fields}
	return c.List(ctx, kinds.Events, listOptions, func(raw json.RawMessage) error {
		event, err := decode(raw)
		if err == nil && wanted(&event, opts) {
			*into = append(*into, event)
		}
		return err
	})
}

func wanted(event *corev1.Event, opts *options) bool {
	if len(opts.types) > 0 && !slices.Contains(opts.types, event.Type) {
		return false
	}
	k := kinds.ByKind(event.InvolvedObject.Kind)
	group, _, _ := strings.Cut(event.InvolvedObject.APIVersion, "/")
	return k != nil && k.Kind == event.InvolvedObject.Kind && k.Group == group
}

func table(s *session.Session, opts *options, scopes []scope, found []corev1.Event) *ui.Table {
	slices.SortStableFunc(found, func(a, b corev1.Event) int {
		return cmp.Compare(lastSeen(&a).UnixNano(), lastSeen(&b).UnixNano())
	})
	t := &ui.Table{Header: []string{"Last seen", "Type", "Reason", "Object", "Message"}}
	namespaced := opts.allNamespaces || slices.ContainsFunc(scopes, func(sc scope) bool { return sc.namespace != s.Namespace })
	if namespaced {
		t.Header = slices.Insert(t.Header, 0, "Namespace")
	}
	for i := range found {
		t.Append(row(&found[i], namespaced, time.Now())...)
	}
	return t
}

func row(event *corev1.Event, namespaced bool, now time.Time) []string {
	object := event.InvolvedObject
	cells := []string{seen(event, now), event.Type, event.Reason, object.Kind + "/" + object.Name, event.Message}
	if namespaced {
		cells = slices.Insert(cells, 0, event.Namespace)
	}
	return cells
}

func lastSeen(event *corev1.Event) time.Time {
	switch {
	case event.Series != nil:
		return event.Series.LastObservedTime.Time
	case !event.LastTimestamp.IsZero():
		return event.LastTimestamp.Time
	}
	return event.EventTime.Time
}

func firstSeen(event *corev1.Event) time.Time {
	if event.FirstTimestamp.IsZero() {
		return event.EventTime.Time
	}
	return event.FirstTimestamp.Time
}

func seen(event *corev1.Event, now time.Time) string {
	last := duration.HumanDuration(now.Sub(lastSeen(event)))
	count := event.Count
	if event.Series != nil {
		count = event.Series.Count
	}
	if count < 2 {
		return last
	}
	return fmt.Sprintf("%s (x%d over %s)", last, count, duration.HumanDuration(now.Sub(firstSeen(event))))
}

// follow prints what there is and then every new event until interrupted; no time limit holds.
func follow(ctx context.Context, s *session.Session, c *cluster.Client, opts *options) error {
	scopes, err := plan(ctx, s, c, opts)
	if err != nil {
		return err
	}
	var found []corev1.Event
	versions := make([]string, len(scopes))
	for i, sc := range scopes {
		if versions[i], err = list(ctx, c, sc, opts, &found); err != nil {
			return err
		}
	}
	t := table(s, opts, scopes, found)
	if err := t.WriteNew(s.Out); err != nil {
		return err
	}
	fresh := make(chan corev1.Event)
	failed := make(chan error, len(scopes))
	for i, sc := range scopes {
		go func() { failed <- stream(ctx, c, sc, versions[i], fresh) }()
	}
	for {
		select {
		case event := <-fresh:
			if !wanted(&event, opts) {
				continue
			}
			t.Append(row(&event, t.Header[0] == "Namespace", time.Now())...)
			if err := t.WriteNew(s.Out); err != nil {
				return err
			}
		case err := <-failed:
			return err
		}
	}
}

// stream sends the events of a scope, and watches anew from where a watch ended. Where that is too long ago for the API
// server, it lists what happened meanwhile.
func stream(ctx context.Context, c *cluster.Client, sc scope, version string, fresh chan<- corev1.Event) error {
	send := func(event corev1.Event) error {
		select {
		case fresh <- event:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	listOptions := cluster.ListOptions{Namespace: sc.namespace, Fields: sc.fields}
	for ctx.Err() == nil {
		err := c.Watch(ctx, kinds.Events, listOptions, version, func(change cluster.Event) error {
			event, err := decode(change.Object)
			if err != nil {
				return err
			}
			version = event.ResourceVersion
			if change.Type == watch.Deleted {
				return nil
			}
			return send(event)
		})
		if cluster.IsTooOld(err) {
			version, err = c.List(ctx, kinds.Events, listOptions, func(raw json.RawMessage) error {
				event, err := decode(raw)
				if err != nil || !newer(event.ResourceVersion, version) {
					return err
				}
				return send(event)
			})
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

func decode(raw json.RawMessage) (event corev1.Event, err error) {
	if err := json.Unmarshal(raw, &event); err != nil {
		return event, fmt.Errorf("decode an event: %w", err)
	}
	return event, nil
}

// newer tells whether a version comes after another; what cannot be compared does.
func newer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err != nil || order > 0
}
