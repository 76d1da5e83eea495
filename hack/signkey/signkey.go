// Package signkey signs what a release is made of with a private key from a file.
package signkey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// Key is a private key: ECDSA or Ed25519.
type Key struct{ crypto.Signer }

// Read takes a key in PKCS #8 out of a PEM file.
func Read(file string) (Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Key{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return Key{}, fmt.Errorf("%s is not PEM", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", file, err)
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return Key{key}, nil
	case ed25519.PrivateKey:
		return Key{key}, nil
	}
	return Key{}, fmt.Errorf("%s: the key must be ECDSA or Ed25519", file)
}

// Signature of data, the same each time: nothing in it is random.
func (k Key) Signature(data []byte) ([]byte, error) {
	if _, ok := k.Signer.(ed25519.PrivateKey); ok {
		return k.Sign(nil, data, crypto.Hash(0))
	}
	sum := sha256.Sum256(data)
	return k.Sign(nil, sum[:], crypto.SHA256)
}

// PublicPEM is the public key, as cosign and openssl read it.
func (k Key) PublicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}
