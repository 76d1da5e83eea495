package verify

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
)

const (
	// searchPath is where a transparency log of the first generation is asked for entries.
	searchPath = "/api/v1/log/entries/retrieve"
	// maxSearch bounds its answer, in bytes.
	maxSearch = 4 << 20
	// searchTimeout is for one log.
	searchTimeout = 15 * time.Second
)

// searchLogs asks the transparency logs of the root for the entry of a signature that carries none. What a log answers
// is believed no more than what a signature carries: it has to be signed by the log.
func searchLogs(ctx context.Context, material root.TrustedMaterial, digest, signature, certificate []byte) ([]*protorekor.TransparencyLogEntry, error) {
	question, err := searchQuestion(digest, signature, certificate)
	if err != nil {
		return nil, err
	}
	errs := []error{errors.New("it carries no entry of a transparency log, and no log of the trusted root knows it")}
	logs := material.RekorLogs()
	for _, id := range slices.Sorted(maps.Keys(logs)) {
		base := logs[id].BaseURL
		if !strings.HasPrefix(base, "https://") && !strings.HasPrefix(base, "http://") {
			continue
		}
		entries, err := searchLog(ctx, strings.TrimSuffix(base, "/"), question)
		if err == nil && len(entries) > 0 {
			return entries, nil
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return nil, errors.Join(errs...)
}

func searchQuestion(digest, signature, certificate []byte) ([]byte, error) {
	type object = map[string]any
	return json.Marshal(object{"entries": []object{{
		"kind": "hashedrekord", "apiVersion": "0.0.1",
		"spec": object{
			"signature": object{"content": signature, "publicKey": object{"content": certificate}},
			"data":      object{"hash": object{"algorithm": "sha256", "value": hex.EncodeToString(digest)}},
		},
	}}})
}

// logClient goes where the trusted root says, and nowhere else.
var logClient = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func searchLog(ctx context.Context, base string, question []byte) ([]*protorekor.TransparencyLogEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+searchPath, bytes.NewReader(question))
	if err != nil {
		return nil, fmt.Errorf("transparency log '%s': %w", base, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := logClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("transparency log: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("transparency log '%s': %s", base, resp.Status)
	}
	var answer []map[string]struct {
		Body           []byte `json:"body"`
		IntegratedTime int64  `json:"integratedTime"`
		LogIndex       int64  `json:"logIndex"`
		LogID          string `json:"logID"`
		Verification   struct {
			SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
		} `json:"verification"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxSearch)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("the answer of the transparency log '%s' cannot be parsed: %w", base, err)
	}
	for _, entries := range answer {
		for _, e := range entries {
			entry, err := newLogEntry(e.Body, e.IntegratedTime, e.LogIndex, e.LogID, e.Verification.SignedEntryTimestamp)
			if err != nil {
				return nil, err
			}
			return []*protorekor.TransparencyLogEntry{entry}, nil
		}
	}
	return nil, nil
}
