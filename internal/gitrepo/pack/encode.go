package pack

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"

	"github.com/klauspost/compress/zlib"
)

// Object is one object in memory.
type Object struct {
	Type Type
	Data []byte
}

// Encode writes objects as a pack, each of them whole.
func Encode(objects []Object) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("PACK")
	b.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 2), uint32(len(objects))))
	for _, o := range objects {
		size := uint64(len(o.Data))
		head := byte(o.Type)<<4 | byte(size&15)
		for size >>= 4; size > 0; size >>= 7 {
			b.WriteByte(head | 0x80)
			head = byte(size & 0x7f)
		}
		b.WriteByte(head)
		zw := zlib.NewWriter(&b)
		if _, err := zw.Write(o.Data); err != nil {
			return nil, err
		}
		if err := zw.Close(); err != nil {
			return nil, err
		}
	}
	sum := sha1.Sum(b.Bytes())
	b.Write(sum[:])
	return b.Bytes(), nil
}
