package process

import (
	"context"
	"fmt"
	"maps"
	"sort"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// objects reads the ConfigMaps and Secrets that a pod names.
type objects struct {
	client    kubernetes.Interface
	namespace string
}

// configMap returns the data of a ConfigMap, nil when it is optional and absent.
func (o objects) configMap(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	object, err := o.client.CoreV1().ConfigMaps(o.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configmap %q: %w", name, err)
	}
	data := maps.Clone(object.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for key, value := range object.Data {
		data[key] = []byte(value)
	}
	return data, nil
}

// secret returns the data of a Secret, nil when it is optional and absent.
func (o objects) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	object, err := o.client.CoreV1().Secrets(o.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	return object.Data, nil
}

// environment resolves the variables of a container on top of base. Later
// variables see earlier ones through $(NAME).
func (o objects) environment(ctx context.Context, pod *corev1.Pod, c *corev1.Container, base map[string]string, capacity corev1.ResourceList) (map[string]string, error) {
	env := maps.Clone(base)
	for _, from := range c.EnvFrom {
		data, err := o.envFrom(ctx, from)
		if err != nil {
			return nil, err
		}
		for key, value := range data {
			env[from.Prefix+key] = string(value)
		}
	}
	for _, variable := range c.Env {
		value, set, err := o.value(ctx, pod, c, variable, env, capacity)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", variable.Name, err)
		}
		if set {
			env[variable.Name] = value
		}
	}
	return env, nil
}

func (o objects) envFrom(ctx context.Context, from corev1.EnvFromSource) (map[string][]byte, error) {
	switch {
	case from.ConfigMapRef != nil:
		return o.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		return o.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
	}
	return nil, nil
}

func (o objects) value(ctx context.Context, pod *corev1.Pod, c *corev1.Container, v corev1.EnvVar, env map[string]string, capacity corev1.ResourceList) (value string, set bool, err error) {
	if v.ValueFrom == nil {
		return expand(v.Value, env), true, nil
	}
	switch from := v.ValueFrom; {
	case from.FieldRef != nil:
		value, err = field(pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = resourceField(pod, c, from.ResourceFieldRef, capacity)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		data, err := o.configMap(ctx, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Optional)
		return key(data, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional, err)
	case from.SecretKeyRef != nil:
		data, err := o.secret(ctx, from.SecretKeyRef.Name, from.SecretKeyRef.Optional)
		return key(data, from.SecretKeyRef.Key, from.SecretKeyRef.Optional, err)
	}
	return "", false, fmt.Errorf("its source is not one that the sandbox knows")
}

func key(data map[string][]byte, name string, optional *bool, err error) (string, bool, error) {
	if err != nil {
		return "", false, err
	}
	value, ok := data[name]
	if !ok && (optional == nil || !*optional) {
		return "", false, fmt.Errorf("there is no key %q", name)
	}
	return string(value), ok, nil
}

// list gives variables the form that a process takes, in a stable order.
func list(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	sort.Strings(out)
	return out
}
