package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Keys of a Secret with TLS files, and those of old, which are still read.
const (
	KeyCA, KeyCert, KeyKey                   = "ca.crt", "tls.crt", "tls.key"
	keyLegacyCA, keyLegacyCert, keyLegacyKey = "caFile", "certFile", "keyFile"
)

// TLS is what one side of a TLS connection knows beside the certificates of the system. All files are PEM. The zero
// value adds nothing.
type TLS struct {
	// CA holds authorities to trust beside those of the system.
	CA []byte
	// Cert and Key are shown to a server that asks; both or none.
	Cert, Key []byte
}

// ReadTLS reads the TLS files of a Secret, which may have none. legacy says that a key of old was used.
func ReadTLS(secret string, data map[string][]byte) (files TLS, legacy bool, err error) {
	pick := func(today, old string) []byte {
		if v := data[today]; len(v) > 0 {
			return v
		}
		legacy = legacy || len(data[old]) > 0
		return data[old]
	}
	files = TLS{CA: pick(KeyCA, keyLegacyCA), Cert: pick(KeyCert, keyLegacyCert), Key: pick(KeyKey, keyLegacyKey)}
	if (len(files.Cert) > 0) != (len(files.Key) > 0) {
		return TLS{}, legacy, fmt.Errorf("invalid '%s' secret data: '%s' and '%s' must be given together", secret, KeyCert, KeyKey)
	}
	return files, legacy, nil
}

// IsZero tells whether the files add nothing.
func (t TLS) IsZero() bool { return len(t.CA)+len(t.Cert)+len(t.Key) == 0 }

// Fingerprint names the content, so that equal files can share connections.
func (t TLS) Fingerprint() string {
	h := sha256.New()
	for _, part := range [][]byte{t.CA, t.Cert, t.Key} {
		fmt.Fprintf(h, "%d\n", len(part))
		h.Write(part)
	}
	return string(h.Sum(nil))
}

// Config returns a configuration that trusts the system's authorities and CA.
func (t TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(t.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(bytes.TrimSpace(t.CA)) {
			return nil, fmt.Errorf("'%s' holds no certificate in PEM format", KeyCA)
		}
		c.RootCAs = pool
	}
	if len(t.Cert) > 0 {
		pair, err := tls.X509KeyPair(t.Cert, t.Key)
		if err != nil {
			// The cause may repeat parts of the files.
			return nil, errors.New("'" + KeyCert + "' and '" + KeyKey + "' are not a certificate and its key in PEM format")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
