package decrypt_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"github.com/getsops/sops/v3"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/pgp"
	"github.com/getsops/sops/v3/shamir"
	"golang.org/x/crypto/ssh"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt"
	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt/decrypttest"
)

// nobody is a workload without any identity.
type nobody struct{}

var errNobody = errors.New("no workload identity here")

func (nobody) AWS(context.Context, string) (decrypt.AWSCredentials, error) {
	return decrypt.AWSCredentials{}, errNobody
}
func (nobody) Azure(context.Context, string) (string, error) { return "", errNobody }
func (nobody) GCP(context.Context) (string, error)           { return "", errNobody }
func (nobody) Vault(context.Context, string) (*decrypt.VaultLogin, error) {
	return nil, nil
}

func decryptorOf(t *testing.T, data map[string]string) *decrypt.Decryptor {
	t.Helper()
	entries := map[string][]byte{}
	for key, value := range data {
		entries[key] = []byte(value)
	}
	keys, err := decrypt.ParseKeys("apps/sops", entries)
	if err != nil {
		t.Fatal(err)
	}
	return decrypt.New(decrypt.Options{Keys: keys, Workload: nobody{}})
}

func TestEveryFormatComesBackAsItWas(t *testing.T) {
	t.Parallel()
	identity, key := decrypttest.Identity(t)
	for _, c := range []struct {
		name, format, plain string
		as                  decrypt.Format
	}{
		{"yaml with comments", "yaml", "# a comment\npassword: canary-1\nlist:\n    - a\n    - b\nnumber: 42\non_off: true\n", decrypt.YAML},
		{"json", "json", "{\n\t\"password\": \"canary-1\",\n\t\"list\": [\n\t\t1,\n\t\t2\n\t]\n}\n", decrypt.JSON},
		{"ini", "ini", "[database]\npassword = canary-1\n", decrypt.INI},
		{"dotenv", "dotenv", "#comment\nPASSWORD=canary-1\nUSER=me\n", decrypt.Dotenv},
		{"binary", "binary", "canary-1\x00\xff\nmore", decrypt.Binary},
		{"yaml under a name that tells nothing", "yaml", "password: canary-1\n", decrypt.Binary},
		{"json under a name that tells nothing", "json", "{\n\t\"password\": \"canary-1\"\n}\n", decrypt.Binary},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sealed := decrypttest.Encrypt(t, c.plain, decrypttest.File{Format: c.format, Groups: decrypttest.Key(key)})
			if strings.Contains(sealed, "canary") {
				t.Fatalf("the helper did not encrypt: %s", sealed)
			}
			d := decryptorOf(t, map[string]string{"id.agekey": identity})
			plain, changed, err := d.File(t.Context(), []byte(sealed), c.as)
			if err != nil || !changed {
				t.Fatalf("changed %v, error %v", changed, err)
			}
			if string(plain) != c.plain {
				t.Errorf("got %q, want %q", plain, c.plain)
			}
			if got := d.Redact("invalid line: canary-1"); got != "invalid line: ***" && c.format != "binary" {
				t.Errorf("redacted to %q", got)
			}
		})
	}
}

func TestPlainFilesStayUntouched(t *testing.T) {
	t.Parallel()
	d := decryptorOf(t, nil)
	plain, changed, err := d.File(t.Context(), []byte("sops: none of it\nmac: x"), decrypt.YAML)
	if err != nil || changed || string(plain) != "sops: none of it\nmac: x" {
		t.Errorf("%q, %v, %v", plain, changed, err)
	}
}

func sshIdentity(t *testing.T) (private string, recipient age.Recipient, name string) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	name = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPublic)))
	recipient, err = agessh.ParseRecipient(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), recipient, name
}

func TestEveryKindOfAgeKey(t *testing.T) {
	t.Parallel()
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	classic, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	private, recipient, name := sshIdentity(t)
	secret := map[string]string{
		"a.agekey": "# created: today\n# public key: x\n" + classic.String() + "\n", "b.agekey": hybrid.String(), "ssh.agekey": private,
		"ignored.txt": "whatever",
	}
	for _, c := range []struct {
		name      string
		recipient age.Recipient
		text      string
	}{
		{"X25519", classic.Recipient(), classic.Recipient().String()},
		{"post-quantum", hybrid.Recipient(), hybrid.Recipient().String()},
		{"SSH", recipient, name},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sealed := decrypttest.Encrypt(t, "password: canary-2\n", decrypttest.File{
				Format: "yaml", Groups: decrypttest.Key(decrypttest.AgeKey(t, c.text, c.recipient)),
			})
			plain, _, err := decryptorOf(t, secret).File(t.Context(), []byte(sealed), decrypt.YAML)
			if err != nil || string(plain) != "password: canary-2\n" {
				t.Errorf("%q, %v", plain, err)
			}
		})
	}
}

// TestEveryAlgorithmOfGnuPG takes keys and messages that GnuPG 2.2 made (testdata/pgp/make.sh).
func TestEveryAlgorithmOfGnuPG(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/pgp/*.asc")
	if err != nil || len(files) < 11 {
		t.Fatalf("%d keys, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".asc")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sealed := decrypttest.Encrypt(t, "password: canary-3\n", decrypttest.File{
				Format: "yaml", Groups: decrypttest.Key(&pgp.MasterKey{Fingerprint: name, EncryptedKey: read(t, "testdata/pgp/"+name+".msg")}),
			})
			plain, _, err := decryptorOf(t, map[string]string{name + ".asc": read(t, file)}).File(t.Context(), []byte(sealed), decrypt.YAML)
			if err != nil || string(plain) != "password: canary-3\n" {
				t.Errorf("%q, %v", plain, err)
			}
			_, _, err = decryptorOf(t, map[string]string{"a.asc": read(t, otherThan(files, file))}).File(t.Context(), []byte(sealed), decrypt.YAML)
			if err == nil || !strings.Contains(err.Error(), "none of the OpenPGP keys in Secret 'apps/sops' is the one it was encrypted for") {
				t.Errorf("with another key: %v", err)
			}
		})
	}
}

func otherThan(files []string, file string) string {
	if files[0] != file {
		return files[0]
	}
	return files[1]
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestKeyGroupsNeedAsManyPartsAsTheThreshold(t *testing.T) {
	t.Parallel()
	parts, err := shamir.Split([]byte(decrypttest.DataKey), 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	var identities []string
	var groups []sops.KeyGroup
	for _, part := range parts {
		identity, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		identities = append(identities, identity.String())
		groups = append(groups, sops.KeyGroup{&sopsage.MasterKey{
			Recipient: identity.Recipient().String(), EncryptedKey: decrypttest.SealAge(t, string(part), identity.Recipient()),
		}})
	}
	sealed := decrypttest.Encrypt(t, "password: canary-4\n", decrypttest.File{Format: "yaml", Groups: groups})
	sealed += "    shamir_threshold: 2\n"
	plain, _, err := decryptorOf(t, map[string]string{"a.agekey": identities[0] + "\n" + identities[2]}).File(t.Context(), []byte(sealed), decrypt.YAML)
	if err != nil || string(plain) != "password: canary-4\n" {
		t.Errorf("%q, %v", plain, err)
	}
	_, _, err = decryptorOf(t, map[string]string{"a.agekey": identities[0]}).File(t.Context(), []byte(sealed), decrypt.YAML)
	if err == nil || !strings.Contains(err.Error(), "2 of its 3 key groups are needed") {
		t.Errorf("with one part: %v", err)
	}
}

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	content, err := sigsyaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(content); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestObjects(t *testing.T) {
	t.Parallel()
	identity, key := decrypttest.Identity(t)
	seal := func(format, plain string) string {
		return decrypttest.Encrypt(t, plain, decrypttest.File{Format: format, Groups: decrypttest.Key(key)})
	}
	manifest := func(kind string) string {
		plain := "apiVersion: v1\nkind: " + kind + "\nmetadata:\n    name: s\ndata:\n    a: Y2FuYXJ5LTU=\nstringData:\n    b: canary-5\n"
		return decrypttest.Encrypt(t, plain, decrypttest.File{Format: "yaml", Regex: "^(data|stringData)$", Groups: decrypttest.Key(key)})
	}
	holding := func(field, key, content string) string {
		if field == "data" {
			content = base64.StdEncoding.EncodeToString([]byte(content))
		}
		out, err := sigsyaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "s"}, field: map[string]any{key: content}})
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	optOut := strings.Replace(manifest("Secret"), "name: s", "name: s\n    annotations: {kustomize.toolkit.fluxcd.io/decrypt: Disabled}", 1)
	for _, c := range []struct{ name, yaml, field, key, want string }{
		{"a Secret encrypted as a whole, data", manifest("Secret"), "data", "a", "Y2FuYXJ5LTU="},
		{"a Secret encrypted as a whole, stringData", manifest("Secret"), "stringData", "b", "canary-5"},
		{"any other kind", manifest("ConfigMap"), "stringData", "b", "canary-5"},
		{"an encrypted file in data", holding("data", "x.yaml", seal("yaml", "p: canary-5\n")), "data", "x.yaml", base64.StdEncoding.EncodeToString([]byte("p: canary-5\n"))},
		{"an encrypted file in stringData", holding("stringData", "x.env", seal("dotenv", "P=canary-5\n")), "stringData", "x.env", "P=canary-5\n"},
		{"a pull secret", holding("data", ".dockerconfigjson", seal("json", `{"auths":{}}`)), "data", ".dockerconfigjson", base64.StdEncoding.EncodeToString([]byte("{\n\t\"auths\": {}\n}\n"))},
		{"binary content", holding("data", "key", seal("binary", "\x01\x02")), "data", "key", "AQI="},
		{"opted out", optOut, "", "", ""},
		{"a plain Secret", holding("data", "x", "canary"), "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := decryptorOf(t, map[string]string{"i.agekey": identity}).Object(t.Context(), object(t, c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if c.field == "" {
				if out != nil {
					t.Errorf("it was changed: %s", out)
				}
				return
			}
			got := object(t, string(out))
			value, _, _ := unstructured.NestedString(got.Object, c.field, c.key)
			if value != c.want {
				t.Errorf("%s.%s is %q, want %q", c.field, c.key, value, c.want)
			}
			if _, left := got.Object["sops"]; left || got.GetName() != "s" {
				t.Errorf("it is now %s", out)
			}
		})
	}
}

func TestErrorsSayWhatToDoAndNoSecret(t *testing.T) {
	t.Parallel()
	identity, key := decrypttest.Identity(t)
	other, _ := decrypttest.Identity(t)
	sealed := decrypttest.Encrypt(t, "outer:\n    password: canary-6\nb: second\n", decrypttest.File{Format: "yaml", Groups: decrypttest.Key(key)})
	for _, c := range []struct {
		name, content string
		secret        map[string]string
		want          string
	}{
		{"no key", sealed, nil, "no age identity is at hand: Secret 'apps/sops' has no entry 'identity.agekey'"},
		{"the wrong key", sealed, map[string]string{"i.agekey": other}, "none of the 1 age identities in Secret 'apps/sops' is the one it was encrypted for"},
		{"a value that was moved", strings.Replace(sealed, "password:", "passwort:", 1), map[string]string{"i.agekey": identity}, "failed to decrypt the value at 'outer:passwort'"},
		{"a value in plain", strings.NewReplacer("b: ENC[", "b: canary[").Replace(sealed), map[string]string{"i.agekey": identity}, "failed to decrypt the value at 'b'"},
		{"broken YAML", sealed + "\n\t- canary", map[string]string{"i.agekey": identity}, "failed to load encrypted sops yaml: malformed at line"},
		{"no metadata", "mac: ENC[canary", map[string]string{"i.agekey": identity}, "failed to load encrypted sops yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := decryptorOf(t, c.secret).File(t.Context(), []byte(c.content), decrypt.YAML)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "AGE-SECRET")) {
				t.Errorf("it tells a secret: %v", err)
			}
		})
	}
}

func TestBadEntriesAreNamed(t *testing.T) {
	t.Parallel()
	identity, key := decrypttest.Identity(t)
	for _, c := range []struct{ name, entry, content, want string }{
		{"no identity", "a.agekey", "# nothing\n", "it holds no age identity"},
		{"a cut identity", "a.agekey", identity[:40], "line 1: malformed age identity"},
		{"a recipient", "a.agekey", strings.TrimPrefix(key.ToString(), "age "), "it is a public key"},
		{"a plugin", "a.agekey", "AGE-PLUGIN-YUBIKEY-1QQQ", "a controller starts no programs"},
		{"rubbish", "a.agekey", "canary", "it is no age identity"},
		{"an empty PGP entry", "k.asc", "canary", "it holds no armored OpenPGP key"},
		{"AWS without its secret", "sops.aws-kms", "aws_access_key_id: canary", "aws_access_key_id and aws_secret_access_key are both needed"},
		{"Azure without a client", "sops.azure-kv", "tenantId: canary", "it needs tenantId"},
		{"credentials that run a program", "sops.gcp-kms", `{"type":"external_account","credential_source":{"executable":{"command":"canary"}}}`, "credentials of type 'external_account' are not supported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := decrypt.ParseKeys("apps/sops", map[string][]byte{c.entry: []byte(c.content)})
			prefix := "failed to import '" + c.entry + "' data from sops decryption Secret 'apps/sops': "
			if err == nil || !strings.HasPrefix(err.Error(), prefix) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), identity[:30]) {
				t.Errorf("it tells what is in the entry: %v", err)
			}
		})
	}
}
