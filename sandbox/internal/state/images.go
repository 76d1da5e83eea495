package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultRegistry is where the images of our own components come from.
const DefaultRegistry = "ghcr.io/gitops-toolkit"

// Images returns the mapping of images to executables. It is read anew for
// every pod, so that `up --image` acts on a running sandbox.
//
// Images of our own components, of the version of the flux-controller that lies
// beside this executable, map to it, unless the mapping says otherwise.
func (d Dir) Images() []Image {
	images, _ := d.mapped()
	path, ok := besideUs("flux-controller")
	if !ok {
		return images
	}
	own := Image{Reference: DefaultRegistry, Executable: path}
	if version := versionOf(path); version != "" {
		own.Reference += ":" + version
	}
	if slices.ContainsFunc(images, func(i Image) bool { return i.Reference == own.Reference }) {
		return images
	}
	return append(images, own)
}

// Map adds to the mapping; a reference that is mapped already gets its new
// executable.
func (d Dir) Map(images []Image) error {
	if len(images) == 0 {
		return nil
	}
	old, err := d.mapped()
	if err != nil {
		return err
	}
	for _, image := range images {
		old = slices.DeleteFunc(old, func(i Image) bool { return i.Reference == image.Reference })
		old = append(old, image)
	}
	data, err := json.MarshalIndent(old, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(d.Path("images.json"), append(data, '\n'))
}

func (d Dir) mapped() ([]Image, error) {
	data, err := os.ReadFile(d.Path("images.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var images []Image
	return images, json.Unmarshal(data, &images)
}

var versions sync.Map // of executables, by path and time of change

// versionOf asks an executable for its version; it is empty when it has none
// that could be a tag.
func versionOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	key := fmt.Sprint(path, info.ModTime().UnixNano(), info.Size())
	if known, ok := versions.Load(key); ok {
		return known.(string)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	version := strings.TrimSpace(string(out))
	if err != nil || !tagFormat.MatchString(version) {
		version = ""
	}
	versions.Store(key, version)
	return version
}

var tagFormat = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

func besideUs(name string) (string, bool) {
	self, err := os.Executable()
	if err != nil {
		return "", false
	}
	path := filepath.Join(filepath.Dir(self), name)
	info, err := os.Stat(path)
	return path, err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}
