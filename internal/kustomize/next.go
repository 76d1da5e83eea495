package kustomize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/validation"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/clusters"
	"github.com/gitops-toolkit/flux/internal/refusal"
)

// The next steps of messages. They follow the words of the tables, which people and their alerts know.

// nextSteps adds to the refusal of each object what to do about it.
func (j *job) nextSteps(ctx context.Context, failures []apply.Failure) {
	account := ""
	for i := range failures {
		f := &failures[i]
		next := nextOf(j.t.object, *f)
		switch _, granting := refusal.Granting(f.Err.Error()); {
		case granting:
			next = nextOfGrant
		case clusters.WantsRights(f.Err):
			if account == "" {
				account = j.c.finder().NextOfRights(ctx, placeOf(j.t.object))
			}
			next = account
		}
		if next != "" {
			f.Hint = strings.TrimPrefix(f.Hint+"\n  "+next, "\n  ")
		}
	}
}

// nextOf is what to do about the refusal of one object, "" where the server's words say it.
func nextOf(k *kustomizev1.Kustomization, f apply.Failure) string {
	switch {
	case apimeta.IsNoMatchError(f.Err) && f.Hint != "":
		return "" // It says what the server has instead.
	case apimeta.IsNoMatchError(f.Err):
		return "correct apiVersion and kind, or install the CustomResourceDefinition first: in this source, or by a Kustomization that spec.dependsOn names"
	case placeOf(k).Next(f.Err) != "":
		return placeOf(k).Next(f.Err)
	case refusal.Advice(f.Err.Error()) != "":
		return refusal.Advice(f.Err.Error()) + nextOfVariables(k, f.Err)
	case apierrors.IsInvalid(f.Err) && len(k.Name) > validation.LabelValueMaxLength && strings.Contains(f.Err.Error(), k.Name):
		return fmt.Sprintf("the name of the Kustomization is a label of its objects, which takes %d characters: give it a shorter one", validation.LabelValueMaxLength)
	case apierrors.IsInvalid(f.Err) && f.Hint == "":
		return nextOfInvalid(k, f.Err)
	case !apierrors.IsNotFound(f.Err):
		return ""
	case f.Namespace == "":
		return "set metadata.namespace of the object, or spec.targetNamespace of the Kustomization"
	case !strings.Contains(f.Err.Error(), fmt.Sprintf("namespaces %q not found", f.Namespace)):
		return ""
	case f.Namespace == k.Spec.TargetNamespace:
		return fmt.Sprintf("add the Namespace '%s' to this source or to that of a Kustomization which spec.dependsOn names, or correct spec.targetNamespace", f.Namespace)
	}
	return fmt.Sprintf("add the Namespace '%s' to this source or to that of a Kustomization which spec.dependsOn names, or correct metadata.namespace", f.Namespace)
}

// maxFields is how many fields of one object a next step names.
const maxFields = 5

// nextOfInvalid names the fields that the server does not take.
func nextOfInvalid(k *kustomizev1.Kustomization, err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return ""
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Field != "" && cause.Field != "<nil>" && !slices.Contains(fields, cause.Field) {
			fields = append(fields, cause.Field)
		}
	}
	switch n := len(fields); {
	case n == 0:
		return ""
	case n == 1:
		return "correct the field " + fields[0] + nextOfSpec(k, fields)
	case n > maxFields:
		return fmt.Sprintf("correct the fields %s and %d more", strings.Join(fields[:maxFields], ", "), n-maxFields) + nextOfSpec(k, fields)
	}
	return "correct the fields " + strings.Join(fields, ", ") + nextOfSpec(k, fields)
}

// nextOfSpec names what in the spec changes fields that the server does not take: the mistake may be there.
func nextOfSpec(k *kustomizev1.Kustomization, fields []string) string {
	m := k.Spec.CommonMetadata
	var also []string
	add := func(set bool, field, name string) {
		if set && slices.Contains(fields, field) {
			also = append(also, name)
		}
	}
	add(k.Spec.NamePrefix != "", "metadata.name", "spec.namePrefix")
	add(k.Spec.NameSuffix != "", "metadata.name", "spec.nameSuffix")
	add(m != nil && len(m.Labels) > 0, "metadata.labels", "spec.commonMetadata.labels")
	add(m != nil && len(m.Annotations) > 0, "metadata.annotations", "spec.commonMetadata.annotations")
	if len(also) == 0 {
		return ""
	}
	return ", or " + strings.Join(also, " or ")
}

// nextOfVariables tells how a variable becomes a string, where one is expected and a number or a boolean came.
func nextOfVariables(k *kustomizev1.Kustomization, err error) string {
	if k.Spec.PostBuild == nil || !strings.Contains(err.Error(), ": expected string, got ") {
		return ""
	}
	return `; one that spec.postBuild fills in brings them along, such as v: '"1"'`
}

// nextOfGrant is what to do about a Role or RoleBinding with more rights than its applier has.
const nextOfGrant = "an account can give away only what it may do itself: grant it these rights, or let a Kustomization with another spec.serviceAccountName apply the object"

// reached adds to an error of the way to the cluster what to do about it. The refusals of objects have theirs.
func (j *job) reached(err error) error {
	var refused *apply.FailedError
	next := placeOf(j.t.object).Next(err)
	if next == "" || errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("%w; %s", err, next)
}
