package kinds

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	notificationv1beta3 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
)

func notificationResource(version, kind, plural string) cluster.Resource {
	return cluster.Resource{Group: "notification.toolkit.fluxcd.io", Version: version, Kind: kind, Plural: plural}
}

// constant describes objects that have no status.
func constant(text string) func(meta.Object) string {
	return func(meta.Object) string { return text }
}

// noStatus gives kinds without a status the accessors of those with one.
type noStatus struct{}

func (noStatus) GetConditions() []metav1.Condition { return nil }
func (noStatus) SetConditions([]metav1.Condition)  {}
func (noStatus) GetObservedGeneration() int64      { return -1 }
func (noStatus) SetObservedGeneration(int64)       {}
func (noStatus) GetLastHandledReconcileAt() string { return "" }
func (noStatus) SetLastHandledReconcileAt(string)  {}
func (noStatus) GetInterval() time.Duration        { return 0 }
func (noStatus) GetRetryInterval() time.Duration   { return 0 }
func (noStatus) GetTimeout() time.Duration         { return 0 }

// AlertObject is an Alert as the verbs see it.
type AlertObject struct {
	notificationv1beta3.Alert
	noStatus
}

// NewAlert returns an empty Alert.
func NewAlert() *AlertObject { return &AlertObject{} }

// AddSource makes the Alert tell the events of an object.
func (o *AlertObject) AddSource(ref Ref) {
	o.Spec.EventSources = append(o.Spec.EventSources, notificationv1beta3.CrossNamespaceObjectReference{
		Kind: ref.Kind, Name: ref.Name, Namespace: ref.Namespace,
	})
}

// IsSuspended returns spec.suspend.
func (o *AlertObject) IsSuspended() bool { return o.Spec.Suspend }

// ProviderObject is a Provider as the verbs see it.
type ProviderObject struct {
	notificationv1beta3.Provider
	noStatus
}

// NewProvider returns an empty Provider.
func NewProvider() *ProviderObject { return &ProviderObject{} }

// IsSuspended returns spec.suspend.
func (o *ProviderObject) IsSuspended() bool { return o.Spec.Suspend }

// Who is told and who may tell.
var (
	Receiver = &Kind{
		Resource: notificationResource("v1", "Receiver", "receivers"),
		New:      newOf[notificationv1.Receiver](),
		Path:     "receiver", Lists: "receivers", Human: "receiver",
		ListAliases: []string{"receiver"},
		Verbs:       sourceVerbs,
		Columns:     []Column{suspended},
		Outcome:     constant("Receiver reconciliation completed"),
	}
	Provider = &Kind{
		Resource: notificationResource("v1beta3", "Provider", "providers"),
		New:      newOf[ProviderObject](),
		Path:     "alert-provider", Lists: "alert-providers", Human: "alert provider",
		ListAliases: []string{"alert-provider"},
		Verbs:       Get | Export | Suspend | Delete,
		Static:      constant("Provider is Ready"),
		Outcome:     constant("Provider reconciliation completed"),
	}
	Alert = &Kind{
		Resource: notificationResource("v1beta3", "Alert", "alerts"),
		New:      newOf[AlertObject](),
		Path:     "alert", Lists: "alerts", Human: "alert",
		ListAliases: []string{"alert"},
		Verbs:       Get | Export | Suspend | Delete,
		Columns:     []Column{suspended},
		Static:      constant("Alert is Ready"),
		Outcome:     constant("Alert reconciliation completed"),
		Related: on(func(o *AlertObject) []Ref {
			return []Ref{{"Provider", o.Spec.ProviderRef.Name, o.Namespace}}
		}),
	}
)

func init() { register(Receiver, Provider, Alert) }
