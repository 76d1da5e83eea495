package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
	"github.com/gitops-toolkit/flux/internal/notify/receivers"
)

// hookPrefix is where all webhooks begin.
const hookPrefix = "/hook/"

// registerReceivers adds the kind and the webhook server.
func registerReceivers(m *kernel.Manager, s *secrets, policy providers.Policy, o Options) error {
	known := newPaths()
	m.Add(func(ctx context.Context) error { return known.follow(ctx, m) })
	if err := serveHooks(&hooks{m: m, paths: known, secrets: s, oidc: receivers.NewOIDC(policy.Transport())}, o); err != nil {
		return err
	}
	return kernel.Register(m, receiverKind(), &receiverController{secrets: m})
}

// receiverKind describes Receivers to the kernel.
func receiverKind() kernel.Kind[*notificationv1.Receiver] {
	return kernel.Kind[*notificationv1.Receiver]{
		GroupVersionKind: notificationv1.GroupVersion.WithKind(notificationv1.ReceiverKind),
		New:              func() *notificationv1.Receiver { return &notificationv1.Receiver{} },
		SuspendedMessage: "Reconciliation is suspended for this object",
	}
}

// receiverController gives Receivers their path.
type receiverController struct{ secrets secretReader }

type secretReader interface {
	GetSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error)
}

type receiverRequest = kernel.Request[*notificationv1.Receiver]

// References returns the Secret with the token.
func (c *receiverController) References(r *notificationv1.Receiver) []kernel.Reference {
	if r.Spec.SecretRef == nil {
		return nil
	}
	return []kernel.Reference{kernel.Secret(r.Spec.SecretRef.Name)}
}

// Reconcile checks the spec, reads the token and publishes the path.
func (c *receiverController) Reconcile(_ context.Context, req *receiverRequest) kernel.Outcome {
	r := req.Object
	if reason, err := checkReceiver(r); err != nil {
		//lint:ignore ST1005 the text of the tables
		return kernel.Stalled(reason, fmt.Errorf("Reconciliation failed terminally due to configuration error: %w", err))
	}
	if r.Spec.SecretRef == nil {
		return c.publish(r, nil)
	}
	if req.Job == nil || req.Job.Superseded {
		req.Progress(kernel.Progress{Message: "Reconciliation in progress"})
		name := r.Spec.SecretRef.Name
		return kernel.Working(kernel.Job{Key: "token of " + name, Run: func(ctx context.Context) (any, error) {
			return readToken(ctx, c.secrets, types.NamespacedName{Namespace: r.Namespace, Name: name})
		}})
	}
	if err := req.Job.Err; err != nil {
		r.Status.WebhookPath = ""
		return kernel.Failed("TokenNotFound", err).Backoff().WithoutEvent().WithEvents(kernel.Warning(meta.FailedReason, err.Error(), nil))
	}
	token, _ := req.Job.Value.([]byte)
	return c.publish(r, token)
}

// checkReceiver finds what no repetition heals.
func checkReceiver(r *notificationv1.Receiver) (reason string, err error) {
	if err := receivers.Check(r); err != nil {
		return "ValidationFailed", err
	}
	if _, err := receivers.Compile(r); err != nil {
		return meta.InvalidCELExpressionReason, err
	}
	return "", nil
}

func (c *receiverController) publish(r *notificationv1.Receiver, token []byte) kernel.Outcome {
	r.Status.WebhookPath = webhookPath(token, r.Namespace, r.Name)
	finished := fmt.Sprintf("Reconciliation finished, next run in %s", r.GetInterval())
	done := kernel.Normal(meta.SucceededReason, finished, nil)
	done.OnChange = true
	return kernel.Done(meta.SucceededReason, "Receiver initialized for path: "+r.Status.WebhookPath).WithEvents(done).WithLog(finished)
}

// Finalize has nothing to clean up.
func (c *receiverController) Finalize(context.Context, *receiverRequest) kernel.Outcome {
	return kernel.Done("", "")
}

// webhookPath is the path of a Receiver. Nobody can guess it without the token.
func webhookPath(token []byte, namespace, name string) string {
	h := sha256.New()
	h.Write(token)
	h.Write([]byte(name + namespace))
	return hookPrefix + hex.EncodeToString(h.Sum(nil))
}

func readToken(ctx context.Context, secrets secretReader, key types.NamespacedName) ([]byte, error) {
	s, err := secrets.GetSecret(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("unable to read token from secret '%s' error: %w", key, err)
	}
	token := s.Data[receivers.KeyToken]
	if len(token) == 0 {
		return nil, fmt.Errorf("invalid '%s' secret data: required fields '%s'", key, receivers.KeyToken)
	}
	return token, nil
}
