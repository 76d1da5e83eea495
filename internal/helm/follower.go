package helm

import (
	"context"
	"maps"
	"sync"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/gitops-toolkit/flux/internal/helm/action"
)

// Follower watches the Secrets in which Helm keeps releases, by metadata only and reduced to their resourceVersion, so
// that an unchanged release costs no request at the interval. Without the right to watch, versions are not known and
// storage is listed.
type Follower struct {
	informer cache.SharedIndexInformer

	mu       sync.Mutex
	releases map[releaseKey]map[string]string
}

type releaseKey struct{ namespace, name string }

// NewFollower returns a follower of a namespace, of all when it is empty.
func NewFollower(client metadata.Interface, namespace string) (*Follower, error) {
	f := &Follower{releases: map[releaseKey]map[string]string{}}
	secrets := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	f.informer = metadatainformer.NewFilteredMetadataInformer(client, secrets, namespace, 0, cache.Indexers{}, func(o *metav1.ListOptions) {
		o.FieldSelector, o.LabelSelector = "type=helm.sh/release.v1", "owner=helm"
	}).Informer()
	if err := f.informer.SetTransform(reduce); err != nil {
		return nil, err
	}
	_, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.saw(o, false) },
		UpdateFunc: func(_, o any) { f.saw(o, false) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			f.saw(o, true)
		},
	})
	return f, err
}

// reduce keeps of a Secret's metadata what is looked at.
func reduce(in any) (any, error) {
	obj, err := apimeta.Accessor(in)
	if err != nil {
		return in, nil
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: obj.GetNamespace(), Name: obj.GetName(), ResourceVersion: obj.GetResourceVersion(), UID: obj.GetUID(),
		Labels: map[string]string{"name": obj.GetLabels()["name"]},
	}}, nil
}

// Run watches until the context ends.
func (f *Follower) Run(ctx context.Context) error {
	f.informer.RunWithContext(ctx)
	return nil
}

func (f *Follower) saw(o any, gone bool) {
	obj, err := apimeta.Accessor(o)
	if err != nil {
		return
	}
	key := releaseKey{obj.GetNamespace(), obj.GetLabels()["name"]}
	f.mu.Lock()
	defer f.mu.Unlock()
	if gone {
		delete(f.releases[key], obj.GetName())
		if len(f.releases[key]) == 0 {
			delete(f.releases, key)
		}
		return
	}
	if f.releases[key] == nil {
		f.releases[key] = map[string]string{}
	}
	f.releases[key][obj.GetName()] = obj.GetResourceVersion()
}

// Versions returns the resourceVersions of the Secrets of a release by name; ok is false while that is not known.
func (f *Follower) Versions(namespace, name string) (versions map[string]string, ok bool) {
	if !f.informer.HasSynced() {
		return nil, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	versions = maps.Clone(f.releases[releaseKey{namespace, name}])
	if versions == nil {
		versions = map[string]string{}
	}
	return versions, true
}

// releaseOf is the name of the release in Helm.
func releaseOf(t *target) string { return action.ReleaseName(t.object) }
