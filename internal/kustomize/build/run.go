package build

import (
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/gitops-toolkit/flux/internal/kschema"
)

// errNeedsExclusive stops a build that turns out to bring its own schema, to begin again alone.
var errNeedsExclusive = errors.New("the kustomization names an OpenAPI schema")

// build runs the steps beside other builds, and once more alone if a kustomization turns out to bring a schema.
func (b *builder) build() (*Result, error) {
	result, err := b.buildShared()
	if b.custom {
		return b.buildAlone()
	}
	return result, err
}

func (b *builder) buildShared() (result *Result, err error) {
	b.shared = true
	kschema.Shared(func() { result, err = guarded(b.steps) })
	return result, err
}

func (b *builder) buildAlone() (result *Result, err error) {
	b.shared = false
	kschema.Alone(func() {
		b.reset(b.fsys.ctx)
		result, err = guarded(b.steps)
	})
	return result, err
}

// run builds the prepared directory.
func (b *builder) run() ([]piece, error) {
	pieces, err := b.runWhole()
	if b.fsys.refused != nil {
		err = b.fsys.refused // kustomize may have hidden it behind "no kustomization file"
	}
	var undecrypted *decryptionError
	if errors.As(err, &undecrypted) {
		return nil, undecrypted
	}
	if err != nil {
		return nil, fmt.Errorf("kustomize build failed: %w", b.explained(err))
	}
	return pieces, nil
}

// explained makes an error of kustomize readable, and names the files where they are known.
func (b *builder) explained(err error) error {
	better := readable(err)
	if b.twice == "" || !strings.Contains(err.Error(), "already registered id") {
		return better
	}
	return &reworded{text: better.Error() + ": they are " + b.twice, err: err}
}

// runWhole builds in parts where that gives the same, else at once, as kustomize does. If anything is odd about a part
// it builds the whole, whose errors name the real files.
func (b *builder) runWhole() ([]piece, error) {
	if objects, ok := b.parts(); ok {
		if pieces, err := b.runParts(objects); err == nil {
			return pieces, nil
		}
	}
	b.memo = nil
	resources, err := b.krusty(b.dir)
	return piecesOf(resources), err
}

// krusty runs kustomize on one directory of the file system.
func (b *builder) krusty(dir string) ([]*resource.Resource, error) {
	return guarded(func() ([]*resource.Resource, error) {
		options := krusty.MakeDefaultOptions()
		options.Reorder = krusty.ReorderOptionNone
		options.LoadRestrictions = types.LoadRestrictionsNone // the file system restricts
		options.PluginConfig = types.DisabledPluginConfig()
		built, err := krusty.MakeKustomizer(options).Run(b.fsys, dir)
		if err != nil {
			return nil, err
		}
		return built.Resources(), nil
	})
}
