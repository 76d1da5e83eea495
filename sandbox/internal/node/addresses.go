package node

import (
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
)

// hostIP is the node's address; only loopback is ever listened on.
const hostIP = "127.0.0.1"

// addresses gives every pod an address of its own. It hands them out in a
// circle, so that one is not used again soon after its pod has gone.
type addresses struct {
	mu    sync.Mutex
	pool  netip.Prefix
	last  netip.Addr
	byPod map[types.UID]netip.Addr
	taken map[netip.Addr]types.UID
}

func newAddresses() *addresses {
	pool := netip.MustParsePrefix(plane.PodCIDR)
	return &addresses{
		pool: pool, last: pool.Addr().Next(), // the first address is the network's, the second a gateway's
		byPod: map[types.UID]netip.Addr{}, taken: map[netip.Addr]types.UID{},
	}
}

// adopt remembers the address that a pod has from an earlier life of the agent.
func (a *addresses) adopt(pod *corev1.Pod) {
	addr, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.taken[addr]; !ok && !finished(pod) {
		a.byPod[pod.UID], a.taken[addr] = addr, pod.UID
	}
}

// assign puts the pod's addresses and start time into its status.
func (a *addresses) assign(pod *corev1.Pod) error {
	addr, err := a.of(pod.UID)
	if err != nil {
		return err
	}
	s := &pod.Status
	s.HostIP, s.HostIPs = hostIP, []corev1.HostIP{{IP: hostIP}}
	s.PodIP, s.PodIPs = addr.String(), []corev1.PodIP{{IP: addr.String()}}
	if s.StartTime == nil {
		now := metav1.Now().Rfc3339Copy()
		s.StartTime = &now
	}
	return nil
}

func (a *addresses) of(pod types.UID) (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if addr, ok := a.byPod[pod]; ok {
		return addr, nil
	}
	for addr, start := a.next(a.last), a.last; addr != start; addr = a.next(addr) {
		if _, ok := a.taken[addr]; ok {
			continue
		}
		a.byPod[pod], a.taken[addr], a.last = addr, pod, addr
		return addr, nil
	}
	return netip.Addr{}, fmt.Errorf("all addresses of %s are in use", a.pool)
}

func (a *addresses) next(addr netip.Addr) netip.Addr {
	next := addr.Next()
	if !a.pool.Contains(next) {
		return a.pool.Addr().Next().Next()
	}
	return next
}

func (a *addresses) release(pod types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if addr, ok := a.byPod[pod]; ok {
		delete(a.byPod, pod)
		delete(a.taken, addr)
	}
}
