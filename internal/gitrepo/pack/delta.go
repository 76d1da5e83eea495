package pack

import (
	"fmt"
)

// deltaSize reads one of the two sizes at the start of a delta.
func deltaSize(delta []byte) (size int64, rest []byte, err error) {
	var n uint64
	for shift := 0; shift <= 56; shift += 7 {
		if len(delta) == 0 {
			break
		}
		b := delta[0]
		delta = delta[1:]
		n |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			return int64(n), delta, nil
		}
	}
	return 0, nil, fmt.Errorf("delta size: %w", ErrCorrupt)
}

// patch applies a delta to its base. The result is at most limit bytes long.
func patch(base, delta []byte, limit int64) ([]byte, error) {
	want, delta, err := deltaSize(delta)
	if err != nil {
		return nil, err
	}
	if want != int64(len(base)) {
		return nil, fmt.Errorf("delta is for a base of %d bytes, not %d: %w", want, len(base), ErrCorrupt)
	}
	size, delta, err := deltaSize(delta)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("object of %d bytes, %d allowed: %w", size, limit, ErrLimit)
	}
	out := make([]byte, 0, size)
	for len(delta) > 0 {
		op := delta[0]
		delta = delta[1:]
		var chunk []byte
		switch {
		case op&0x80 != 0:
			chunk, delta, err = copyChunk(op, base, delta)
		case op != 0 && int(op) <= len(delta):
			chunk, delta = delta[:op], delta[op:]
		default:
			err = fmt.Errorf("delta instruction %d: %w", op, ErrCorrupt)
		}
		if err != nil {
			return nil, err
		}
		if int64(len(out)+len(chunk)) > size {
			return nil, fmt.Errorf("delta makes more than the %d bytes that it says: %w", size, ErrCorrupt)
		}
		out = append(out, chunk...)
	}
	if int64(len(out)) != size {
		return nil, fmt.Errorf("delta makes %d bytes, not %d: %w", len(out), size, ErrCorrupt)
	}
	return out, nil
}

// copyChunk reads the operands of a copy instruction and returns the part of the base that it means.
func copyChunk(op byte, base, delta []byte) (chunk, rest []byte, err error) {
	var operands [7]byte
	for i := range operands {
		if op&(1<<i) == 0 {
			continue
		}
		if len(delta) == 0 {
			return nil, nil, fmt.Errorf("delta ends within an instruction: %w", ErrCorrupt)
		}
		operands[i], delta = delta[0], delta[1:]
	}
	o := operands
	off := int64(o[0]) | int64(o[1])<<8 | int64(o[2])<<16 | int64(o[3])<<24
	n := int64(o[4]) | int64(o[5])<<8 | int64(o[6])<<16
	if n == 0 {
		n = 0x10000
	}
	if off+n > int64(len(base)) {
		return nil, nil, fmt.Errorf("delta copies from beyond its base: %w", ErrCorrupt)
	}
	return base[off : off+n], delta, nil
}
