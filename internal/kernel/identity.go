package kernel

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// FeatureGateDisabledReason is the reason of Stalled for a field whose feature gate is off.
const FeatureGateDisabledReason = "FeatureGateDisabled"

// GateDisabledError says that a field needs a feature gate.
type GateDisabledError struct{ Field, Purpose, Gate string }

// Error has the text of the tables.
func (e *GateDisabledError) Error() string {
	return fmt.Sprintf("to use %s for %s authentication please enable the %s feature gate in the controller", e.Field, e.Purpose, e.Gate)
}

// CheckCloudAccount tells whether an object may name a ServiceAccount whose identity at a cloud is to be used. field is
// the one that names it and purpose what it is used for, "provider" in most cases.
func (m *Manager) CheckCloudAccount(named, field, purpose string) error {
	if named == "" || m.Gate(GateObjectLevelWorkloadIdentity) {
		return nil
	}
	return &GateDisabledError{Field: field, Purpose: purpose, Gate: GateObjectLevelWorkloadIdentity}
}

// CloudAccount returns the ServiceAccount whose identity at a cloud an object uses: the named one, else fallback, a flag
// such as --default-service-account. Nil stands for the controller's own identity.
func (m *Manager) CloudAccount(ctx context.Context, namespace, named, fallback string) (*corev1.ServiceAccount, error) {
	name, note := named, "create it, or correct the name"
	if name == "" {
		name, note = fallback, "the specified default service account does not exist in the object namespace. create it there, or name another in the object"
	}
	if name == "" {
		return nil, nil
	}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	sa := &corev1.ServiceAccount{}
	switch err := m.Live().Get(ctx, key, sa); {
	case apierrors.IsNotFound(err) && named == "":
		return nil, fmt.Errorf("failed to get service account '%s': %s", key, note)
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("failed to get service account '%s': %w; %s", key, err, note)
	case err != nil:
		return nil, fmt.Errorf("failed to get service account '%s': %w", key, err)
	}
	return sa, nil
}

// RequestToken requests a token of a ServiceAccount for audiences.
func (m *Manager) RequestToken(ctx context.Context, namespace, name string, audiences []string) (string, time.Time, error) {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	if err := m.Client().SubResource("token").Create(ctx, sa, request); err != nil {
		return "", time.Time{}, err
	}
	return request.Status.Token, request.Status.ExpirationTimestamp.Time, nil
}
