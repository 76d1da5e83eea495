package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// serviceAccountPath is where a container finds its identity.
const serviceAccountPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// volumes are the directories that stand for the volumes of one pod.
type volumes struct {
	objects
	pod      func() *corev1.Pod
	dir      string // of this pod
	claims   string // of all persistent volume claims
	capacity corev1.ResourceList
	renewal  time.Time // when the first token should be renewed
}

// path is the directory of a volume, whether it exists or not.
func (v *volumes) path(name string) (string, error) {
	for _, volume := range v.pod().Spec.Volumes {
		if volume.Name != name {
			continue
		}
		switch {
		case volume.HostPath != nil:
			return volume.HostPath.Path, nil
		case volume.PersistentVolumeClaim != nil:
			return filepath.Join(v.claims, v.pod().Namespace, volume.PersistentVolumeClaim.ClaimName), nil
		}
		return filepath.Join(v.dir, "volumes", name), nil
	}
	return "", fmt.Errorf("the pod has no volume %q", name)
}

// fill creates all volumes and writes what they hold; it is called again to
// refresh them.
func (v *volumes) fill(ctx context.Context) error {
	v.renewal = time.Time{}
	var failures []error
	for _, volume := range v.pod().Spec.Volumes {
		if err := v.fillOne(ctx, volume); err != nil {
			failures = append(failures, fmt.Errorf("volume %q: %w", volume.Name, err))
		}
	}
	return errors.Join(failures...)
}

func (v *volumes) fillOne(ctx context.Context, volume corev1.Volume) error {
	dir, err := v.path(volume.Name)
	if err != nil {
		return err
	}
	if volume.HostPath != nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	files, err := v.content(ctx, volume)
	if err != nil || files == nil {
		return err
	}
	return replace(dir, files)
}

// content returns the files of a volume; nil for one that the pod itself fills.
func (v *volumes) content(ctx context.Context, volume corev1.Volume) (map[string][]byte, error) {
	switch {
	case volume.ConfigMap != nil:
		data, err := v.configMap(ctx, volume.ConfigMap.Name, volume.ConfigMap.Optional)
		return pick(data, volume.ConfigMap.Items, volume.ConfigMap.Optional, err)
	case volume.Secret != nil:
		data, err := v.secret(ctx, volume.Secret.SecretName, volume.Secret.Optional)
		return pick(data, volume.Secret.Items, volume.Secret.Optional, err)
	case volume.DownwardAPI != nil:
		return v.downward(volume.DownwardAPI.Items)
	case volume.Projected != nil:
		return v.projected(ctx, volume.Projected.Sources)
	case volume.EmptyDir != nil, volume.PersistentVolumeClaim != nil, volume.Ephemeral != nil:
		return nil, nil
	}
	return nil, errors.New("its type is not one that the sandbox knows")
}

func (v *volumes) projected(ctx context.Context, sources []corev1.VolumeProjection) (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, source := range sources {
		var files map[string][]byte
		var err error
		switch {
		case source.ServiceAccountToken != nil:
			files, err = v.token(ctx, source.ServiceAccountToken)
		case source.ConfigMap != nil:
			files, err = v.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Optional)
			files, err = pick(files, source.ConfigMap.Items, source.ConfigMap.Optional, err)
		case source.Secret != nil:
			files, err = v.secret(ctx, source.Secret.Name, source.Secret.Optional)
			files, err = pick(files, source.Secret.Items, source.Secret.Optional, err)
		case source.DownwardAPI != nil:
			files, err = v.downward(source.DownwardAPI.Items)
		default:
			err = errors.New("a projected source is not one that the sandbox knows")
		}
		if err != nil {
			return nil, err
		}
		for name, data := range files {
			all[name] = data
		}
	}
	return all, nil
}

func (v *volumes) downward(items []corev1.DownwardAPIVolumeFile) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, item := range items {
		var value string
		var err error
		if item.FieldRef != nil {
			value, err = field(v.pod(), item.FieldRef.FieldPath)
		} else {
			value, err = resourceField(v.pod(), nil, item.ResourceFieldRef, v.capacity)
		}
		if err != nil {
			return nil, err
		}
		files[item.Path] = []byte(value)
	}
	return files, nil
}

// pick selects and renames keys; without items all keys are taken.
func pick(data map[string][]byte, items []corev1.KeyToPath, optional *bool, err error) (map[string][]byte, error) {
	if err != nil {
		return nil, err
	}
	if data == nil {
		data = map[string][]byte{}
	}
	if len(items) == 0 {
		return data, nil
	}
	files := map[string][]byte{}
	for _, item := range items {
		value, ok := data[item.Key]
		if ok {
			files[item.Path] = value
		} else if optional == nil || !*optional {
			return nil, fmt.Errorf("there is no key %q", item.Key)
		}
	}
	return files, nil
}

// replace makes the directory hold these files and no others. Each file is
// replaced atomically, and only when it differs.
func replace(dir string, files map[string][]byte) error {
	for name, data := range files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("path %q leads out of the volume", name)
		}
		path := filepath.Join(dir, name)
		if old, err := os.ReadFile(path); err == nil && string(old) == string(data) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := state.WriteFile(path, data); err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if _, ok := files[name]; !ok {
			return os.Remove(path)
		}
		return nil
	})
}

// mountsOf maps a container's mount paths to directories.
func (v *volumes) mountsOf(c *corev1.Container, env map[string]string) (mounts, error) {
	m := mounts{}
	for _, mount := range c.VolumeMounts {
		dir, err := v.path(mount.Name)
		if err != nil {
			return nil, err
		}
		sub := mount.SubPath
		if mount.SubPathExpr != "" {
			sub = expand(mount.SubPathExpr, env)
		}
		if sub != "" {
			if !filepath.IsLocal(sub) {
				return nil, fmt.Errorf("subPath %q leads out of the volume", sub)
			}
			dir = filepath.Join(dir, sub)
			if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return nil, err
				}
			}
		}
		m[filepath.Clean(mount.MountPath)] = dir
	}
	return m, nil
}
