package providers

import (
	"context"
	"net"
)

// hangUp dials for clients that hear of the end of a context only while they dial: it closes their connections then,
// until release.
type hangUp struct {
	ctx   context.Context
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	stops []func() bool
}

// Dial implements the dialer of NATS.
func (h *hangUp) Dial(network, address string) (net.Conn, error) {
	return h.dialContext(h.ctx, network, address)
}

func (h *hangUp) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := h.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	h.stops = append(h.stops, context.AfterFunc(h.ctx, func() { _ = conn.Close() }))
	return conn, nil
}

// release leaves the connections to their client.
func (h *hangUp) release() {
	for _, stop := range h.stops {
		stop()
	}
	h.stops = nil
}
