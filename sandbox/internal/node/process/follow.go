package process

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// rootCA is in every pod, and does not change while a sandbox lives.
const rootCA = "kube-root-ca.crt"

// follow watches the ConfigMaps and Secrets in the pod's volumes, one by one as
// a node may, and calls changed after a change, until ctx ends.
func (v *volumes) follow(ctx context.Context, changed func()) {
	configMaps, secrets := map[string]bool{}, map[string]bool{}
	for _, volume := range v.pod().Spec.Volumes {
		if volume.ConfigMap != nil {
			configMaps[volume.ConfigMap.Name] = true
		}
		if volume.Secret != nil {
			secrets[volume.Secret.SecretName] = true
		}
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ConfigMap != nil && source.ConfigMap.Name != rootCA {
				configMaps[source.ConfigMap.Name] = true
			}
			if source.Secret != nil {
				secrets[source.Secret.Name] = true
			}
		}
	}
	for name := range configMaps {
		v.watch(ctx, "configmaps", name, &corev1.ConfigMap{}, changed)
	}
	for name := range secrets {
		v.watch(ctx, "secrets", name, &corev1.Secret{}, changed)
	}
}

func (v *volumes) watch(ctx context.Context, resource, name string, kind runtime.Object, changed func()) {
	source := cache.NewListWatchFromClient(v.client.CoreV1().RESTClient(), resource, v.namespace, fields.OneTermEqualSelector("metadata.name", name))
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source,
		ObjectType:    kind,
		Handler: cache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(_ any, first bool) {
				if !first {
					changed()
				}
			},
			UpdateFunc: func(_, _ any) { changed() },
			DeleteFunc: func(any) { changed() },
		},
	})
	go informer.RunWithContext(ctx)
}

// renew refreshes the volumes when the first token is due and when what they
// hold has changed, for as long as the pod runs.
func (w *worker) renew() {
	stale := make(chan struct{}, 1)
	w.volumes.follow(w.stopping, func() {
		select {
		case stale <- struct{}{}:
		default:
		}
	})
	for {
		timer := time.NewTimer(untilDue(w.volumes.renewal))
		select {
		case <-w.stopping.Done():
			timer.Stop()
			return
		case <-stale:
		case <-timer.C:
		}
		timer.Stop()
		if err := w.volumes.fill(w.stopping); err != nil && w.stopping.Err() == nil {
			w.event(corev1.EventTypeWarning, "FailedMount", err.Error())
			w.volumes.renewal = time.Now().Add(10 * time.Second)
		}
	}
}

// untilDue is how long to wait for a renewal; without a token there is none.
func untilDue(renewal time.Time) time.Duration {
	if renewal.IsZero() {
		return 1 << 62
	}
	return max(time.Until(renewal), time.Second)
}
