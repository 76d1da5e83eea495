// Package decrypttest encrypts for tests as the command sops does.
package decrypttest

import (
	"bytes"
	"io"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"
)

// DataKey is the data key of everything that this package encrypts.
const DataKey = "0123456789abcdef0123456789abcdef"

// File is what to encrypt, and how.
type File struct {
	// Format is binary, dotenv, ini, json or yaml.
	Format string
	// Regex is encrypted_regex: which keys are encrypted; all if empty.
	Regex string
	// Groups of keys that hold DataKey encrypted already. More than one are not split.
	Groups []sops.KeyGroup
}

// Encrypt returns content as the command sops would write it.
func Encrypt(t testing.TB, content string, f File) string {
	t.Helper()
	store := storeOf(f.Format)
	branches, err := store.LoadPlainFile([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	tree := sops.Tree{Branches: branches, Metadata: sops.Metadata{
		KeyGroups: f.Groups, Version: "3.13.3", EncryptedRegex: f.Regex, LastModified: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}}
	if f.Regex == "" {
		tree.Metadata.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt([]byte(DataKey), cipher)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, []byte(DataKey), tree.Metadata.LastModified.Format(time.RFC3339)); err != nil {
		t.Fatal(err)
	}
	out, err := store.EmitEncryptedFile(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func storeOf(format string) sops.Store {
	c := config.NewStoresConfig()
	switch format {
	case "dotenv":
		return dotenv.NewStore(&c.Dotenv)
	case "ini":
		return ini.NewStore(&c.INI)
	case "json":
		return json.NewStore(&c.JSON)
	case "yaml":
		return yaml.NewStore(&c.YAML)
	}
	return json.NewBinaryStore(&c.JSONBinary)
}

// Key makes a group of one key.
func Key(key keys.MasterKey) []sops.KeyGroup { return []sops.KeyGroup{{key}} }

// Identity makes an age identity: its private text, and the key of a file for it.
func Identity(t testing.TB) (private string, key keys.MasterKey) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity.String(), AgeKey(t, identity.Recipient().String(), identity.Recipient())
}

// AgeKey is the key of a file for a recipient.
func AgeKey(t testing.TB, name string, recipient age.Recipient) keys.MasterKey {
	t.Helper()
	return &sopsage.MasterKey{Recipient: name, EncryptedKey: SealAge(t, DataKey, recipient)}
}

// SealAge encrypts a data key, or a part of one, for a recipient.
func SealAge(t testing.TB, plain string, recipient age.Recipient) string {
	t.Helper()
	var sealed bytes.Buffer
	a := armor.NewWriter(&sealed)
	w, err := age.Encrypt(a, recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return sealed.String()
}
