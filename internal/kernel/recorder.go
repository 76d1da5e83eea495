package kernel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/tools/record/util"
)

// recorder writes core/v1 Events. Events that repeat are counted and many similar ones joined,
// as client-go's recorder does it; but it drops an event when a thousand wait for its single
// line or 25 have gone out about one object, which a fleet that follows a busy repository does.
type recorder struct {
	component  string
	client     corev1client.EventsGetter
	correlator *record.EventCorrelator
	lines      *lines[*corev1.Event]
	log        logr.Logger
	pause      time.Duration
}

const (
	recordAttempts = 6
	// spamBurst events about one object at once, then one each spamEvery: enough for anything
	// that a person would read.
	spamBurst = 100
	spamEvery = 30 * time.Second
)

// eventsClient is shared by the recorders of a process; their lines are the limit.
func eventsClient(config *rest.Config) (corev1client.EventsGetter, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server for events: %w", err)
	}
	return client, nil
}

func newRecorder(client corev1client.EventsGetter, component string, log logr.Logger) *recorder {
	r := &recorder{
		component: component, client: client, log: log, pause: time.Second,
		correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{
			BurstSize: spamBurst, QPS: float32(1 / spamEvery.Seconds()),
		}),
	}
	r.lines = newLines(r.deliver)
	return r
}

// record queues an event about the object; it never blocks.
func (r *recorder) record(about corev1.ObjectReference, annotations map[string]string, eventType, reason, message string) {
	now := metav1.Now()
	ok := r.lines.send(objectKey(about), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name: util.GenerateEventName(about.Name, now.UnixNano()), Namespace: about.Namespace, Annotations: annotations,
		},
		InvolvedObject: about, Type: eventType, Reason: reason, Message: message,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		Source: corev1.EventSource{Component: r.component}, ReportingController: r.component,
	})
	if !ok {
		eventsDropped.WithLabelValues("not recorded: queue full").Inc()
	}
}

func objectKey(o corev1.ObjectReference) string { return o.Kind + "/" + o.Namespace + "/" + o.Name }

// deliver writes an event, or the count of one that is there already.
func (r *recorder) deliver(ctx context.Context, e *corev1.Event) {
	result, err := r.correlator.EventCorrelate(e)
	if err != nil || result.Skip {
		eventsDropped.WithLabelValues("not recorded: too many of one object").Inc()
		return
	}
	err = retry(ctx, recordAttempts, r.pause, func() (again bool, err error) {
		stored, err := r.write(ctx, result)
		if err == nil {
			r.correlator.UpdateState(stored)
		}
		return mayPass(err), err
	})
	if err == nil || apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return
	}
	eventsDropped.WithLabelValues("not recorded").Inc()
	r.log.Info("event was not recorded", "kind", e.InvolvedObject.Kind, "namespace", e.InvolvedObject.Namespace,
		"name", e.InvolvedObject.Name, "reason", e.Reason, "cause", redact(err.Error()))
}

// write patches the event that is counted up, or creates it where it is new or has expired.
func (r *recorder) write(ctx context.Context, result *record.EventCorrelateResult) (*corev1.Event, error) {
	events := r.client.Events(result.Event.Namespace)
	if result.Event.Count > 1 {
		stored, err := events.PatchWithEventNamespaceWithContext(ctx, result.Event, result.Patch)
		if !util.IsKeyNotFoundError(err) {
			return stored, err
		}
	}
	result.Event.ResourceVersion = ""
	return events.CreateWithEventNamespaceWithContext(ctx, result.Event)
}

// mayPass tells whether another attempt may help: the server was not reached, or is overloaded.
func mayPass(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return err != nil
	}
	return answer.Status().Code >= 500 || apierrors.IsTooManyRequests(err)
}
