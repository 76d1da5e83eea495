// Package release holds the facts about Helm releases that need no cluster: names, snapshots, digests, inventories.
package release

import (
	"crypto/sha256"
	"encoding/hex"
)

// maxName is the longest name that Helm takes.
const maxName = 53

// ShortName makes a name fit: one that is too long ends in a hash of the whole.
func ShortName(name string) string {
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	const hash = 12
	return name[:maxName-1-hash] + "-" + hex.EncodeToString(sum[:])[:hash]
}
