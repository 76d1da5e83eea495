package node

import (
	"context"
	"encoding/json"
	"runtime"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/apimachinery/lease"
	"k8s.io/utils/clock"

	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
)

// register creates the Node and reports it ready.
func register(ctx context.Context, client kubernetes.Interface, kubeletPort int) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: plane.NodeName,
			Labels: map[string]string{
				corev1.LabelHostname:   plane.NodeName,
				corev1.LabelOSStable:   "linux",
				corev1.LabelArchStable: runtime.GOARCH,
			},
		},
		Spec: corev1.NodeSpec{
			PodCIDR: plane.PodCIDR, PodCIDRs: []string{plane.PodCIDR},
			ProviderID: "flux-sandbox://" + plane.NodeName,
		},
	}
	_, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	patch, err := json.Marshal(map[string]any{"status": nodeStatus(kubeletPort)})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Nodes().PatchStatus(ctx, plane.NodeName, patch)
	return err
}

// capacity is more than any machine has: simulated pods use nothing.
func capacity() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("1000"),
		corev1.ResourceMemory:           resource.MustParse("4Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Ti"),
		corev1.ResourcePods:             resource.MustParse("30000"),
	}
}

func nodeStatus(kubeletPort int) corev1.NodeStatus {
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{
			Type: kind, Status: status, Reason: reason, Message: message,
			LastHeartbeatTime: now, LastTransitionTime: now,
		}
	}
	return corev1.NodeStatus{
		Capacity:    capacity(),
		Allocatable: capacity(),
		Conditions: []corev1.NodeCondition{
			condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "the sandbox's node does not run short of memory"),
			condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "the sandbox's node does not run short of disk"),
			condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "the sandbox's node does not run short of process ids"),
			condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "the sandbox's node agent is running"),
		},
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: hostIP},
			{Type: corev1.NodeHostName, Address: plane.NodeName},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{
			KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(kubeletPort)},
		},
		NodeInfo: corev1.NodeSystemInfo{
			MachineID: plane.NodeName, SystemUUID: plane.NodeName, BootID: plane.NodeName,
			KernelVersion: "sandbox", OSImage: "flux-sandbox", ContainerRuntimeVersion: "flux-sandbox://1",
			KubeletVersion: "v" + plane.KubernetesVersion, OperatingSystem: "linux", Architecture: runtime.GOARCH,
		},
	}
}

// renewLease keeps the node alive in the eyes of the controller manager.
func renewLease(ctx context.Context, client kubernetes.Interface) {
	setOwner := func(l *coordinationv1.Lease) error {
		node, err := client.CoreV1().Nodes().Get(ctx, plane.NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		l.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Node", Name: plane.NodeName, UID: node.UID,
		}}
		return nil
	}
	lease.NewController(clock.RealClock{}, client, plane.NodeName, int32(leaseDuration.Seconds()),
		nil, leaseDuration/4, plane.NodeName, corev1.NamespaceNodeLease, setOwner).Run(ctx)
}
