package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

var checksumOf = regexp.MustCompile(`SHA\(([^)]*)\)`)

// fill reads a template that serveFiles serves.
func fill(dir, name, web string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return "", err
	}
	filled := strings.NewReplacer("WEB", web, "OS", runtime.GOOS, "ARCH", runtime.GOARCH).Replace(string(text))
	return checksumOf.ReplaceAllStringFunc(filled, func(m string) string {
		data, err := os.ReadFile(filepath.Join(dir, checksumOf.FindStringSubmatch(m)[1]))
		if err != nil {
			return m
		}
		sum := sha256.Sum256(data)
		return "sha256:" + hex.EncodeToString(sum[:])
	}), nil
}
