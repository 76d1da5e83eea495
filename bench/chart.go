package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
)

// packedChart is a small chart.
func packedChart() ([]byte, error) {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for name, text := range map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: bench\nversion: 1.0.0\n", "templates/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bench\n",
	} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bench/" + name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			return nil, err
		}
		if _, err := tw.Write([]byte(text)); err != nil {
			return nil, err
		}
	}
	err := errors.Join(tw.Close(), zw.Close())
	return b.Bytes(), err
}
