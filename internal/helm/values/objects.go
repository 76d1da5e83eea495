package values

import (
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// missing is an object that does not exist, with the words of the server.
type missing struct{ error }

// Is makes it an ErrNotFound.
func (missing) Is(target error) bool { return target == ErrNotFound }

func asMissing(err error) error {
	if apierrors.IsNotFound(err) {
		return missing{err}
	}
	return err
}

// FromSecret is what a Reader returns of a Secret, or of the failure to read it.
func FromSecret(s *corev1.Secret, err error) (Object, error) {
	if err != nil {
		return nil, asMissing(err)
	}
	return s.Data, nil
}

// FromConfigMap is what a Reader returns of a ConfigMap, or of the failure to read it.
func FromConfigMap(c *corev1.ConfigMap, err error) (Object, error) {
	if err != nil {
		return nil, asMissing(err)
	}
	out := Object{}
	for k, v := range c.Data {
		out[k] = []byte(v)
	}
	for k, v := range c.BinaryData {
		out[k] = v
	}
	return out, nil
}
