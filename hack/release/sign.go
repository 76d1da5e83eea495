package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/hack/signkey"
)

const repository = "https://github.com/gitops-toolkit/flux"

// sbom lists the modules that are linked into the program, in the format SPDX 2.3.
func (r *release) sbom(program []byte) error {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("read what the program is made of: %w", err)
	}
	type reference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	type pkg struct {
		ID       string      `json:"SPDXID"`
		Name     string      `json:"name"`
		Version  string      `json:"versionInfo"`
		Location string      `json:"downloadLocation"`
		Analyzed bool        `json:"filesAnalyzed"`
		Refs     []reference `json:"externalRefs"`
	}
	type relation struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
	packages := []pkg{{"SPDXRef-flux", info.Main.Path, r.version, repository, false, []reference{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + info.Main.Path + "@" + r.version}}}}
	relations := []relation{{"SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-flux"}}
	modules := append(slices.Clone(info.Deps), &debug.Module{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")})
	for i, m := range modules {
		if m.Replace != nil {
			m = m.Replace
		}
		id := fmt.Sprintf("SPDXRef-module-%d", i)
		packages = append(packages, pkg{id, m.Path, m.Version, "NOASSERTION", false, []reference{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + m.Path + "@" + m.Version}}})
		relations = append(relations, relation{"SPDXRef-flux", "DEPENDS_ON", id})
	}
	sum := sha256.Sum256(program)
	text, err := json.MarshalIndent(map[string]any{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "flux " + r.version,
		"documentNamespace": repository + "/releases/" + r.version + "/" + hex.EncodeToString(sum[:16]),
		// A fixed time: the same sources give the same file.
		"creationInfo": map[string]any{"created": "1970-01-01T00:00:00Z", "creators": []string{"Tool: flux-release"}},
		"packages":     packages, "relationships": relations,
	}, "", "  ")
	if err != nil {
		return err
	}
	return r.write(r.name("sbom.spdx.json"), append(text, '\n'))
}

// sign leaves a signature of the checksums as `cosign verify-blob --key` reads it, the public key, and a
// signed statement (SLSA provenance in a DSSE envelope) about every file.
func (r *release) sign(file string, sums []byte) error {
	key, err := signkey.Read(file)
	if err != nil {
		return err
	}
	public, err := key.PublicPEM()
	if err != nil {
		return err
	}
	sig, err := key.Signature(sums)
	if err != nil {
		return err
	}
	statement, err := r.provenance(sums)
	if err != nil {
		return err
	}
	const kind = "application/vnd.in-toto+json"
	// The pre-authentication encoding of DSSE.
	seal, err := key.Signature(fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(statement), statement))
	if err != nil {
		return err
	}
	envelope, err := json.Marshal(map[string]any{
		"payloadType": kind, "payload": base64.StdEncoding.EncodeToString(statement),
		"signatures": []any{map[string]any{"sig": base64.StdEncoding.EncodeToString(seal)}},
	})
	if err != nil {
		return err
	}
	name := r.name("checksums.txt")
	return errors.Join(
		r.write(name+".sig", []byte(base64.StdEncoding.EncodeToString(sig)+"\n")),
		r.write(name+".pub", public),
		r.write(r.name("provenance.intoto.jsonl"), append(envelope, '\n')),
	)
}

// provenance says what was built from what.
func (r *release) provenance(sums []byte) ([]byte, error) {
	type subject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	}
	var subjects []subject
	lines := bufio.NewScanner(bytes.NewReader(sums))
	for lines.Scan() {
		sum, name, _ := strings.Cut(lines.Text(), "  ")
		subjects = append(subjects, subject{name, map[string]string{"sha256": sum}})
	}
	return json.Marshal(map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": "https://slsa.dev/provenance/v1",
		"predicate": map[string]any{
			"buildDefinition": map[string]any{
				"buildType":          repository + "/hack/release",
				"externalParameters": map[string]any{"version": r.version, "source": repository + "@refs/tags/" + r.version},
			},
			"runDetails": map[string]any{"builder": map[string]any{"id": repository + "/hack/release"}},
		},
	})
}
