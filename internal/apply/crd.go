package apply

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// dropBadConversionCA removes a CRD's conversion caBundle that is no certificate (a placeholder that
// an injector fills later): servers since 1.31 refuse the whole CRD for it.
func dropBadConversionCA(u *unstructured.Unstructured) {
	path := []string{"spec", "conversion", "webhook", "clientConfig", "caBundle"}
	bundle, ok, err := unstructured.NestedString(u.Object, path...)
	if err != nil || !ok || validBundle(bundle) {
		return
	}
	unstructured.RemoveNestedField(u.Object, path...)
}

func validBundle(b64 string) bool {
	rest, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		return false
	}
	found := false
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return false
		}
		found = true
	}
}
