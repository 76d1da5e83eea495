package kustomize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/kustomize/substitute"
)

// variables are what spec.postBuild substitutes. An error to load them is told only when an object needs them.
type variables struct {
	values  substitute.Variables
	enabled bool
	strict  bool
	private bool // a value came from a Secret
	secrets []string
	err     error
}

// shortestSecret is the length from which a value of a Secret is looked for in messages: shorter ones would blot out words.
const shortestSecret = 8

// noteSecrets keeps in mind what must not be shown.
func (v *variables) noteSecrets(layer map[string]string) {
	v.private = true
	for _, value := range substitute.Merge(layer) {
		if len(value) >= shortestSecret {
			v.secrets = append(v.secrets, value)
		}
	}
}

// holdSecret tells whether a value of a Secret is in a text.
func (v *variables) holdSecret(text []byte) bool {
	return slices.ContainsFunc(v.secrets, func(secret string) bool { return bytes.Contains(text, []byte(secret)) })
}

// concealed takes the values of Secrets out of an error.
func (v *variables) concealed(err error) error {
	if text := apply.Conceal(err.Error(), v.secrets); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// variables reads them with the controller's own identity, from the namespace of the object.
func (c *controller) variables(ctx context.Context, k *kustomizev1.Kustomization) *variables {
	v := &variables{strict: c.m.Gate(kernel.GateStrictPostBuildSubstitutions)}
	post := k.Spec.PostBuild
	if post == nil {
		return v
	}
	var layers []map[string]string
	for _, from := range post.SubstituteFrom {
		layer, err := c.loadVariables(ctx, types.NamespacedName{Namespace: k.Namespace, Name: from.Name}, from)
		if err != nil {
			v.enabled, v.err = true, err
			return v
		}
		if from.Kind == "Secret" {
			v.noteSecrets(layer)
		}
		layers = append(layers, layer)
	}
	v.values = substitute.Merge(append(layers, post.Substitute)...)
	v.err = v.values.Validate()
	v.enabled = v.err != nil || len(v.values) > 0 || post.SubstituteStrategy == kustomizev1.SubstituteAlways
	return v
}

func (c *controller) loadVariables(ctx context.Context, name types.NamespacedName, from kustomizev1.SubstituteReference) (map[string]string, error) {
	values := map[string]string{}
	var err error
	switch from.Kind {
	case "ConfigMap":
		if cm, e := c.m.GetConfigMap(ctx, name); e == nil {
			values = cm.Data
		} else {
			err = e
		}
	case "Secret":
		if secret, e := c.m.GetSecret(ctx, name); e == nil {
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

// step returns the post-build step, nil when nothing is substituted.
func (v *variables) step() build.Step {
	if !v.enabled {
		return nil
	}
	expand := build.SubstituteStep(v.values, v.strict)
	return func(ctx context.Context, text build.Text) ([]byte, error) {
		if v.err != nil && !build.SubstitutionDisabled(text.Object) {
			return nil, v.err
		}
		return expand(ctx, text)
	}
}
