package notify

import (
	"os"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/notify/providers"
	"github.com/gitops-toolkit/flux/internal/notify/receivers"
)

// Every type that the API server lets in is one that we know, and the other way round.
func TestTypesAreThoseOfTheDefinitions(t *testing.T) {
	t.Parallel()
	for resource, known := range map[string][]string{"providers": providers.Names(), "receivers": receivers.Names()} {
		data, err := os.ReadFile("../../manifests/crds/notification.toolkit.fluxcd.io_" + resource + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var definition struct {
			Spec struct {
				Versions []struct {
					Storage bool
					Schema  struct {
						OpenAPI struct {
							Properties struct {
								Spec struct {
									Properties struct{ Type struct{ Enum []string } }
								}
							}
						} `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(data, &definition); err != nil {
			t.Fatal(err)
		}
		for _, v := range definition.Spec.Versions {
			if !v.Storage {
				continue
			}
			admitted := slices.Sorted(slices.Values(v.Schema.OpenAPI.Properties.Spec.Properties.Type.Enum))
			if !slices.Equal(admitted, known) {
				t.Errorf("%s: the definition has %v, we know %v", resource, admitted, known)
			}
		}
	}
}
