package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// provisioner gives every claim of the sandbox's storage class a volume: a
// directory that processes can use and that simulated pods never look into.
// Volumes go with their claims, as the class's reclaim policy says.
type provisioner struct {
	*agent
	directory string
}

// watch provides volumes until ctx ends.
func (p *provisioner) watch(ctx context.Context) error {
	claims := p.factory.Core().V1().PersistentVolumeClaims().Informer()
	volumes := p.factory.Core().V1().PersistentVolumes().Informer()
	_, err := claims.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { p.try(ctx, o, p.provide) },
		UpdateFunc: func(_, o any) { p.try(ctx, o, p.provide) },
	})
	_, err2 := volumes.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { p.try(ctx, o, p.reclaim) },
		UpdateFunc: func(_, o any) { p.try(ctx, o, p.reclaim) },
	})
	return errors.Join(err, err2)
}

func (p *provisioner) try(ctx context.Context, object any, act func(context.Context, any) error) {
	if err := act(ctx, object); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "provide volumes:", err)
	}
}

func (p *provisioner) provide(ctx context.Context, object any) error {
	claim := object.(*corev1.PersistentVolumeClaim)
	if claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil ||
		claim.Annotations["volume.kubernetes.io/storage-provisioner"] != plane.Provisioner {
		return nil
	}
	path := filepath.Join(p.directory, "claims", claim.Namespace, claim.Name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	class := ""
	if claim.Spec.StorageClassName != nil {
		class = *claim.Spec.StorageClassName
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "pvc-" + string(claim.UID),
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": plane.Provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              class,
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path}},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
		},
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// reclaim removes a volume whose claim has gone, and what is in it.
func (p *provisioner) reclaim(ctx context.Context, object any) error {
	volume := object.(*corev1.PersistentVolume)
	if volume.Status.Phase != corev1.VolumeReleased || volume.DeletionTimestamp != nil ||
		volume.Annotations["pv.kubernetes.io/provisioned-by"] != plane.Provisioner ||
		volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		return nil
	}
	// A new claim of the same name has taken the directory over.
	if _, err := p.factory.Core().V1().PersistentVolumeClaims().Lister().
		PersistentVolumeClaims(volume.Spec.ClaimRef.Namespace).Get(volume.Spec.ClaimRef.Name); apierrors.IsNotFound(err) {
		if err := state.Remove(volume.Spec.HostPath.Path); err != nil {
			return err
		}
	}
	return ignoreNotFound(p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, metav1.DeleteOptions{}))
}
