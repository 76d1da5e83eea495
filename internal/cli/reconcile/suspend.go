package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// SuspendCommand returns `flux suspend`.
func SuspendCommand(s *session.Session) *cobra.Command {
	var all bool
	root := &cobra.Command{
		Use:   "suspend",
		Short: "Stop the reconciliation of objects",
		Long:  "The suspend commands stop the reconciliation of objects until they are resumed.",
	}
	root.PersistentFlags().BoolVar(&all, "all", false, "suspend every object of the kind in the namespace")
	place(s, root, "Suspend", &all, func(ctx context.Context, b *batch) error { return b.suspend(ctx) })
	return root
}

// ResumeCommand returns `flux resume`.
func ResumeCommand(s *session.Session) *cobra.Command {
	var all, wait bool
	root := &cobra.Command{
		Use:   "resume",
		Short: "Take up the reconciliation of suspended objects",
		Long:  "The resume commands take up the reconciliation of suspended objects, and wait for its verdict when one object is named.",
	}
	root.PersistentFlags().BoolVar(&all, "all", false, "resume every object of the kind in the namespace")
	root.PersistentFlags().BoolVar(&wait, "wait", false, "wait for the verdicts also when several objects are resumed")
	place(s, root, "Resume", &all, func(ctx context.Context, b *batch) error { return b.resume(ctx, wait) })
	return root
}

func place(s *session.Session, root *cobra.Command, verb string, all *bool, run func(context.Context, *batch) error) {
	groups := &session.Group{Titles: map[string]string{"source": verb + " sources", "image": verb + " image automation objects", "artifact": verb + " artifact generators"}}
	for _, k := range kinds.All() {
		if !k.Has(kinds.Suspend) {
			continue
		}
		words := strings.Fields(k.Path)
		groups.Place(root, k.Path, &cobra.Command{
			Use:               words[len(words)-1] + " [name]",
			Aliases:           k.Aliases,
			Short:             verb + " a " + k.Kind,
			Example:           fmt.Sprintf("  # one object or several\n  flux %s %s my-app other-app\n\n  # all of the namespace\n  flux %[1]s %[2]s --all", strings.ToLower(verb), k.Path),
			ValidArgsFunction: session.CompleteNames(s, k.Resource),
			RunE: func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 && !*all {
					return fmt.Errorf("%s name is required", k.Human)
				}
				return s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
					return run(ctx, &batch{request: request{session: s, client: c}, kind: k, names: args})
				})(cmd, args)
			},
		})
	}
}

// batch is a command over several objects of a kind.
type batch struct {
	request
	kind  *kinds.Kind
	names []string // all of the namespace when empty
}

// objects calls each for every object of the batch and missing for every name without one. It
// returns how many objects there were.
func (b *batch) objects(ctx context.Context, missing func(name string), each func(meta.Object) error) (int, error) {
	count := 0
	for _, name := range b.names {
		obj := b.kind.New()
		err := b.client.Get(ctx, b.kind.Resource, b.session.Namespace, name, obj)
		if apierrors.IsNotFound(err) && !cluster.IsNoKind(err) {
			missing(name)
			continue
		}
		if err != nil {
			return count, err
		}
		count++
		if err := each(obj); err != nil {
			return count, err
		}
	}
	if len(b.names) > 0 {
		return count, nil
	}
	var objs []meta.Object
	_, err := b.client.List(ctx, b.kind.Resource, cluster.ListOptions{Namespace: b.session.Namespace}, func(raw json.RawMessage) error {
		obj, err := b.kind.Decode(raw)
		objs = append(objs, obj)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, obj := range objs {
		if err := each(obj); err != nil {
			return len(objs), err
		}
	}
	return len(objs), nil
}

func (b *batch) suspend(ctx context.Context) error {
	s := b.session
	missing := func(name string) {
		s.Log.Failuref("%s %s not found in %s namespace", b.kind.Kind, name, s.Namespace)
	}
	count, err := b.objects(ctx, missing, func(obj meta.Object) error {
		s.Log.Actionf("suspending %s %s in %s namespace", b.kind.Human, obj.GetName(), s.Namespace)
		if err := b.setSuspend(ctx, obj, true); err != nil {
			return err
		}
		s.Log.Successf("%s suspended", b.kind.Human)
		return nil
	})
	if err == nil && count == 0 && len(b.names) == 0 {
		return errors.New("no objects found")
	}
	return err
}

func (b *batch) resume(ctx context.Context, wait bool) error {
	s := b.session
	missing := func(name string) {
		s.Log.Failuref("%s object '%s' not found in %s namespace", b.kind.Kind, name, s.Namespace)
	}
	var resumed []meta.Object
	count, err := b.objects(ctx, missing, func(obj meta.Object) error {
		s.Log.Actionf("resuming %s %s in %s namespace", b.kind.Human, obj.GetName(), s.Namespace)
		if err := b.setSuspend(ctx, obj, false); err != nil {
			return err
		}
		s.Log.Successf("%s resumed", b.kind.Human)
		resumed = append(resumed, obj)
		return nil
	})
	if err != nil {
		return err
	}
	if count == 0 && len(b.names) == 0 {
		s.Log.Failuref("no %s objects found in %s namespace", b.kind.Kind, s.Namespace)
	}
	if !wait && len(b.names) != 1 {
		return nil
	}
	return b.verdicts(ctx, resumed)
}

// verdicts waits for all objects at once and tells how each ended, in order.
func (b *batch) verdicts(ctx context.Context, objs []meta.Object) error {
	log := b.session.Log
	type verdict struct {
		obj meta.Object
		err error
	}
	results := make([]chan verdict, len(objs))
	for i, obj := range objs {
		log.Waitingf("waiting for %s reconciliation", b.kind.Kind)
		results[i] = make(chan verdict, 1)
		go func() {
			done, err := Wait(ctx, b.client, log, b.kind, obj.GetNamespace(), obj.GetName(), Observed)
			results[i] <- verdict{done, err}
		}()
	}
	failed := 0
	for i, result := range results {
		v := <-result
		if v.err != nil {
			failed++
			log.Failuref("%s %s reconciliation failed: %s", b.kind.Kind, objs[i].GetName(), v.err)
			continue
		}
		log.Successf("%s %s reconciliation completed", b.kind.Kind, objs[i].GetName())
		log.Successf("%s", b.kind.Outcome(v.obj))
	}
	if failed > 0 {
		return fmt.Errorf("reconciliation failed for %d %s(s)", failed, b.kind.Kind)
	}
	return nil
}

// setSuspend writes spec.suspend, or the annotation that the kind has in its place; resuming removes it, as leaving it
// out of a file does.
func (b *batch) setSuspend(ctx context.Context, obj meta.Object, on bool) error {
	var value, annotation any
	if on {
		value, annotation = true, b.kind.SuspendedBy[1]
	}
	patch := map[string]any{"spec": map[string]any{"suspend": value}}
	if name := b.kind.SuspendedBy[0]; name != "" {
		patch = map[string]any{"metadata": map[string]any{"annotations": map[string]any{name: annotation}}}
	}
	return b.client.MergePatch(ctx, b.kind.Resource, obj.GetNamespace(), obj.GetName(), patch, obj)
}
