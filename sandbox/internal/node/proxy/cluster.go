package proxy

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// Cluster resolves the names and addresses of one cluster from what its API
// server says.
type Cluster struct {
	Services corelisters.ServiceLister
	Slices   discoverylisters.EndpointSliceLister
	// PodNetwork and ServiceNetwork are the networks that only exist here.
	PodNetwork, ServiceNetwork netip.Prefix
	// Host returns the loopback address that stands for a pod's.
	Host func(pod netip.Addr) netip.Addr
	// APIServer is the address behind the Service `kubernetes`.
	APIServer string
}

// Resolve finds the address behind a Service or a pod. With port 0 it only says
// whether the host is the cluster's.
func (c *Cluster) Resolve(host string, port int) (string, bool, error) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if addr, err := netip.ParseAddr(host); err == nil {
		return c.address(addr, port)
	}
	name, ours := serviceName(host)
	service := c.service(name)
	if service == nil {
		if !ours || port == 0 {
			return "", ours, nil
		}
		return "", true, fmt.Errorf("there is no Service %s/%s for host %s", name.namespace, name.service, host)
	}
	if port == 0 {
		return "", true, nil
	}
	address, err := c.endpoint(service, name.pod, port)
	return address, true, err
}

func (c *Cluster) address(addr netip.Addr, port int) (string, bool, error) {
	switch {
	case c.PodNetwork.Contains(addr):
		return netip.AddrPortFrom(c.Host(addr), uint16(port)).String(), true, nil
	case !c.ServiceNetwork.Contains(addr):
		return "", false, nil
	case port == 0:
		return "", true, nil
	}
	services, err := c.Services.List(labels.Everything())
	if err != nil {
		return "", true, err
	}
	for _, service := range services {
		if service.Spec.ClusterIP == addr.String() {
			address, err := c.endpoint(service, "", port)
			return address, true, err
		}
	}
	return "", true, fmt.Errorf("no Service has the address %s", addr)
}

// dnsName is a host name of the cluster: of a Service, or of one pod of it.
type dnsName struct{ pod, service, namespace string }

// serviceName reads [POD.]NAME.NAMESPACE.svc[.cluster.local]. ours is false for
// NAME.NAMESPACE alone, which may be somebody else's domain.
func serviceName(host string) (name dnsName, ours bool) {
	host = strings.TrimSuffix(host, ".cluster.local")
	rest, ours := strings.CutSuffix(host, ".svc")
	parts := strings.Split(rest, ".")
	switch len(parts) {
	case 2:
		return dnsName{service: parts[0], namespace: parts[1]}, ours
	case 3:
		return dnsName{pod: parts[0], service: parts[1], namespace: parts[2]}, ours
	}
	return dnsName{}, ours
}

func (c *Cluster) service(name dnsName) *corev1.Service {
	if name.service == "" {
		return nil
	}
	service, err := c.Services.Services(name.namespace).Get(name.service)
	if err != nil {
		return nil
	}
	return service
}

// endpoint picks a ready endpoint of a Service's port. Behind a headless
// Service any port of the pod can be asked for.
func (c *Cluster) endpoint(service *corev1.Service, pod string, port int) (string, error) {
	switch {
	case service.Namespace == "default" && service.Name == "kubernetes":
		return c.APIServer, nil
	case service.Spec.Type == corev1.ServiceTypeExternalName:
		return net.JoinHostPort(service.Spec.ExternalName, strconv.Itoa(port)), nil
	}
	headless := service.Spec.ClusterIP == corev1.ClusterIPNone
	portName, ok := portName(service, port)
	if !ok && !headless {
		return "", fmt.Errorf("the Service %s/%s has no port %d", service.Namespace, service.Name, port)
	}
	slices, err := c.Slices.EndpointSlices(service.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service.Name}))
	if err != nil {
		return "", err
	}
	var found []string
	for _, slice := range slices {
		number := port
		if !headless || ok {
			if number = slicePort(slice, portName); number == 0 {
				continue
			}
		}
		found = append(found, c.ready(slice, pod, number)...)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("the Service %s/%s has no ready endpoint for port %d", service.Namespace, service.Name, port)
	}
	return found[rand.IntN(len(found))], nil
}

func portName(service *corev1.Service, port int) (string, bool) {
	for _, p := range service.Spec.Ports {
		if int(p.Port) == port {
			return p.Name, true
		}
	}
	return "", false
}

func slicePort(slice *discoveryv1.EndpointSlice, name string) int {
	for _, p := range slice.Ports {
		if p.Port != nil && (p.Name == nil && name == "" || p.Name != nil && *p.Name == name) {
			return int(*p.Port)
		}
	}
	return 0
}

// ready lists the addresses of a slice's ready endpoints.
func (c *Cluster) ready(slice *discoveryv1.EndpointSlice, pod string, port int) []string {
	var found []string
	for _, endpoint := range slice.Endpoints {
		if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
			continue
		}
		if pod != "" && (endpoint.Hostname == nil || *endpoint.Hostname != pod) {
			continue
		}
		for _, text := range endpoint.Addresses {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				continue
			}
			if c.PodNetwork.Contains(addr) {
				addr = c.Host(addr)
			}
			found = append(found, netip.AddrPortFrom(addr, uint16(port)).String())
		}
	}
	return found
}
