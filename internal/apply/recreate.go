package apply

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
)

// immutable reports whether a refusal is one that deleting and creating the object may cure.
func immutable(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsInvalid(err) || namesImmutable(err)
}

var immutableText = regexp.MustCompile(`is immutable|immutable field`)

func namesImmutable(err error) bool { return immutableText.MatchString(err.Error()) }

// probe validates the object under another name before the live one is deleted, so that an object
// that is wrong for other reasons too is not lost. Kinds whose name is part of their meaning cannot
// be probed, nor what only one object may hold at a time (a node port).
func (p *pass) probe(ctx context.Context, v *verdict) error {
	if !p.canProbe(v) {
		return nil
	}
	if err := p.tryAnew(ctx, v); apierrors.IsInvalid(err) && !taken(err) {
		return err
	}
	return nil
}

// tryAnew asks what the server says to the object under another name.
func (p *pass) tryAnew(ctx context.Context, v *verdict) error {
	u := v.item.obj.DeepCopy()
	name := u.GetName()
	u.SetName(strings.TrimRight(name[:min(len(name), 45)], "-.") + "-" + v.item.hash.String()[:8])
	_, err := p.send(ctx, v.mapping, u, true)
	return err
}

// taken tells whether the live object alone keeps the server from taking a new one.
func taken(err error) bool { return strings.Contains(err.Error(), "already allocated") }

// fixedFields tells whether the server refuses to change what it would take in a new object. Where it does not use the
// word immutable, another name shows it.
func (p *pass) fixedFields(ctx context.Context, v *verdict, refusal error) bool {
	switch {
	case namesImmutable(refusal):
		return true
	case !apierrors.IsInvalid(refusal) || !p.canProbe(v):
		return false
	}
	err := p.tryAnew(ctx, v)
	return err == nil || taken(err)
}

// canProbe is false for kinds whose name is part of their meaning.
func (p *pass) canProbe(v *verdict) bool {
	switch v.item.ref.Kind {
	case "CustomResourceDefinition", "APIService", "Namespace":
		return false
	}
	return true
}

// remove deletes the live object and waits until it is gone.
func (p *pass) remove(ctx context.Context, v *verdict) error {
	err := p.Client.deleteLive(ctx, v.mapping, v.live, false)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("immutable field detected, failed to delete object: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.StageTimeout)
	defer cancel()
	if err := p.Client.awaitGone(ctx, v.mapping, v.item.ref, v.live.GetUID()); err != nil {
		return fmt.Errorf("immutable field detected, failed to delete object: %w", err)
	}
	return nil
}

// hint names what may have to do with a refusal and what to do about it.
func (p *pass) hint(v *verdict) string {
	var lines []string
	for _, path := range v.item.unknown {
		lines = append(lines, fmt.Sprintf("unknown field %s was ignored: correct or remove it", path))
	}
	for _, h := range []string{p.forceHint(v), p.kindHint(v)} {
		if h != "" {
			lines = append(lines, h)
		}
	}
	return strings.Join(lines, "\n  ")
}

// forceHint says what to do about a refusal that only force would cure.
func (p *pass) forceHint(v *verdict) string {
	if v.err == nil || !v.fixed || p.mayForce(v) {
		return ""
	}
	return fmt.Sprintf("to have the object deleted and created anew, annotate it with %s/force: enabled or set spec.force", p.policies)
}

// kindHint names what the server has instead of a kind that it does not know.
func (p *pass) kindHint(v *verdict) string {
	if !meta.IsNoMatchError(v.err) {
		return ""
	}
	alike := p.Client.mapper.Alike(v.item.ref.GroupVersionKind)
	if len(alike) == 0 {
		return ""
	}
	return "the server has " + strings.Join(alike, ", ") + ": correct apiVersion and kind"
}
