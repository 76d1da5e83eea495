package spec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/kustomize/substitute"
)

// Reader reads what spec.postBuild.substituteFrom names.
type Reader interface {
	GetConfigMap(ctx context.Context, name types.NamespacedName) (*corev1.ConfigMap, error)
	GetSecret(ctx context.Context, name types.NamespacedName) (*corev1.Secret, error)
}

// Variables are what spec.postBuild substitutes.
type Variables struct {
	Values substitute.Variables
	// Enabled says that objects are looked at at all.
	Enabled bool
	Strict  bool
	// Private says that a value came from a Secret.
	Private bool
	// Err says why they could not be read. The step tells it when an object needs them.
	Err error

	secrets []string
}

// ReadVariables reads those of a Kustomization, in its namespace. Without a reader, substituteFrom is left out.
func ReadVariables(ctx context.Context, reader Reader, k *kustomizev1.Kustomization, strict bool) *Variables {
	v := &Variables{Strict: strict}
	post := k.Spec.PostBuild
	if post == nil {
		return v
	}
	var layers []map[string]string
	for _, from := range post.SubstituteFrom {
		if reader == nil {
			break
		}
		layer, err := read(ctx, reader, types.NamespacedName{Namespace: k.Namespace, Name: from.Name}, from)
		if err != nil {
			v.Enabled, v.Err = true, err
			return v
		}
		if from.Kind == "Secret" {
			v.noteSecrets(layer)
		}
		layers = append(layers, layer)
	}
	v.Values = substitute.Merge(append(layers, post.Substitute)...)
	v.Err = v.Values.Validate()
	v.Enabled = v.Err != nil || len(v.Values) > 0 || post.SubstituteStrategy == kustomizev1.SubstituteAlways
	return v
}

func read(ctx context.Context, reader Reader, name types.NamespacedName, from kustomizev1.SubstituteReference) (map[string]string, error) {
	values := map[string]string{}
	var err error
	switch from.Kind {
	case "ConfigMap":
		if cm, e := reader.GetConfigMap(ctx, name); e == nil {
			values = cm.Data
		} else {
			err = e
		}
	case "Secret":
		if secret, e := reader.GetSecret(ctx, name); e == nil {
			for key, value := range secret.Data {
				values[key] = string(value)
			}
		} else {
			err = e
		}
	}
	if apierrors.IsNotFound(err) && from.Optional {
		return nil, nil
	}
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w; create it, or set optional: true in spec.postBuild.substituteFrom", err)
	}
	if err != nil {
		return nil, fmt.Errorf("substitute from '%s/%s' error: %w", from.Kind, from.Name, err)
	}
	return values, nil
}

// Step returns the post-build step, nil when nothing is substituted.
func (v *Variables) Step() build.Step {
	if !v.Enabled {
		return nil
	}
	expand := build.SubstituteStep(v.Values, v.Strict)
	return func(ctx context.Context, text build.Text) ([]byte, error) {
		if v.Err != nil && !build.SubstitutionDisabled(text.Object) {
			return nil, v.Err
		}
		return expand(ctx, text)
	}
}

// shortestSecret is the length from which a value of a Secret is looked for in messages: shorter ones would blot out words.
const shortestSecret = 8

// noteSecrets keeps in mind what must not be shown.
func (v *Variables) noteSecrets(layer map[string]string) {
	v.Private = true
	for _, value := range substitute.Merge(layer) {
		if len(value) >= shortestSecret {
			v.secrets = append(v.secrets, value)
		}
	}
}

// HoldSecret tells whether a value of a Secret is in a text.
func (v *Variables) HoldSecret(text []byte) bool {
	return slices.ContainsFunc(v.secrets, func(secret string) bool { return bytes.Contains(text, []byte(secret)) })
}

// Explain adds to the error of a build what to do about a variable without a value, and takes the values of Secrets out.
func (v *Variables) Explain(err error) error {
	var unset *substitute.UnsetError
	if errors.As(err, &unset) {
		err = fmt.Errorf("%w; set it in spec.postBuild, or give it a default: ${%s:=value}", err, unset.Name)
	}
	if text := apply.Conceal(err.Error(), v.secrets); text != err.Error() {
		return errors.New(text)
	}
	return err
}
