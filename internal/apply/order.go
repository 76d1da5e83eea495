package apply

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kindsFirst is the order in which kinds are applied; kinds that stand in neither list come in
// between, by group and kind.
var kindsFirst = []string{
	"CustomResourceDefinition", "Namespace", "ClusterRole",
	"ClusterClass", "RuntimeClass", "PriorityClass", "StorageClass", "VolumeSnapshotClass",
	"IngressClass", "GatewayClass",
	"ClusterRoleBinding", "ResourceQuota", "ServiceAccount", "Role", "RoleBinding",
	"ConfigMap", "Secret", "Service", "LimitRange",
	"Deployment", "StatefulSet", "CronJob", "PodDisruptionBudget",
}

var kindsLast = []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}

func kindRank(kind string) int {
	if i := slices.Index(kindsFirst, kind); i >= 0 {
		return i - len(kindsFirst)
	}
	return slices.Index(kindsLast, kind) + 1
}

// compareRefs orders objects for applying: by kind, then namespace, then name.
func compareRefs(a, b Ref) int {
	if c := cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.Group, b.Group), cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name),
	)
}

// stage is a barrier: all of it is validated before any of it is written, and all of it is written
// before the next one is validated.
type stage int

const (
	stageDefinitions stage = iota // CRDs, Namespaces, ClusterRoles
	stageClasses                  // kinds that end in Class
	stageCustom                   // kinds that the operator named
	stageRest
	stageCount
)

// waits says that what the stage wrote must be ready before the next stage begins.
func (s stage) waits() bool { return s == stageDefinitions || s == stageClasses }

func stageOf(gk schema.GroupKind, custom []schema.GroupKind) stage {
	switch {
	case gk.Group == "apiextensions.k8s.io" && gk.Kind == "CustomResourceDefinition",
		gk.Group == "" && gk.Kind == "Namespace",
		gk.Group == "rbac.authorization.k8s.io" && gk.Kind == "ClusterRole":
		return stageDefinitions
	case strings.HasSuffix(gk.Kind, "Class"):
		return stageClasses
	case slices.Contains(custom, gk):
		return stageCustom
	}
	return stageRest
}

var kindName = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)

// ParseStageKinds reads the comma list of group/Kind of --custom-apply-stage-kinds; the core group
// is empty ("/ConfigMap", or just "ConfigMap").
func ParseStageKinds(list string) ([]schema.GroupKind, error) {
	var out []schema.GroupKind
	for _, item := range strings.Split(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		group, kind, ok := strings.Cut(item, "/")
		if !ok {
			group, kind = "", item
		}
		if !kindName.MatchString(kind) {
			return nil, fmt.Errorf("%q is no kind: write group/Kind, or Kind for the core group", item)
		}
		out = append(out, schema.GroupKind{Group: group, Kind: kind})
	}
	return out, nil
}
