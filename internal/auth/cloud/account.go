package cloud

import (
	corev1 "k8s.io/api/core/v1"
)

// AccountOf is a ServiceAccount as an Account; nil stays nil.
func AccountOf(sa *corev1.ServiceAccount) *Account {
	if sa == nil {
		return nil
	}
	return &Account{Namespace: sa.Namespace, Name: sa.Name, UID: string(sa.UID), Annotations: sa.Annotations}
}
