package kustomize

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
)

// FieldsIgnoredCondition is True while objects are applied without fields that their kind does not have.
const FieldsIgnoredCondition = "gitops-toolkit.dev/FieldsIgnored"

// unknownFieldReason is the reason of that condition and of its event.
const unknownFieldReason = "UnknownField"

// ignoredFields lists the fields of a set that are not applied, with their files.
func (j *job) ignoredFields(ctx context.Context, set *apply.Set) []apply.UnknownField {
	fields := set.UnknownFields()
	var unknown []build.Key
	for _, f := range fields {
		if f.File == "" {
			unknown = append(unknown, keyOf(f.Ref))
		}
	}
	if len(unknown) == 0 {
		return fields
	}
	files := j.files(ctx, unknown)
	for i := range fields {
		if f := &fields[i]; f.File == "" {
			f.File = files[keyOf(f.Ref)]
		}
	}
	return fields
}

// hintAtFields adds to the refusal of an object which of its fields were ignored: it may well be refused for that.
func hintAtFields(failures []apply.Failure, ignored []apply.UnknownField) {
	for i := range failures {
		f := &failures[i]
		var hints []string
		if f.Hint != "" {
			hints = append(hints, f.Hint)
		}
		for _, field := range ignored {
			hint := fmt.Sprintf("unknown field %s was ignored: correct or remove it", field.Path)
			if field.ID() == f.ID() && !strings.Contains(f.Hint, hint) { // The refusal itself names those that this pass found.
				hints = append(hints, hint)
			}
		}
		f.Hint = strings.Join(hints, "\n  ")
	}
}

// judgeFields sets or removes the condition about ignored fields, and tells whether there is news.
func judgeFields(req *request, a *applied) (news bool) {
	if !a.prepared {
		return false // nothing is known beyond what was said before
	}
	if len(a.ignored) == 0 {
		req.RemoveCondition(FieldsIgnoredCondition)
		return false
	}
	text, before := fieldsText(a.ignored), req.Condition(FieldsIgnoredCondition)
	req.SetCondition(FieldsIgnoredCondition, metav1.ConditionTrue, unknownFieldReason, text)
	return before == nil || before.Message != text
}

// fieldsText has a line for each field.
func fieldsText(fields []apply.UnknownField) string {
	lines := make([]string, len(fields))
	for i, f := range fields {
		lines[i] = f.String()
	}
	return strings.Join(slices.Compact(lines), "\n")
}
