package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/inbound"
	"github.com/gitops-toolkit/flux/internal/notify/push"
	"github.com/gitops-toolkit/flux/internal/notify/receivers"
)

// hooks is the webhook server.
type hooks struct {
	m       *kernel.Manager
	paths   *paths
	secrets *secrets
	oidc    *receivers.OIDC
	budget  *inbound.Budget
	log     logr.Logger
	asked   asked
	settle  *settling

	mu      sync.Mutex
	filters map[types.UID]compiledFilters
}

type compiledFilters struct {
	generation int64
	filters    receivers.Filters
	err        error
}

// serveHooks puts the webhook server at the receivers' address.
func serveHooks(h *hooks, o Options) error {
	h.budget, h.filters, h.log = inbound.NewBudget(), map[types.UID]compiledFilters{}, ctrllog.Log.WithName("receiver-server")
	h.settle = newSettling(settleFor)
	counts := inbound.NewMetrics("gotk_receiver", o.PathMetrics)
	if err := counts.Register(metrics.Registry); err != nil {
		return err
	}
	o.Hooks(hookPrefix, counts.Wrap(hookPrefix, h))
	return nil
}

// ServeHTTP implements http.Handler. An answer says nothing but its code.
func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, ok := h.lookUp(r)
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if len(found) == 0 {
		h.log.V(1).Info("handling request: " + clipped(url.PathEscape(strings.TrimPrefix(r.RequestURI, hookPrefix))))
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, release, err := h.budget.Read(w, r)
	defer release()
	if err != nil {
		h.log.Error(err, "reading the request body failed")
		w.WriteHeader(inbound.Status(err))
		return
	}
	code := 0
	for _, one := range found {
		code = max(code, h.handle(r.Context(), one, r.Header, body))
	}
	w.WriteHeader(code)
}

// pathLength is that of every path that we have given out.
const pathLength = len(hookPrefix) + 64

// lookUp finds the Receivers of a request: that is one, unless names and tokens were chosen to make
// two paths equal. Then each of them decides for itself.
func (h *hooks) lookUp(r *http.Request) (found []*notificationv1.Receiver, ok bool) {
	if len(r.RequestURI) != pathLength {
		return nil, true
	}
	return h.paths.find(r.RequestURI)
}

func clipped(s string) string { return s[:min(len(s), 128)] }

// handle answers a call for one Receiver.
func (h *hooks) handle(ctx context.Context, r *notificationv1.Receiver, header http.Header, body []byte) int {
	log := h.log.WithValues("reconciler kind", notificationv1.ReceiverKind, "name", r.Name, "namespace", r.Namespace)
	if r.Spec.Suspend || !apimeta.IsStatusConditionTrue(r.Status.Conditions, meta.ReadyCondition) {
		why := "receiver is not ready"
		if r.Spec.Suspend {
			why = "receiver is suspended"
		}
		log.Error(errors.New("unable to process request"), why)
		return http.StatusServiceUnavailable
	}
	call := &receivers.Call{Header: header, Body: body, Receiver: r}
	if ref := r.Spec.SecretRef; ref != nil {
		data, _, err := h.secrets.get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: ref.Name})
		if err != nil {
			log.Error(err, "unable to read the receiver's secret")
			return http.StatusBadRequest
		}
		call.Secret = data
	}
	result, err := receivers.Accept(ctx, h.oidc, call)
	if err != nil {
		log.Error(err, "unable to validate payload")
		return http.StatusBadRequest
	}
	if result.Event != "" {
		log.Info("handling " + result.Event)
	}
	return h.trigger(ctx, log, call, result)
}

// trigger asks all resources of the Receiver for a reconciliation.
func (h *hooks) trigger(ctx context.Context, log logr.Logger, call *receivers.Call, result receivers.Result) int {
	filters, err := h.compile(call.Receiver)
	if err != nil {
		log.Error(err, "unable to build the resource filter")
		return http.StatusInternalServerError
	}
	t := &trigger{m: h.m, log: log, receiver: call.Receiver, filters: filters, claims: result.Claims, request: result.Request,
		push: push.Read(push.Call{
			Type: call.Receiver.Spec.Type, Header: call.Header, Body: call.Body, Listed: len(call.Receiver.Spec.Events) > 0,
		}), asked: &h.asked, settle: h.settle}
	if t.request == nil && t.filtered() {
		if t.request, err = call.JSON(); err != nil {
			log.Error(err, "unable to build the resource filter")
			return http.StatusInternalServerError
		}
	}
	if failed := t.all(ctx); failed > 0 {
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

// compile compiles the filters of a Receiver once for each generation.
func (h *hooks) compile(r *notificationv1.Receiver) (receivers.Filters, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c, ok := h.filters[r.UID]; ok && c.generation == r.Generation {
		return c.filters, c.err
	}
	const most = 5000
	if len(h.filters) >= most {
		clear(h.filters)
	}
	f, err := receivers.Compile(r)
	if err != nil {
		err = fmt.Errorf("the receiver's filters do not compile: %w", err)
	}
	h.filters[r.UID] = compiledFilters{r.Generation, f, err}
	return f, err
}
