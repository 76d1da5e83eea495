// Package reconcile asks controllers for work and tells how it ended: reconcile, suspend and
// resume. What it reports as done, the controller has said about this very request.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

// errSuspended is the answer to a request that no controller would act upon.
var errSuspended = errors.New("resource is suspended")

type options struct {
	withSource bool
	tokens     map[string]*bool // by annotation
}

// Command returns `flux reconcile`.
func Command(s *session.Session) *cobra.Command {
	root := &cobra.Command{
		Use:   "reconcile",
		Short: "Reconcile objects now",
		Long:  "The reconcile commands ask for a reconciliation outside the object's interval and wait for its verdict.",
	}
	groups := &session.Group{Titles: map[string]string{"source": "Reconcile sources", "image": "Reconcile image automation objects", "artifact": "Reconcile artifact generators"}}
	for _, k := range kinds.All() {
		if k.Has(kinds.Reconcile) {
			groups.Place(root, k.Path, command(s, k))
		}
	}
	return root
}

func command(s *session.Session, k *kinds.Kind) *cobra.Command {
	words := strings.Fields(k.Path)
	opts := &options{tokens: map[string]*bool{}}
	cmd := &cobra.Command{
		Use:               words[len(words)-1] + " [name]",
		Aliases:           k.Aliases,
		Short:             "Reconcile a " + k.Kind,
		Example:           fmt.Sprintf("  # ask for a reconciliation and wait for its verdict\n  flux reconcile %s my-app", k.Path),
		ValidArgsFunction: session.CompleteNames(s, k.Resource),
	}
	if k.Sources != nil {
		cmd.Flags().BoolVar(&opts.withSource, "with-source", false, "reconcile the source first")
	}
	for _, token := range k.Tokens {
		opts.tokens[token.Annotation] = cmd.Flags().Bool(token.Flag, false, token.Usage)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s name is required", k.Kind)
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
			r := &request{session: s, client: c, options: opts}
			return r.reconcile(ctx, k, s.Namespace, args[0])
		})(cmd, args)
	}
	return cmd
}

// request is one run of the command, over the object and perhaps its sources.
type request struct {
	*options
	session *session.Session
	client  *cluster.Client
}

func (r *request) reconcile(ctx context.Context, k *kinds.Kind, namespace, name string) error {
	obj := k.New()
	if err := r.client.Get(ctx, k.Resource, namespace, name, obj); err != nil {
		return err
	}
	if obj.IsSuspended() {
		return errSuspended
	}
	if k.IsStatic(obj) {
		r.session.Log.Successf("reconciliation not supported by the object")
		return nil
	}
	if r.withSource && k.Sources != nil {
		if err := r.sources(ctx, k.Sources(obj)); err != nil {
			return err
		}
	}
	flags := map[string]bool{}
	for annotation, on := range r.tokens {
		flags[annotation] = *on
	}
	return r.annotateAndWait(ctx, k, obj, flags)
}

func (r *request) sources(ctx context.Context, refs []kinds.Ref) error {
	plain := &request{session: r.session, client: r.client, options: &options{}}
	for _, ref := range refs {
		k := kinds.ByKind(ref.Kind)
		if k == nil || !k.Has(kinds.Reconcile) {
			return fmt.Errorf("cannot reconcile source %s on request: leave out --with-source", ref)
		}
		if err := plain.reconcile(ctx, k, ref.Namespace, ref.Name); err != nil {
			return err
		}
	}
	return nil
}

func (r *request) annotateAndWait(ctx context.Context, k *kinds.Kind, obj meta.Object, flags map[string]bool) error {
	log := r.session.Log
	namespace, name := obj.GetNamespace(), obj.GetName()
	log.Actionf("annotating %s %s in %s namespace", k.Kind, name, namespace)
	token := time.Now().Format(time.RFC3339Nano)
	if err := annotate(ctx, r.client, k.Resource, namespace, name, token, flags); err != nil {
		return err
	}
	log.Successf("%s annotated", k.Kind)
	log.Waitingf("waiting for %s reconciliation", k.Kind)
	done, err := Wait(ctx, r.client, log, k, namespace, name, handled(token, obj.GetLastHandledReconcileAt()))
	if err != nil {
		return err
	}
	log.Successf("%s", k.Outcome(done))
	return nil
}

// annotate asks the controller for a reconciliation.
func annotate(ctx context.Context, c *cluster.Client, r cluster.Resource, namespace, name, token string, flags map[string]bool) error {
	annotations := map[string]string{meta.ReconcileRequestAnnotation: token}
	for annotation, on := range flags {
		if on {
			annotations[annotation] = token
		}
	}
	patch := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	return c.MergePatch(ctx, r, namespace, name, patch, nil)
}

// handled says that the controller has answered the request. If somebody asked again meanwhile,
// the answer to that later request counts; an answer to an earlier one does not.
func handled(token, before string) func(meta.Object) bool {
	return func(obj meta.Object) bool {
		handled := obj.GetLastHandledReconcileAt()
		if handled == token {
			return true
		}
		switch requested := obj.GetAnnotations()[meta.ReconcileRequestAnnotation]; requested {
		case token:
			return false
		case "": // taken off by whoever owns the annotations
			return handled != before
		default:
			return handled == requested
		}
	}
}

// standing is what is known of an object that is not done.
func standing(obj meta.Object) string {
	ready, working := kinds.Condition(obj, meta.ReadyCondition), kinds.Condition(obj, meta.ReconcilingCondition)
	switch now := obj.GetGeneration(); {
	case ready != nil && ready.Status != metav1.ConditionTrue && (ready.ObservedGeneration == now || obj.GetObservedGeneration() == now):
		return ready.Message
	case working != nil && working.Status == metav1.ConditionTrue:
		return working.Message
	}
	return "its controller has not answered; 'flux check' tells whether it is well"
}

// failure is what the controller says of an attempt at the present generation that failed. The generation counts as
// observed only when an attempt succeeds or is given up; whether a failure is about it, its condition tells.
func failure(obj meta.Object) string {
	c := kinds.Condition(obj, meta.ReadyCondition)
	if c == nil || c.Status != metav1.ConditionFalse {
		return ""
	}
	if c.Reason == "SourceNotReady" && (strings.HasSuffix(c.Message, "latest generation of object has not been reconciled") || strings.HasSuffix(c.Message, "it was just made")) {
		return "" // of a chart that has just been asked for nobody knows yet whether it fails
	}
	if now := obj.GetGeneration(); c.ObservedGeneration != now && obj.GetObservedGeneration() != now {
		return ""
	}
	return c.Message
}

// Observed says that the controller has seen the present spec.
func Observed(meta.Object) bool { return true }

// Wait returns the object when the controller has answered and the object is current, or the
// error that the controller reports as final. A failure that the controller will retry does not end
// the wait, as with upstream, but is told as soon as it is known; what else is missing when the time is up is told then.
func Wait(ctx context.Context, c *cluster.Client, log *ui.Log, k *kinds.Kind, namespace, name string, answered func(meta.Object) bool) (meta.Object, error) {
	told, last := "", ""
	done, err := cluster.WaitFor(ctx, c, cluster.Waiter[meta.Object]{
		Resource:  k.Resource,
		Namespace: namespace,
		Name:      name,
		New:       k.New,
		Done: func(obj meta.Object) (bool, error) {
			last = standing(obj)
			if !k.IsStatic(obj) && !answered(obj) && obj.GetDeletionTimestamp() == nil {
				return false, nil
			}
			switch state, message := k.StateOf(obj); state {
			case kinds.Current:
				return true, nil
			case kinds.Failed:
				return false, fmt.Errorf("%s reconciliation failed: %s", k.Kind, message)
			case kinds.Terminating:
				return false, fmt.Errorf("%s %s/%s is being deleted", k.Kind, namespace, name)
			}
			if problem := failure(obj); problem != "" && problem != told {
				told = problem
				log.Warningf("%s %s is not ready, and is tried again: %s", k.Kind, name, problem)
			}
			return false, nil
		},
	})
	if errors.Is(err, context.DeadlineExceeded) {
		if last != told {
			log.Warningf("%s %s is not ready yet: %s", k.Kind, name, last)
		}
		blame(ctx, c, log, k, namespace, name)
	}
	return done, err
}

// blamePatience bounds what is asked after the time is up.
const blamePatience = 3 * time.Second

// blame tells which sources of an object fail: the object itself may only know that they are not ready.
func blame(ctx context.Context, c *cluster.Client, log *ui.Log, k *kinds.Kind, namespace, name string) {
	if k.Sources == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), blamePatience)
	defer cancel()
	obj := k.New()
	if c.Get(ctx, k.Resource, namespace, name, obj) != nil {
		return
	}
	for _, ref := range k.Sources(obj) {
		source := kinds.ByKind(ref.Kind)
		if source == nil {
			continue
		}
		found := source.New()
		if c.Get(ctx, source.Resource, ref.Namespace, ref.Name, found) != nil {
			continue
		}
		if ready := kinds.Condition(found, meta.ReadyCondition); ready != nil && ready.Status == metav1.ConditionFalse {
			log.Warningf("%s %s, which it needs, is not ready: %s", ref.Kind, ref.Name, ready.Message)
		}
	}
}
