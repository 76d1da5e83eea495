package apply

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	switch v.item.ref.Kind {
	case "CustomResourceDefinition", "APIService", "Namespace":
		return nil
	}
	u := v.item.obj.DeepCopy()
	name := u.GetName()
	u.SetName(strings.TrimRight(name[:min(len(name), 45)], "-.") + "-" + v.item.hash.String()[:8])
	_, err := p.send(ctx, v.mapping, u, true)
	if apierrors.IsInvalid(err) && !strings.Contains(err.Error(), "already allocated") {
		return err
	}
	return nil
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
	if h := p.forceHint(v); h != "" {
		lines = append(lines, h)
	}
	return strings.Join(lines, "\n  ")
}

// forceHint says what to do about a refusal that only force would cure.
func (p *pass) forceHint(v *verdict) string {
	if v.err == nil || !namesImmutable(v.err) || v.live == nil || p.mayForce(v) {
		return ""
	}
	return fmt.Sprintf("to have the object deleted and created anew, annotate it with %s/force: enabled or set spec.force", p.controls)
}
