package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/process"
	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
)

// workers is how many pods are looked after at the same time. Syncs do not
// wait, so a few are enough.
const workers = 4

// agent connects the API server's pods with the runtimes.
type agent struct {
	client    kubernetes.Interface
	network   *network
	processes *process.Runtime
	runtimes  []Runtime
	queue     workqueue.TypedRateLimitingInterface[types.NamespacedName]
	factory   informers.SharedInformerFactory // of the whole cluster
	pods      informers.SharedInformerFactory // of this node
	lister    corelisters.PodLister
	addrs     *addresses
}

func newAgent(client kubernetes.Interface, network *network) *agent {
	pods := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTransform(dropManagedFields),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", plane.NodeName).String()
		}))
	return &agent{
		client:  client,
		pods:    pods,
		lister:  pods.Core().V1().Pods().Lister(),
		network: network,
		factory: informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(dropManagedFields)),
		addrs:   newAddresses(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](50*time.Millisecond, 30*time.Second)),
	}
}

// Enqueue has the pod looked at soon.
func (a *agent) Enqueue(pod types.NamespacedName) { a.queue.Add(pod) }

func (a *agent) run(ctx context.Context) error {
	pods := a.pods.Core().V1().Pods()
	_, err := pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { a.changed(o) },
		UpdateFunc: func(_, o any) { a.changed(o) },
		DeleteFunc: func(o any) { a.deleted(o) },
	})
	if err != nil {
		return err
	}
	a.pods.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), pods.Informer().HasSynced) {
		return ctx.Err()
	}
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for a.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	a.queue.ShutDown()
	group.Wait()
	return nil
}

func dropManagedFields(o any) (any, error) {
	if object, err := meta.Accessor(o); err == nil {
		object.SetManagedFields(nil)
	}
	return o, nil
}

func (a *agent) changed(o any) {
	pod := o.(*corev1.Pod)
	a.addrs.adopt(pod)
	a.queue.Add(nameOf(pod))
}

func (a *agent) deleted(o any) {
	if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = tombstone.Obj
	}
	if pod, ok := o.(*corev1.Pod); ok {
		a.addrs.release(pod.UID)
		if r := a.runtimeOf(pod); r != nil {
			r.Forget(pod)
		}
	}
}

func (a *agent) next(ctx context.Context) bool {
	name, shutdown := a.queue.Get()
	if shutdown {
		return false
	}
	defer a.queue.Done(name)
	err := a.sync(ctx, name)
	switch {
	case err == nil:
		a.queue.Forget(name)
	case apierrors.IsConflict(err):
		// The cache is behind; the event that mends it is on its way.
		a.queue.AddAfter(name, 50*time.Millisecond)
	case !errors.Is(err, context.Canceled):
		fmt.Fprintf(os.Stderr, "pod %s: %v\n", name, err)
		a.queue.AddRateLimited(name)
	}
	return true
}

// sync asks the pod's runtime how the pod stands and reports the answer.
func (a *agent) sync(ctx context.Context, name types.NamespacedName) error {
	cached, err := a.lister.Pods(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	runtime := a.runtimeOf(cached)
	if runtime == nil || finished(cached) && cached.DeletionTimestamp == nil {
		return nil
	}
	pod := cached.DeepCopy()
	if err := a.addrs.assign(pod); err != nil {
		return err
	}
	verdict, err := runtime.Sync(ctx, pod)
	if err != nil {
		return err
	}
	if verdict.Again > 0 {
		a.queue.AddAfter(name, verdict.Again)
	}
	if !equality.Semantic.DeepEqual(cached.Status, verdict.Status) {
		pod.Status = verdict.Status
		_, err := a.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		if err != nil {
			return ignoreNotFound(err)
		}
	}
	if verdict.Gone {
		return a.remove(ctx, pod)
	}
	return nil
}

// remove completes the deletion of a pod that runs no more.
func (a *agent) remove(ctx context.Context, pod *corev1.Pod) error {
	now := int64(0)
	err := a.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      &metav1.Preconditions{UID: &pod.UID},
	})
	return ignoreNotFound(err)
}

func (a *agent) runtimeOf(pod *corev1.Pod) Runtime {
	for _, r := range a.runtimes {
		if r.Claims(pod) {
			return r
		}
	}
	return nil
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func nameOf(pod *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
