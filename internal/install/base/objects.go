package base

import (
	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ComponentLabel names the component to which an object belongs.
const ComponentLabel = "app.kubernetes.io/component"

// meta names an object in the namespace, as part of a component unless that is empty.
func meta(name, component string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, Namespace: Namespace, Labels: map[string]string{}}
	if component != "" {
		m.Labels[ComponentLabel] = component
	}
	return m
}

func account(name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: meta(name, name),
	}
}

// service exposes a port of a component on port 80.
func service(name, component, target, controlPlane string) *corev1.Service {
	s := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta(name, component),
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeClusterIP,
			Selector: map[string]string{"app": component},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString(target)}},
		},
	}
	s.Labels["control-plane"] = controlPlane
	return s
}

// services are what others reach a component by.
func services(component string) []any {
	switch component {
	case "source-controller":
		return []any{service(component, component, "http", "controller")}
	case "source-watcher":
		return []any{service(component, component, "http", "source-watcher")}
	case "notification-controller":
		return []any{
			service(component, component, "http", "controller"),
			service("webhook-receiver", component, "http-webhook", "controller"),
		}
	}
	return nil
}

// policies let the components talk to each other and to the world, and let in only what scrapes
// metrics or delivers webhooks.
func policies() []any {
	inside := []netv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}
	anywhere := []netv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}}
	both := []netv1.PolicyType{netv1.PolicyTypeIngress, netv1.PolicyTypeEgress}
	egress := policy("allow-egress", nil, both, netv1.NetworkPolicyIngressRule{From: inside})
	egress.Spec.Egress = []netv1.NetworkPolicyEgressRule{{}}
	return []any{
		egress,
		policy("allow-scraping", nil, both[:1], netv1.NetworkPolicyIngressRule{From: anywhere, Ports: tcp(8080)}),
		policy("allow-webhooks", map[string]string{"app": "notification-controller"}, both[:1],
			netv1.NetworkPolicyIngressRule{From: anywhere, Ports: tcp(9292)}),
	}
}

func policy(name string, pods map[string]string, types []netv1.PolicyType, ingress netv1.NetworkPolicyIngressRule) *netv1.NetworkPolicy {
	return &netv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: meta(name, ""),
		Spec: netv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: pods},
			Ingress:     []netv1.NetworkPolicyIngressRule{ingress},
			PolicyTypes: types,
		},
	}
}

func tcp(number int) []netv1.NetworkPolicyPort {
	return []netv1.NetworkPolicyPort{{Protocol: ptr(corev1.ProtocolTCP), Port: ptr(intstr.FromInt(number))}}
}
