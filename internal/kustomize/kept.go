package kustomize

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
)

// defaultBuildBytes is how much of built objects is kept on disk.
const defaultBuildBytes = 256 << 20

// builds keeps built objects on disk, one file for each build, the least recently used going first. What cannot be
// read or written is built again.
type builds struct {
	dir string
	max int64

	mu   sync.Mutex
	size int64
}

// keptObject is one object in a file.
type keptObject struct {
	Origin    string         `json:"origin,omitempty"`
	Sensitive bool           `json:"sensitive,omitempty"`
	Object    map[string]any `json:"object"`
}

// openBuilds opens a directory; an empty name keeps nothing.
func openBuilds(dir string, limit int64) (*builds, error) {
	b := &builds{dir: dir, max: limit}
	if limit == 0 {
		b.max = defaultBuildBytes
	}
	if dir == "" {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, f := range b.files() {
		b.size += f.Size()
	}
	return b, nil
}

func (b *builds) path(key string) string { return filepath.Join(b.dir, key+".json") }

// get returns kept objects, fresh copies for each caller.
func (b *builds) get(key string) ([]apply.Object, bool) {
	if b.dir == "" {
		return nil, false
	}
	content, err := os.ReadFile(b.path(key))
	if err != nil {
		return nil, false
	}
	objects, err := restoreAll(content)
	if err != nil {
		return nil, false
	}
	now := time.Now()
	_ = os.Chtimes(b.path(key), now, now) // the age decides who goes first; an error only makes it go early
	return objects, true
}

// restoreAll reads a list of kept objects.
func restoreAll(content []byte) ([]apply.Object, error) {
	var kept []json.RawMessage
	if err := json.Unmarshal(content, &kept); err != nil {
		return nil, err
	}
	objects := make([]apply.Object, len(kept))
	for i, raw := range kept {
		object, err := restore(raw)
		if err != nil {
			return nil, err
		}
		objects[i] = object
	}
	return objects, nil
}

// restore reads one object so that integers stay integers.
func restore(raw json.RawMessage) (apply.Object, error) {
	var kept struct {
		Origin    string          `json:"origin"`
		Sensitive bool            `json:"sensitive"`
		Object    json.RawMessage `json:"object"`
	}
	if err := json.Unmarshal(raw, &kept); err != nil {
		return apply.Object{}, err
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(kept.Object); err != nil {
		return apply.Object{}, err
	}
	return apply.Object{Unstructured: u, Origin: kept.Origin, Sensitive: kept.Sensitive}, nil
}

// put keeps objects. The file appears whole or not at all.
func (b *builds) put(key string, objects []apply.Object) error {
	if b.dir == "" {
		return nil
	}
	kept := make([]keptObject, len(objects))
	for i, o := range objects {
		kept[i] = keptObject{Origin: o.Origin, Object: o.Object}
	}
	content, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return b.write(b.path(key), content)
}

// write puts a file among the others, of which the oldest may have to go.
func (b *builds) write(name string, content []byte) error {
	if int64(len(content)) > b.max/4 {
		return nil // one build must not drive out all others
	}
	old, _ := os.Stat(name)
	if err := writeFile(name, content); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if old != nil {
		b.size -= old.Size()
	}
	if b.size += int64(len(content)); b.size > b.max {
		b.shrink()
	}
	return nil
}

// partsMemo keeps for one Kustomization what the files of its last large build were rendered to.
type partsMemo struct {
	kept *builds
	name string
}

// memo returns where a Kustomization's next build finds what the last one left, nil when nothing is kept.
func (b *builds) memo(uid string) build.Memo {
	if b.dir == "" {
		return nil
	}
	return partsMemo{kept: b, name: filepath.Join(b.dir, "parts-"+uid)}
}

func (m partsMemo) Load() []byte {
	content, err := os.ReadFile(m.name)
	if err != nil {
		return nil
	}
	return content
}

func (m partsMemo) Store(content []byte) {
	_ = m.kept.write(m.name, content) // without it the next build takes longer
}

func writeFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// last is what a Kustomization had applied.
type last struct {
	Inputs string `json:"inputs"`
	Build  string `json:"build"`
}

// remember keeps which build a Kustomization has applied; one that cannot be kept is asked for with dry-runs.
func (b *builds) remember(uid, inputs, key string) {
	if b.dir == "" {
		return
	}
	if content, err := json.Marshal(last{Inputs: inputs, Build: key}); err == nil {
		_ = writeFile(b.path("last-"+uid), content) // without it a restart costs dry-runs
	}
}

// recall returns the build that belongs to the inputs, "" when it is not known.
func (b *builds) recall(uid, inputs string) string {
	if b.dir == "" {
		return ""
	}
	content, err := os.ReadFile(b.path("last-" + uid))
	var l last
	if err != nil || json.Unmarshal(content, &l) != nil || l.Inputs != inputs {
		return ""
	}
	return l.Build
}

// shrink deletes the least recently used files until a tenth of the space is free. The caller holds mu.
func (b *builds) shrink() {
	files := b.files()
	slices.SortFunc(files, func(x, y fs.FileInfo) int { return x.ModTime().Compare(y.ModTime()) })
	b.size = 0
	for _, f := range files {
		b.size += f.Size()
	}
	for _, f := range files {
		if b.size <= b.max-b.max/10 {
			return
		}
		if os.Remove(filepath.Join(b.dir, f.Name())) == nil {
			b.size -= f.Size()
		}
	}
}

func (b *builds) files() []fs.FileInfo {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil
	}
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			files = append(files, info)
		}
	}
	return files
}
