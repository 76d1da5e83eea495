package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/version"
)

// maxFile bounds a manifest, in bytes; larger files are left alone.
const maxFile = 16 << 20

// files are the flags of the migration of manifests.
type files struct {
	path       string
	extensions []string
	version    string
	dryRun     bool
	yes        bool
}

// latest are the versions of each kind since a minor release of 2.
var latest = map[string]map[int]string{
	"source.toolkit.fluxcd.io/GitRepository":        {6: "v1"},
	"source.toolkit.fluxcd.io/OCIRepository":        {6: "v1"},
	"source.toolkit.fluxcd.io/HelmRepository":       {6: "v1"},
	"source.toolkit.fluxcd.io/HelmChart":            {6: "v1"},
	"source.toolkit.fluxcd.io/Bucket":               {6: "v1"},
	"source.toolkit.fluxcd.io/ExternalArtifact":     {7: "v1"},
	"kustomize.toolkit.fluxcd.io/Kustomization":     {6: "v1"},
	"helm.toolkit.fluxcd.io/HelmRelease":            {6: "v2"},
	"notification.toolkit.fluxcd.io/Receiver":       {6: "v1"},
	"notification.toolkit.fluxcd.io/Alert":          {6: "v1beta3"},
	"notification.toolkit.fluxcd.io/Provider":       {6: "v1beta3"},
	"image.toolkit.fluxcd.io/ImageRepository":       {6: "v1beta2", 7: "v1"},
	"image.toolkit.fluxcd.io/ImagePolicy":           {6: "v1beta2", 7: "v1"},
	"image.toolkit.fluxcd.io/ImageUpdateAutomation": {6: "v1beta2", 7: "v1"},
}

// firstMinor and lastMinor bound the releases that are known.
const (
	firstMinor = 6
	lastMinor  = 9
)

// versions are those that the chosen release serves.
func (f *files) versions() (map[string]string, error) {
	minor := lastMinor
	text := f.version
	if text == "" {
		text = version.Version
	}
	v, err := semver.NewVersion(text)
	switch {
	case err == nil && v.Major() == 2 && v.Minor() >= firstMinor && v.Minor() <= lastMinor:
		minor = int(v.Minor())
	case f.version != "":
		return nil, fmt.Errorf("version %s is not supported, must be one of: 2.6, 2.7, 2.8, 2.9", f.version)
	}
	out := map[string]string{}
	for kind, since := range latest {
		for _, m := range slices.Sorted(maps.Keys(since)) {
			if m <= minor {
				out[kind] = since[m]
			}
		}
	}
	return out, nil
}

// rewrite is a file as it would be.
type rewrite struct {
	path    string
	mode    fs.FileMode
	content []byte
	lines   []string
}

func (o *options) migrateFiles() error {
	versions, err := o.versions()
	if err != nil {
		return err
	}
	if o.path == "" {
		return errors.New("--path must not be empty")
	}
	o.Log.Actionf("starting migration of custom resources")
	found, err := o.find(versions)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		o.Log.Successf("no custom resources found that require migration")
		return nil
	}
	for _, r := range found {
		for _, line := range r.lines {
			o.Log.Generatef("%s", line)
		}
	}
	if o.dryRun {
		return nil
	}
	if !o.yes {
		if err := ui.Confirm(o.In, o.Err, "Are you sure you want to rewrite these files"); err != nil {
			return err
		}
	}
	for _, r := range found {
		if err := os.WriteFile(r.path, r.content, r.mode); err != nil {
			return err
		}
	}
	o.Log.Successf("custom resources migrated successfully")
	return nil
}

func (o *options) find(versions map[string]string) (found []rewrite, err error) {
	err = filepath.WalkDir(o.path, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return filepath.SkipDir
		case !d.Type().IsRegular() || !slices.ContainsFunc(o.extensions, func(e string) bool { return strings.HasSuffix(d.Name(), e) }):
			return nil
		}
		info, err := d.Info()
		if err != nil || info.Size() > maxFile {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if content, lines := replace(path, text, versions); len(lines) > 0 {
			found = append(found, rewrite{path, info.Mode().Perm(), content, lines})
		}
		return nil
	})
	return found, err
}

var (
	apiVersionLine = regexp.MustCompile(`^([ \t]*(?:- )?apiVersion:[ \t]*["']?)([a-z.]+\.fluxcd\.io)/(v[0-9a-z]+)(["']?[ \t]*(?:#.*)?\r?\n?)$`)
	kindLine       = regexp.MustCompile(`^[ \t]*kind:[ \t]*["']?([A-Za-z]+)["']?[ \t]*(?:#.*)?\r?\n?$`)
)

// replace changes a line with an apiVersion that is followed by one with a kind, and nothing else.
func replace(path string, text []byte, versions map[string]string) (content []byte, changed []string) {
	lines := slices.Collect(bytes.Lines(text))
	for i := 0; i+1 < len(lines); i++ {
		at := apiVersionLine.FindSubmatch(lines[i])
		kind := kindLine.FindSubmatch(lines[i+1])
		if at == nil || kind == nil {
			continue
		}
		group, old := string(at[2]), string(at[3])
		want, known := versions[group+"/"+string(kind[1])]
		if !known || want == old || !older(old, want) {
			continue
		}
		changed = append(changed, fmt.Sprintf("%s:%d: %s %s/%s -> %s/%s", path, i+1, kind[1], group, old, group, want))
		lines[i] = slices.Concat(at[1], at[2], []byte("/"+want), at[4])
	}
	return bytes.Join(lines, nil), changed
}

// older tells whether one version comes before another: v1alpha1, v1beta1, v1beta2, v1, v2beta1, v2.
func older(a, b string) bool { return rank(a) < rank(b) }

var versionFormat = regexp.MustCompile(`^v(\d+)(?:(alpha|beta)(\d+))?$`)

func rank(v string) int {
	m := versionFormat.FindStringSubmatch(v)
	if m == nil {
		return 1 << 30
	}
	var major, minor int
	_, _ = fmt.Sscan(m[1], &major)
	_, _ = fmt.Sscan(m[3], &minor)
	stage := map[string]int{"alpha": 0, "beta": 1, "": 2}[m[2]]
	return major*10000 + stage*1000 + minor
}
