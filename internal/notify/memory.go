package notify

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

const (
	// mostRemembered is how many failures are written, fewer where they need too much room.
	mostRemembered = 10_000
	// maxUnpacked bounds the memory that is read, in bytes.
	maxUnpacked = 64 << 20
)

// memory is of which failures people have heard; it should outlive the process.
type memory struct {
	kept        *keeper
	Transitions *alert.Transitions `json:"transitions"`
	Mails       *providers.Mails   `json:"mails"`
}

// read takes what an earlier process left.
func (m *memory) read() error {
	data, err := m.kept.readMemory()
	if err == nil && len(data) > 0 {
		err = m.decode(data)
	}
	if err != nil {
		return fmt.Errorf("read the memory of notifications: %w", err)
	}
	return nil
}

func (m *memory) decode(data []byte) error {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxUnpacked))
	if err != nil {
		return err
	}
	return json.Unmarshal(plain, m)
}

// write keeps what is new, if anything is.
func (m *memory) write() error {
	transitions, mails := m.Transitions.Changed(), m.Mails.Changed()
	if !transitions && !mails {
		return nil
	}
	if earlier, err := m.kept.unread(keyMemory); err == nil && len(earlier) > 0 {
		_ = m.decode(earlier) // what cannot be read is of no use to anybody
	}
	data, err := m.encode(maxMemory)
	if err == nil {
		err = m.kept.writeMemory(data)
	}
	if err != nil {
		m.Transitions.Touch()
		return fmt.Errorf("write the memory of notifications: %w", err)
	}
	return nil
}

// encode packs as much as fits, the newest.
func (m *memory) encode(limit int) ([]byte, error) {
	for most := mostRemembered; ; most /= 2 {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		err := json.NewEncoder(w).Encode(map[string]any{"transitions": m.Transitions.Snapshot(most), "mails": m.Mails.Snapshot(most)})
		if err = errors.Join(err, w.Close()); err != nil || out.Len() <= limit || most == 0 {
			return out.Bytes(), err
		}
	}
}
