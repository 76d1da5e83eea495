package kernel

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
)

// configsPatience is how long first passes wait for the first list of ConfigMaps and Secrets.
// Without the right to list them versions are unknown, and everything is read each time.
const configsPatience = 10 * time.Second

// configs follows ConfigMaps and Secrets by metadata only, from the moment that the first
// object refers to one. It keeps namespace, name, resourceVersion and the labels that the watch
// selector looks at, and no data.
type configs struct {
	config    *rest.Config
	namespace string

	mu        sync.Mutex
	ctx       context.Context
	kept      map[string]bool
	listeners []func(k refKey, old, now labels.Set)
	followed  map[string]*followed
}

type followed struct {
	informer toolscache.SharedIndexInformer
	since    time.Time
}

var configResources = map[string]schema.GroupVersionResource{
	"ConfigMap": {Version: "v1", Resource: "configmaps"},
	"Secret":    {Version: "v1", Resource: "secrets"},
}

func newConfigs(config *rest.Config, namespace string) *configs {
	return &configs{config: config, namespace: namespace, kept: map[string]bool{}, followed: map[string]*followed{}}
}

func isConfig(r Reference) bool {
	_, ok := configResources[r.Kind]
	return ok && r.Group == ""
}

// listen adds a function that is told of every change, and keeps the labels of a selector.
func (c *configs) listen(selector labels.Selector, f func(k refKey, old, now labels.Set)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		c.kept[r.Key()] = true
	}
	c.listeners = append(c.listeners, f)
}

// start allows informers to run, until ctx ends.
func (c *configs) start(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx = ctx
}

// follow returns the informer of a kind and starts it when it is asked for the first time.
func (c *configs) follow(kind string) (*followed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.followed[kind]; f != nil {
		return f, nil
	}
	if c.ctx == nil {
		return nil, fmt.Errorf("%ss are not followed before the controller has started", kind)
	}
	client, err := metadata.NewForConfig(c.config)
	if err != nil {
		return nil, err
	}
	informer := metadatainformer.NewFilteredMetadataInformer(client, configResources[kind], c.namespace, 0,
		toolscache.Indexers{}, tweak(kind)).Informer()
	if err := informer.SetTransform(c.reduce); err != nil {
		return nil, err
	}
	if _, err := informer.AddEventHandler(c.handler(kind)); err != nil {
		return nil, err
	}
	f := &followed{informer: informer, since: time.Now()}
	c.followed[kind] = f
	go informer.RunWithContext(c.ctx)
	return f, nil
}

// tweak leaves out the Secrets in which Helm keeps its releases: many, large, never referred to.
func tweak(kind string) func(*metav1.ListOptions) {
	if kind != "Secret" {
		return nil
	}
	return func(o *metav1.ListOptions) { o.FieldSelector = "type!=helm.sh/release.v1" }
}

// reduce keeps of an object what the kernel looks at.
func (c *configs) reduce(in any) (any, error) {
	obj, err := meta.Accessor(in)
	if err != nil {
		return in, nil
	}
	out := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: obj.GetNamespace(), Name: obj.GetName(), ResourceVersion: obj.GetResourceVersion(), UID: obj.GetUID(),
	}}
	for k, v := range obj.GetLabels() {
		if c.kept[k] {
			metav1.SetMetaDataLabel(&out.ObjectMeta, k, v)
		}
	}
	return out, nil
}

func (c *configs) handler(kind string) toolscache.ResourceEventHandler {
	tell := func(obj any, old, now labels.Set) {
		if m, err := meta.Accessor(obj); err == nil {
			k := refKey{kind: kind, NamespacedName: types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}}
			for _, f := range c.listeners {
				f(k, old, now)
			}
		}
	}
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, initial bool) {
			if !initial {
				tell(obj, nil, labelsOf(obj))
			}
		},
		UpdateFunc: func(old, now any) {
			if versionOf(old) != versionOf(now) {
				tell(now, labelsOf(old), labelsOf(now))
			}
		},
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			tell(obj, labelsOf(obj), nil)
		},
	}
}

func labelsOf(obj any) labels.Set {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil
	}
	if m.GetLabels() == nil {
		return labels.Set{}
	}
	return m.GetLabels()
}

func versionOf(obj any) string {
	m, err := meta.Accessor(obj)
	if err != nil {
		return ""
	}
	return m.GetResourceVersion()
}

// version returns the resourceVersion of a ConfigMap or Secret, "" for one that is not there;
// ok is false while that is unknown.
func (c *configs) version(r Reference) (version string, ok bool) {
	f, err := c.follow(r.Kind)
	if err != nil || !f.informer.HasSynced() {
		return "", false
	}
	obj, exists, err := f.informer.GetStore().GetByKey(r.Namespace + "/" + r.Name)
	if err != nil || !exists {
		return "", err == nil
	}
	return versionOf(obj), true
}

// settled tells whether the versions of what refs name are known, or will not be any time soon.
func (c *configs) settled(refs []Reference) bool {
	for _, r := range refs {
		if !isConfig(r) {
			continue
		}
		f, err := c.follow(r.Kind)
		if err == nil && !f.informer.HasSynced() && time.Since(f.since) < configsPatience {
			return false
		}
	}
	return true
}
