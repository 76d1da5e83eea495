package helm

import (
	"context"

	"github.com/gitops-toolkit/flux/internal/kernel"
)

// looksForDrift tells whether the spec asks to look.
func (c *controller) looksForDrift(t *target) bool {
	d := t.spec().DriftDetection
	return d != nil && (d.Mode == "enabled" || d.Mode == "warn")
}

func (a *attempt) look(context.Context) *kernel.Outcome {
	a.looked = true
	return nil
}

func (c *controller) forgetDrift(*request) {}
