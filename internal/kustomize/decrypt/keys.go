package decrypt

import (
	"fmt"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
)

// Entries of a Secret, by exact name or by the end of it.
const (
	ageSuffix  = ".agekey"
	pgpSuffix  = ".asc"
	vaultEntry = "sops.vault-token"
	awsEntry   = "sops.aws-kms"
	azureEntry = "sops.azure-kv"
	gcpEntry   = "sops.gcp-kms"
)

// Keys are the keys and logins of one Secret. The zero value has none.
type Keys struct {
	// from names the Secret in errors, "" when there is none.
	from  string
	age   []age.Identity
	pgp   openpgp.EntityList
	vault string
	aws   *awsLogin
	azure *azureLogin
	gcp   []byte
}

// ParseKeys reads the entries of a Secret; name is its namespace and name, for errors. Entries of other names are
// ignored. An entry that cannot be read is an error that names it.
func ParseKeys(name string, data map[string][]byte) (*Keys, error) {
	k := &Keys{from: name}
	entries := make([]string, 0, len(data))
	for entry := range data {
		entries = append(entries, entry)
	}
	slices.Sort(entries)
	for _, entry := range entries {
		if err := k.add(entry, data[entry]); err != nil {
			return nil, fmt.Errorf("failed to import '%s' data from sops decryption Secret '%s': %w", entry, name, err)
		}
	}
	return k, nil
}

// ParseAgeKeys reads the age identities of a Secret and nothing else.
func ParseAgeKeys(name string, data map[string][]byte) (*Keys, error) {
	identities := map[string][]byte{}
	for entry, content := range data {
		if strings.HasSuffix(entry, ageSuffix) {
			identities[entry] = content
		}
	}
	return ParseKeys(name, identities)
}

func (k *Keys) add(entry string, content []byte) (err error) {
	switch {
	case strings.HasSuffix(entry, ageSuffix):
		var found []age.Identity
		if found, err = parseIdentities(content); err == nil {
			k.age = append(k.age, found...)
		}
	case strings.HasSuffix(entry, pgpSuffix):
		var found openpgp.EntityList
		if found, err = parsePGP(content); err == nil {
			k.pgp = append(k.pgp, found...)
		}
	case entry == vaultEntry:
		k.vault = strings.Trim(string(content), " \t\r\n\x00")
	case entry == awsEntry:
		k.aws, err = parseAWS(content)
	case entry == azureEntry:
		k.azure, err = parseAzure(content)
	case entry == gcpEntry:
		k.gcp, err = parseGCP(content)
	}
	return err
}

// missing is the error for a key of which the Secret has none.
func (k *Keys) missing(what, entry string) error {
	if k.from == "" {
		return fmt.Errorf("no %s is at hand: name a Secret with an entry '%s' in spec.decryption.secretRef", what, entry)
	}
	return fmt.Errorf("no %s is at hand: Secret '%s' has no entry '%s'", what, k.from, entry)
}
