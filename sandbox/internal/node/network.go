package node

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
)

// network maps the pods' addresses, which nothing on this machine has, to
// loopback addresses: 10.244.x.y is 127.N.x.y, where N is this sandbox's own.
type network struct {
	second byte
	claim  net.Listener
}

// claimPort is listened on at 127.N.0.1 by whoever owns N. The listener is the
// claim: the kernel ends it with its process, and no file can go stale.
const claimPort = 10247

// claimNetwork finds a second octet that no other sandbox on this machine uses,
// beginning with one that follows from the sandbox's id, so that it is mostly
// the same after a restart.
func claimNetwork(id string) (*network, error) {
	hash := fnv.New32a()
	hash.Write([]byte(id))
	var last error
	for i := range uint32(253) {
		n := &network{second: byte(1 + (hash.Sum32()+i)%253)}
		claim, err := net.Listen("tcp", fmt.Sprintf("127.%d.0.1:%d", n.second, claimPort))
		if err == nil {
			n.claim = claim
			return n, nil
		}
		last = err
	}
	return nil, fmt.Errorf("find a free loopback network for pods: %w", last)
}

func (n *network) close() { n.claim.Close() }

// host returns the loopback address of a pod.
func (n *network) host(pod netip.Addr) netip.Addr {
	b := pod.As4()
	return netip.AddrFrom4([4]byte{127, n.second, b[2], b[3]})
}
