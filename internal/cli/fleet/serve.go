package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	ociremote "github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// asGit serves a directory as a repository of the sandbox's Git server.
func (st *stage) asGit(ctx context.Context, name string, o other) (*stand, error) {
	address, dir, err := st.sandbox.repository(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := o.tree.push(ctx, dir); err != nil {
		return nil, err
	}
	fields := map[string]string{"url": strconv.Quote(address), "ref": fmt.Sprintf("dyn({%q: %q})", "branch", branch)}
	return &stand{
		addresses: []string{address},
		patch:     set(fields, "secretRef", "verify", "proxySecretRef", "provider", "serviceAccountName"),
	}, nil
}

// asArtifact pushes a directory to the sandbox's registry, a chart in the form that Helm gives it.
func (st *stage) asArtifact(ctx context.Context, name string, o other) (*stand, error) {
	address := st.sandbox.Registry + "/" + name
	fields := map[string]string{"url": strconv.Quote(registry.URLPrefix + address), "ref": `dyn({"tag": "local"})`, "insecure": "true"}
	remove := []string{"secretRef", "certSecretRef", "verify", "proxySecretRef", "provider", "serviceAccountName"}
	charts, err := chartsIn(o.tree)
	if err != nil {
		return nil, err
	}
	if len(charts) == 1 && charts[0].root {
		err = push(ctx, address, "local", registry.HelmConfigMediaType, registry.HelmContentMediaType, charts[0].packed)
	} else {
		var content []byte
		if content, err = o.tree.archive(); err == nil {
			err = push(ctx, address, "local", registry.ConfigMediaType, registry.ContentMediaType, content)
		}
		remove = append(remove, "layerSelector")
	}
	return &stand{addresses: []string{registry.URLPrefix + address}, patch: set(fields, remove...)}, err
}

// push writes an artifact of one layer.
func push(ctx context.Context, repository, tag, config, layer string, content []byte) error {
	ref, err := name.NewTag(repository+":"+strings.ReplaceAll(tag, "+", "_"), name.Insecure)
	if err != nil {
		return err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(config))
	image, err = mutate.Append(image, mutate.Addendum{Layer: static.NewLayer(content, types.MediaType(layer))})
	if err != nil {
		return err
	}
	return ociremote.Write(ref, image, ociremote.WithContext(ctx))
}

// asCharts serves the charts of a directory, both over HTTP and from the registry: the repository chooses by its type.
func (st *stage) asCharts(ctx context.Context, name string, o other) (*stand, error) {
	charts, err := chartsIn(o.tree)
	if err != nil {
		return nil, err
	}
	if len(charts) == 0 {
		return nil, fmt.Errorf("there is no chart in %s", filepath.Base(o.tree.dir))
	}
	page, err := indexOf(charts)
	if err != nil {
		return nil, err
	}
	address := st.files.put(name, "index.yaml", page)
	far := st.sandbox.Registry + "/" + name
	for _, c := range charts {
		st.files.put(name, c.file(), c.packed)
		if err := push(ctx, far+"/"+c.name, c.version, registry.HelmConfigMediaType, registry.HelmContentMediaType, c.packed); err != nil {
			return nil, err
		}
	}
	plain, oci := strconv.Quote(address), strconv.Quote(registry.URLPrefix+far)
	const isOCI = `has(object.spec.type) && object.spec.type == "oci"`
	fields := map[string]string{"url": fmt.Sprintf("(%s ? %s : %s)", isOCI, oci, plain)}
	return &stand{
		addresses: []string{address, registry.URLPrefix + far},
		patch: set(fields, "secretRef", "certSecretRef", "provider", "passCredentials") +
			fmt.Sprintf(` + (%s ? [JSONPatch{op: "add", path: "/spec/insecure", value: true}] : [])`, isOCI),
	}, nil
}

// asBucket serves a directory by as much of S3 as a reader needs.
func (st *stage) asBucket(_ context.Context, name string, o other) (*stand, error) {
	st.files.bucket(name, o.tree)
	fields := map[string]string{
		"endpoint": strconv.Quote(st.files.host), "bucketName": strconv.Quote(name), "region": `"us-east-1"`, "provider": `"generic"`, "insecure": "true",
	}
	return &stand{
		addresses: []string{st.files.host + "/" + name},
		patch:     set(fields, "secretRef", "certSecretRef", "proxySecretRef", "sts", "serviceAccountName"),
	}, nil
}

// asExternal serves an archive of a directory, and an ExternalArtifact that names it.
func (st *stage) asExternal(_ context.Context, name string, o other) (*stand, error) {
	content, err := o.tree.archive()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	base := st.files.put(name, "artifact.tar.gz", content)
	now := time.Now().UTC().Format(time.RFC3339)
	return &stand{
		objects: []*unstructured.Unstructured{made(kinds.ExternalArtifact, o.ref, map[string]any{})},
		status: map[string]any{
			"artifact": map[string]any{
				"url": base + "/artifact.tar.gz", "path": name + "/artifact.tar.gz", "digest": digest, "revision": "latest@" + digest,
				"lastUpdateTime": now, "size": len(content),
			},
			"conditions": []any{map[string]any{
				"type": "Ready", "status": "True", "reason": "Succeeded", "message": "a directory stands for it", "lastTransitionTime": now, "observedGeneration": 1,
			}},
		},
	}, nil
}

// addressOf is what a source names: its URL, or its endpoint and bucket.
func addressOf(s *state) string {
	field := specOf(s)
	if bucket := field("bucketName"); bucket != "" {
		return field("endpoint") + "/" + bucket
	}
	return field("url")
}

// readFile reads a file of a tree; links that lead out of it are refused.
func readFile(t *tree, name string) ([]byte, error) {
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(filepath.FromSlash(name))
}
