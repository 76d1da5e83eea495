package node

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func pod(uid, ip string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}, Status: corev1.PodStatus{PodIP: ip}}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	a := newAddresses()
	a.adopt(pod("old", "10.244.0.2"))
	first, second := pod("first", ""), pod("second", "")
	for _, p := range []*corev1.Pod{first, second, first} {
		if err := a.assign(p); err != nil {
			t.Fatal(err)
		}
	}
	if first.Status.PodIP != "10.244.0.3" || second.Status.PodIP != "10.244.0.4" {
		t.Errorf("got %s and %s: an address in use should be left out, and a pod keep its own", first.Status.PodIP, second.Status.PodIP)
	}
	a.release("first")
	third := pod("third", "")
	if err := a.assign(third); err != nil || third.Status.PodIP != "10.244.0.5" {
		t.Errorf("a released address should not be used again at once: %s, %v", third.Status.PodIP, err)
	}
}

func TestAddressesRunOut(t *testing.T) {
	t.Parallel()
	a := newAddresses()
	a.pool = netip.MustParsePrefix("10.244.0.0/30")
	a.last = a.pool.Addr().Next()
	for _, uid := range []string{"a", "b"} {
		if err := a.assign(pod(uid, "")); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.assign(pod("c", "")); err == nil {
		t.Error("an address was given twice")
	}
	a.release("a")
	if err := a.assign(pod("c", "")); err != nil {
		t.Errorf("a free address was not found: %v", err)
	}
}

func TestNetworksOfTwoSandboxesDiffer(t *testing.T) {
	t.Parallel()
	one, err := claimNetwork("same id")
	if err != nil {
		t.Skip("this machine has no loopback addresses but 127.0.0.1")
	}
	defer one.close()
	two, err := claimNetwork("same id")
	if err != nil {
		t.Fatal(err)
	}
	defer two.close()
	ip := netip.MustParseAddr("10.244.3.4")
	if one.host(ip) == two.host(ip) {
		t.Errorf("both map to %s", one.host(ip))
	}
	if b := one.host(ip).As4(); b[0] != 127 || b[2] != 3 || b[3] != 4 {
		t.Errorf("got %s", one.host(ip))
	}
}
