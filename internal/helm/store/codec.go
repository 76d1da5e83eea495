package store

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"

	helm "helm.sh/helm/v4/pkg/release/v1"
)

// maxRelease bounds what a stored release unpacks to: a Secret of 1 MiB may hold a thousand times its size.
const maxRelease = 64 << 20

// encode is Helm's format: JSON, compressed, in base64 (which the Secret encodes once more).
func encode(rel *helm.Release) ([]byte, error) {
	text, err := json.Marshal(rel)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	zw, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := zw.Write(text); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	out := make([]byte, base64.StdEncoding.EncodedLen(packed.Len()))
	base64.StdEncoding.Encode(out, packed.Bytes())
	return out, nil
}

// decode reads a record and says how large it is when it is unpacked.
func decode(payload []byte) (rel *helm.Release, size int, err error) {
	packed := make([]byte, base64.StdEncoding.DecodedLen(len(payload)))
	n, err := base64.StdEncoding.Decode(packed, payload)
	if err != nil {
		return nil, 0, err
	}
	packed = packed[:n]
	if bytes.HasPrefix(packed, []byte{0x1f, 0x8b, 0x08}) {
		zr, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, 0, err
		}
		defer zr.Close() //nolint:errcheck // only read
		if packed, err = io.ReadAll(io.LimitReader(zr, maxRelease+1)); err != nil {
			return nil, 0, err
		}
		if len(packed) > maxRelease {
			return nil, len(packed), errors.New("the record is too large")
		}
	}
	rel = &helm.Release{}
	if err := json.Unmarshal(packed, rel); err != nil {
		return nil, len(packed), err
	}
	return rel, len(packed), nil
}
