package tree

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// maxRelease bounds an unpacked release, in bytes: a Secret holds 1 MiB of it compressed.
const maxRelease = 64 << 20

const (
	helmNameLabel      = "helm.toolkit.fluxcd.io/name"
	helmNamespaceLabel = "helm.toolkit.fluxcd.io/namespace"
)

// released returns the objects of the latest release: as Helm's own record has them, or the inventory in the status, where
// the record cannot be read.
func (b *builder) released(ctx context.Context, obj *helmv2.HelmRelease, remote bool) ([]Identity, error) {
	latest := obj.Status.History.Latest()
	if latest == nil {
		return nil, nil
	}
	var ids []Identity
	err := errRemote
	if !remote {
		ids, err = b.recorded(ctx, obj, latest)
	}
	if err == nil || obj.Status.Inventory == nil {
		if remote {
			err = nil // older controllers kept no inventory
		}
		return ids, err
	}
	ids = nil
	for _, entry := range obj.Status.Inventory.Entries {
		id, err := parseID(entry.ID)
		if err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// errRemote says that a record is in another cluster.
var errRemote = errors.New("the release is in another cluster")

// recorded returns the objects of a release from Helm's own record of it, and the CRDs that
// came with it, which Helm does not record.
func (b *builder) recorded(ctx context.Context, obj *helmv2.HelmRelease, snapshot *helmv2.Snapshot) ([]Identity, error) {
	storage := obj.Status.StorageNamespace
	if storage == "" {
		storage = obj.Namespace
	}
	name := fmt.Sprintf("sh.helm.release.v1.%s.v%d", snapshot.Name, snapshot.Version)
	var secret corev1.Secret
	if err := b.client.Get(ctx, kinds.Secrets, storage, name, &secret); err != nil {
		return nil, fmt.Errorf("read the release: %w", err)
	}
	manifest, err := decodeRelease(secret.Data["release"])
	if err != nil {
		return nil, fmt.Errorf("decode Secret %s/%s: %w", storage, name, err)
	}
	ids, err := b.manifest(ctx, manifest, snapshot.Namespace)
	if err != nil {
		return nil, err
	}
	labels := helmNameLabel + "=" + obj.Name + "," + helmNamespaceLabel + "=" + obj.Namespace
	crds, err := cluster.All[metav1.PartialObjectMetadata](ctx, b.client, kinds.CRDs, cluster.ListOptions{Labels: labels})
	if err != nil {
		return nil, fmt.Errorf("list the CRDs of the release: %w", err)
	}
	seen := map[Identity]bool{}
	for _, id := range ids {
		seen[id] = true
	}
	for _, crd := range crds {
		if id := (Identity{Name: crd.Name, GroupKind: kinds.CRDs.GVK().GroupKind()}); !seen[id] {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// decodeRelease undoes Helm's base64 and gzip and returns the manifest.
func decodeRelease(data []byte) (string, error) {
	packed, err := base64.StdEncoding.DecodeString(string(data))
	if err != nil {
		return "", err
	}
	unzip, err := gzip.NewReader(strings.NewReader(string(packed)))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(unzip, maxRelease+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxRelease {
		return "", fmt.Errorf("the release is larger than %d bytes", maxRelease)
	}
	var release struct {
		Manifest string `json:"manifest"`
	}
	err = json.Unmarshal(text, &release)
	return release.Manifest, err
}

// manifest lists the objects of a multi-document text; those without a namespace get the
// release's if their kind lives in one.
func (b *builder) manifest(ctx context.Context, text, namespace string) ([]Identity, error) {
	var ids []Identity
	for doc := range strings.SplitSeq("\n"+text, "\n---") {
		var object metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			return nil, fmt.Errorf("parse the manifest of the release: %w", err)
		}
		if object.Kind == "" {
			continue
		}
		gvk := schema.FromAPIVersionAndKind(object.APIVersion, object.Kind)
		id := Identity{Namespace: object.Namespace, Name: object.Name, GroupKind: gvk.GroupKind()}
		namespaced, err := b.kinds.Namespaced(ctx, gvk)
		if err != nil {
			return nil, err
		}
		switch {
		case !namespaced:
			id.Namespace = ""
		case id.Namespace == "":
			id.Namespace = namespace
		}
		ids = append(ids, id)
	}
	return ids, nil
}
