package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

// labelsTimeout bounds the look at an object's labels.
const labelsTimeout = 5 * time.Second

// alertsTimeout bounds the listing of Alerts, which waits while the cache is not filled: senders give up after five
// seconds, and must hear before that their event was not taken.
const alertsTimeout = 4 * time.Second

// router finds the Alerts that want an event.
type router struct {
	m       *kernel.Manager
	outbox  *outbox
	gather  *gatherer
	log     logr.Logger
	mu      sync.Mutex
	filters map[types.UID]compiled
}

type compiled struct {
	generation int64
	filter     *alert.Filter
}

func newRouter(m *kernel.Manager, o *outbox) *router {
	return &router{m: m, outbox: o, log: o.log, filters: map[types.UID]compiled{}}
}

// route hands an event to the outbox, once for each Alert that wants it.
func (r *router) route(ctx context.Context, e *event.Event) error {
	log := r.log.WithValues("eventInvolvedObject", e.InvolvedObject)
	alerts, err := r.alerts(ctx)
	if err != nil {
		return err
	}
	look := r.labelsOnce()
	wanted, logged := 0, false
	for i := range alerts.Items {
		a := &alerts.Items[i]
		matched, notes := r.filter(a).Match(ctx, e, look)
		r.tell(a, notes)
		if !matched {
			continue
		}
		wanted++
		news := e
		if a.Spec.Transitions != nil {
			r.gather.recall()
			news = r.gather.memory.Transitions.Observe(a, e, time.Now())
			poke(r.gather.wake)
			if news == nil {
				continue
			}
		}
		refusal, err := r.dispatch(ctx, a, news)
		if err != nil {
			log.Error(err, "failed to dispatch notification", "alert", alertKeys(a))
			r.outbox.warn(a, fmt.Sprintf("failed to dispatch notification for %s: %v", e.Object(), err))
			r.untold(a.UID, news, err)
		}
		if refusal == alert.NoCommit && !logged {
			logged = true
			log.Info(string(refusal))
		}
	}
	r.prune(len(alerts.Items))
	if wanted == 0 {
		log.Info("discarding event, no alerts found for the involved object")
		return nil
	}
	log.Info("dispatching event", "message", e.Message)
	return nil
}

// alerts lists all Alerts.
func (r *router) alerts(ctx context.Context) (*notificationv1.AlertList, error) {
	ctx, cancel := context.WithTimeout(ctx, alertsTimeout)
	defer cancel()
	alerts := &notificationv1.AlertList{}
	if err := r.m.Client().List(ctx, alerts, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("failed to get alerts for the event: %w", err)
	}
	return alerts, nil
}

func alertKeys(a *notificationv1.Alert) map[string]string {
	return map[string]string{"name": a.Name, "namespace": a.Namespace, "providerName": a.Spec.ProviderRef.Name}
}

// dispatch puts an event that an Alert wants into the line of its Provider.
func (r *router) dispatch(ctx context.Context, a *notificationv1.Alert, e *event.Event) (alert.Refusal, error) {
	if r.m.Settings().NoCrossNamespaceRefs {
		if err := alert.CheckNamespace(a, e); err != nil {
			return "", err
		}
	}
	p := &notificationv1.Provider{}
	key := providerOf(a)
	if err := r.m.Client().Get(ctx, key, p); err != nil {
		return "", &providerError{err}
	}
	if p.Spec.Suspend {
		return "", nil
	}
	t, err := providers.Find(p.Spec.Type)
	if err != nil {
		return "", err
	}
	e = alert.Tell(t.Class, e)
	if refusal := alert.Admit(t.Class, e); refusal != "" {
		return refusal, nil
	}
	composed, notes := alert.Compose(a, e)
	r.tell(a, notes)
	item := dispatch.Item{
		Provider: key, Type: p.Spec.Type, Alert: client.ObjectKeyFromObject(a), Event: composed, Received: time.Now(),
	}
	if composed.Succeeded() || composed.Metadata[alert.KeyTransition] == alert.Resolved {
		r.gather.memory.Mails.Ending(p.UID, a.UID, composed.Object())
	}
	if gathers(a, t, e) {
		r.gather.digests.add(a, item)
		return "", nil
	}
	r.outbox.put(item)
	return "", nil
}

// gathers tells whether an event waits for a digest of its Alert. What is about one commit or request does not; nor
// do mails, which gather by themselves and remember what they have said of each object.
func gathers(a *notificationv1.Alert, t providers.Type, e *event.Event) bool {
	aboutOne := t.Class == alert.CommitStatus || t.Class == alert.ChangeRequest || e.Own(event.KeyCommitStatus) != ""
	return a.Spec.Digest != nil && !aboutOne && t.Window == 0
}

// fire sends a failure that has lasted for the threshold of its Alert.
func (r *router) fire(ctx context.Context, f alert.Failure) {
	a := &notificationv1.Alert{}
	err := r.m.Client().Get(ctx, f.Alert, a)
	if apierrors.IsNotFound(err) {
		return // nobody wants it any more
	}
	if err != nil || a.Spec.Suspend {
		r.later(f.UID, f.Event)
		return
	}
	if _, err := r.dispatch(ctx, a, f.Event); err != nil {
		r.log.Error(err, "failed to dispatch notification", "alert", alertKeys(a), "eventInvolvedObject", f.Event.InvolvedObject)
		r.outbox.warn(a, fmt.Sprintf("failed to dispatch notification for %s: %v", f.Event.Object(), err))
		r.untold(a.UID, f.Event, err)
	}
}

// fireAgain is when a failure is tried once more that could not be sent.
const fireAgain = 20 * time.Second

// providerError is that a Provider could not be read, which may pass: it may come after its Alert.
type providerError struct{ err error }

func (e *providerError) Error() string { return "failed to read provider: " + e.err.Error() }
func (e *providerError) Unwrap() error { return e.err }

// untold lets a failure that an Alert with transitions could not send come up again, where that may help.
func (r *router) untold(alertUID types.UID, e *event.Event, err error) {
	var passes *providerError
	if e.Own(alert.KeyTransition) == alert.Fired && errors.As(err, &passes) {
		r.later(alertUID, e)
	}
}

func (r *router) later(alertUID types.UID, e *event.Event) {
	r.gather.memory.Transitions.Untold(alertUID, e, time.Now().Add(fireAgain))
	poke(r.gather.wake)
}

// resolve tells an Alert that an object of which it knows that it fails works again, or is no more. It returns false
// where that must wait.
func (r *router) resolve(ctx context.Context, key types.NamespacedName, e *event.Event) bool {
	a := &notificationv1.Alert{}
	if err := r.m.Client().Get(ctx, key, a); err != nil {
		return apierrors.IsNotFound(err)
	}
	if a.Spec.Suspend {
		return false
	}
	defer r.gather.memory.Mails.Settle(key, e.Object()) // told or not, it is over
	news := r.gather.memory.Transitions.Resolve(a, e)
	if news == nil && r.mailed(ctx, a, e.Object()) {
		news = alert.Marked(e, alert.Resolved)
	}
	if news == nil {
		return true // nobody has heard of it
	}
	if _, err := r.dispatch(ctx, a, news); err != nil {
		r.log.Error(err, "failed to dispatch notification", "alert", alertKeys(a), "eventInvolvedObject", e.InvolvedObject)
		r.outbox.warn(a, fmt.Sprintf("failed to dispatch notification for %s: %v", e.Object(), err))
	}
	return true
}

// mailed tells whether the Provider of an Alert has told of an object's failure by mail.
func (r *router) mailed(ctx context.Context, a *notificationv1.Alert, object string) bool {
	p := &notificationv1.Provider{}
	err := r.m.Client().Get(ctx, providerOf(a), p)
	return err == nil && r.gather.memory.Mails.Told(p.UID, a.UID, object)
}

func providerOf(a *notificationv1.Alert) types.NamespacedName {
	return types.NamespacedName{Namespace: a.Namespace, Name: a.Spec.ProviderRef.Name}
}

// pruneMemory forgets the failures that were told for Alerts, and by Providers, which are gone or do not belong
// together any more.
func (r *router) pruneMemory(ctx context.Context) {
	alerts, all := &notificationv1.AlertList{}, &notificationv1.ProviderList{}
	if r.m.Client().List(ctx, alerts, client.UnsafeDisableDeepCopy) != nil || r.m.Client().List(ctx, all, client.UnsafeDisableDeepCopy) != nil {
		return
	}
	uids := make(map[types.NamespacedName]types.UID, len(all.Items))
	for i := range all.Items {
		uids[client.ObjectKeyFromObject(&all.Items[i])] = all.Items[i].UID
	}
	transitions, sendsTo := make(map[types.UID]bool, len(alerts.Items)), make(map[types.UID]types.UID, len(alerts.Items))
	for i := range alerts.Items {
		a := &alerts.Items[i]
		transitions[a.UID], sendsTo[a.UID] = a.Spec.Transitions != nil, uids[providerOf(a)]
	}
	r.gather.memory.Transitions.Forget(func(uid types.UID) bool { return transitions[uid] })
	r.gather.memory.Mails.Forget(func(provider, alert types.UID) bool { return provider != "" && sendsTo[alert] == provider })
}

// filter compiles an Alert once for each generation.
func (r *router) filter(a *notificationv1.Alert) *alert.Filter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.filters[a.UID]; ok && c.generation == a.Generation {
		return c.filter
	}
	f := alert.Compile(a)
	r.filters[a.UID] = compiled{a.Generation, f}
	return f
}

// prune forgets the filters of Alerts that are gone, once they are many.
func (r *router) prune(alerts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.filters) > 2*alerts+100 {
		clear(r.filters)
	}
}

func (r *router) tell(a *notificationv1.Alert, notes []alert.Note) {
	for _, n := range notes {
		r.m.Record(a, alertKind, kernel.Event{Type: kernel.EventWarning, Reason: n.Reason, Message: n.Message, Metadata: n.Metadata})
	}
}

// labelsOnce reads the labels of an event's object when the first Alert asks for them.
func (r *router) labelsOnce() alert.Labels {
	var once sync.Once
	var labels map[string]string
	var err error
	return func(ctx context.Context, e *event.Event) (map[string]string, error) {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(ctx, labelsTimeout)
			defer cancel()
			o := e.InvolvedObject
			obj := &metav1.PartialObjectMetadata{}
			obj.SetGroupVersionKind(schema.FromAPIVersionAndKind(o.APIVersion, o.Kind))
			if err = r.m.Live().Get(ctx, types.NamespacedName{Namespace: o.Namespace, Name: o.Name}, obj); err != nil {
				r.log.Error(err, "failed to read the labels of an object", "object", e.Object())
			}
			labels = obj.GetLabels()
		})
		return labels, err
	}
}
