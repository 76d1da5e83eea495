package helmrepository

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/gitops-toolkit/flux/internal/charts/repo"
)

// memory is what the process keeps of an object.
type memory struct {
	connection connection
	memo       memo
	// read says that memo was looked for on disk.
	read bool
}

// memo is what tells whether the index has changed since this revision of it was fetched from this URL.
type memo struct {
	URL        string          `json:"url"`
	Revision   string          `json:"revision"`
	Validators repo.Validators `json:"validators"`
}

func (p *poll) memory() memory {
	m, _ := p.req.Memory().(memory)
	if !m.read {
		m.memo, m.read = p.readMemo(), true
	}
	return m
}

// validators are good for the artifact that is in the store only.
func (p *poll) validators(f *found) repo.Validators {
	m := p.memory().memo
	if f.Artifact == nil || m.URL != p.obj.Spec.URL || m.Revision != f.Artifact.Revision {
		return repo.Validators{}
	}
	return m.Validators
}

// note keeps the validators that came with the index.
func (p *poll) note(fetched *fetched, revision string) {
	m := p.memory()
	now := memo{URL: p.obj.Spec.URL, Revision: revision, Validators: fetched.validators}
	if now == m.memo {
		return
	}
	m.memo = now
	p.req.Remember(m)
	if p.MemoDir == "" {
		return
	}
	if err := p.writeMemo(now); err != nil {
		p.req.Log.V(1).Info("after a restart the index will be fetched as a whole", "cause", err.Error())
	}
}

// memoFile is named by the object, whatever its name is.
func (c *controller) memoFile(namespace, name string) string {
	sum := sha256.Sum256([]byte(namespace + "/" + name))
	return filepath.Join(c.MemoDir, hex.EncodeToString(sum[:])+".json")
}

// readMemo reads what an earlier process has kept; a file that cannot be read is worth nothing.
func (p *poll) readMemo() (m memo) {
	if p.MemoDir == "" {
		return m
	}
	data, err := os.ReadFile(p.memoFile(p.obj.Namespace, p.obj.Name))
	if err != nil || json.Unmarshal(data, &m) != nil {
		return memo{}
	}
	return m
}

// writeMemo replaces the file as a whole.
func (p *poll) writeMemo(m memo) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.MemoDir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(p.MemoDir, "new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), p.memoFile(p.obj.Namespace, p.obj.Name))
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
