package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	helm "helm.sh/helm/v4/pkg/release/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/helm/release"
)

// Records may be damaged: everybody who may write Secrets may change them. None of it may keep a release from going on.

// damage is why a record cannot be read, and which version of its Secret that is.
type damage struct {
	err     error
	version string
}

// maxRecords bounds what the records of one release unpack to together.
const maxRecords = 256 << 20

// take reads the records of Secrets, newest first.
func (s *Storage) take(secrets []corev1.Secret) {
	s.records, s.broken, s.copies = map[string]*record{}, map[string]damage{}, map[string]string{}
	slices.SortFunc(secrets, func(a, b corev1.Secret) int { return versionOf(s.name, b.Name) - versionOf(s.name, a.Name) })
	total := 0
	for i := range secrets {
		secret := &secrets[i]
		if versionOf(s.name, secret.Name) == 0 {
			s.copies[secret.Name] = secret.ResourceVersion
			continue
		}
		rel, size, err := s.read(secret)
		if total += size; err == nil && total > maxRecords {
			err = fmt.Errorf("the records of the release take more than %d bytes when they are unpacked", maxRecords)
		}
		if err == nil && len(s.records) == 0 {
			// Of the newest more is asked: the next action begins with its objects.
			if _, err = release.Objects(rel.Manifest); err != nil {
				err = fmt.Errorf("the manifest cannot be read: %w", err)
			}
		}
		if err != nil {
			s.broken[secret.Name] = damage{err, secret.ResourceVersion}
			continue
		}
		s.records[secret.Name] = &record{rel, secret.Labels, secret.ResourceVersion}
	}
}

// versionOf returns the version of a release whose record has a key, 0 where it is no such key.
func versionOf(name, key string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(key, Key(name, 0)[:len(Key(name, 0))-1]))
	if err != nil || n < 1 || key != Key(name, n) {
		return 0
	}
	return n
}

// read reads a record and says how large it is.
func (s *Storage) read(secret *corev1.Secret) (*helm.Release, int, error) {
	rel, size, err := decode(secret.Data[payloadKey])
	if err == nil {
		err = s.plausible(secret.Name, rel)
	}
	return rel, size, err
}

// plausible refuses records that are not what the name of their Secret says, or lack what Helm takes for granted.
func (s *Storage) plausible(key string, rel *helm.Release) error {
	switch {
	case rel.Info == nil || rel.Name != s.name || Key(rel.Name, rel.Version) != key:
		return errors.New("the record is not that of the revision that its name says")
	case rel.Chart == nil || rel.Chart.Metadata == nil:
		return errors.New("the record names no chart")
	case slices.Contains(rel.Hooks, nil), slices.Contains(rel.Chart.Templates, (*common.File)(nil)), slices.Contains(rel.Chart.Files, (*common.File)(nil)):
		return errors.New("the record has empty places among its hooks or files")
	}
	return nil
}

// hidden tells whether there is a Secret in the place of a revision that listings do not show, because it lost its labels.
func (s *Storage) hidden(ctx context.Context, key string) bool {
	secret, err := s.secrets.Get(ctx, key, metav1.GetOptions{})
	return err == nil && (secret.Labels["owner"] != owner || secret.Labels["name"] != s.name)
}

// Restore gives the record of a revision its labels back, so that listings show it again, and tells whether it had lost
// them.
func (s *Storage) Restore(ctx context.Context, version int) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	key := Key(s.name, version)
	secret, err := s.secrets.Get(ctx, key, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	rel, _, err := s.read(secret)
	if err != nil || secret.Labels["owner"] == owner && secret.Labels["name"] == s.name {
		return false, nil
	}
	labels := maps.Clone(secret.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, systemLabels(rel))
	secret.Labels = labels
	if _, err = s.secrets.Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded = false
	return true, nil
}

// replace writes over a Secret. One of another type, or one that is immutable, has to go first.
func (s *Storage) replace(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
	stored, err := s.secrets.Update(ctx, secret, metav1.UpdateOptions{})
	if !apierrors.IsInvalid(err) {
		return stored, err
	}
	if err := s.remove(secret.Name); err != nil {
		return nil, err
	}
	return s.secrets.Create(ctx, secret, metav1.CreateOptions{})
}

// DeleteBroken removes the records above a version that cannot be read, once nothing refers to them any more.
func (s *Storage) DeleteBroken(above int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for key := range s.broken {
		if versionOf(s.name, key) <= above {
			continue
		}
		if err := s.remove(key); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(s.broken, key)
	}
	return errors.Join(errs...)
}
