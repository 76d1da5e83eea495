package tracker

import (
	"context"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// followCRDs voids the records of kinds whose CRD changed: another schema may read the same objects
// differently.
func (t *Tracker) followCRDs() {
	seen := map[string]int64{}
	refusals := 0
	for t.ctx.Err() == nil {
		if err := t.watchCRDs(seen); err != nil && denied(err) {
			refusals++
			sleep(t.ctx, refusedFor(refusals, 10*time.Minute))
			continue
		}
		refusals = 0
		sleep(t.ctx, time.Second)
	}
}

// watchCRDs begins with the present state of all CRDs, as the server does without a version.
func (t *Tracker) watchCRDs(seen map[string]int64) error {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	in, err := t.Client.Metadata().Resource(crdResource).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer in.Stop()
	for e := range in.ResultChan() {
		obj, ok := e.Object.(*metav1.PartialObjectMetadata)
		if !ok || e.Type == watch.Error {
			return nil
		}
		if e.Type == watch.Deleted {
			seen[obj.Name] = -1
			continue
		}
		had, known := seen[obj.Name]
		seen[obj.Name] = obj.Generation
		if known && had != obj.Generation {
			t.crdChanged(obj.Name)
		}
	}
	return nil
}

// crdChanged has owners of the kind look at their objects. The name of a CRD is <plural>.<group>.
func (t *Tracker) crdChanged(name string) {
	plural, group, _ := strings.Cut(name, ".")
	t.mu.Lock()
	defer t.mu.Unlock()
	for gk, k := range t.kinds {
		if gk.Group != group || t.Client.Mapper().Plural(gk) != plural {
			continue
		}
		for key := range k.users {
			for _, obj := range t.owners[key].objects {
				if obj.kind == gk {
					obj.record, obj.drift = nil, nil
				}
			}
			t.notifyLocked(key, t.Now().Add(t.Debounce))
		}
	}
}
