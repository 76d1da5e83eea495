// Package store is Helm's storage for one release: the Secrets that `helm` and upstream's controller read and write. It
// lists the revisions of the release once and answers from memory after that; it tells an observer what is stored; and
// it keeps records that cannot be read from standing in the way.
package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	releaser "helm.sh/helm/v4/pkg/release"
	helm "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	client "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	keyPrefix  = "sh.helm.release.v1."
	secretType = "helm.sh/release.v1"
	owner      = "helm"
	payloadKey = "release"
	timeout    = time.Minute
)

// Key returns the name of the Secret of a revision.
func Key(name string, version int) string { return fmt.Sprintf("%s%s.v%d", keyPrefix, name, version) }

// Storage keeps the revisions of one release. It implements Helm's driver.Driver and is for one action after another,
// not for several at a time.
type Storage struct {
	secrets  client.SecretInterface
	name     string
	observed func(*helm.Release)

	mu      sync.Mutex
	loaded  bool
	records map[string]*record
	// broken are the Secrets that cannot be read, by key.
	broken map[string]damage
	// copies are the resourceVersions of Secrets that look like a record and are in the place of none.
	copies map[string]string
}

type record struct {
	release *helm.Release
	labels  map[string]string
	version string // the resourceVersion of the Secret
}

var _ driver.Driver = &Storage{}

// New returns the storage of a release. observed, if not nil, is called after each revision that is stored.
func New(secrets client.SecretInterface, name string, observed func(*helm.Release)) *Storage {
	return &Storage{secrets: secrets, name: name, observed: observed}
}

// Name is that of Helm's driver for Secrets.
func (s *Storage) Name() string { return driver.SecretsDriverName }

// Load lists the revisions of the release, newest first, and by version why others cannot be read.
func (s *Storage) Load(ctx context.Context) (revisions []*helm.Release, broken map[int]error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded = false
	if err := s.load(ctx); err != nil {
		return nil, nil, err
	}
	for _, r := range s.records {
		revisions = append(revisions, copyOf(r))
	}
	slices.SortFunc(revisions, func(a, b *helm.Release) int { return b.Version - a.Version })
	broken = map[int]error{}
	for key, d := range s.broken {
		broken[versionOf(s.name, key)] = d.err
	}
	return revisions, broken, nil
}

// Read reads one revision from the server, and nothing else.
func (s *Storage) Read(ctx context.Context, version int) (*helm.Release, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	secret, err := s.secrets.Get(ctx, Key(s.name, version), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	rel, _, err := s.read(secret)
	return rel, err
}

// Versions returns the resourceVersions of the Secrets by name.
func (s *Storage) Versions() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := maps.Clone(s.copies)
	if out == nil {
		out = map[string]string{}
	}
	for key, r := range s.records {
		out[key] = r.version
	}
	for key, d := range s.broken {
		out[key] = d.version
	}
	return out
}

func (s *Storage) load(ctx context.Context) error {
	if s.loaded {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	selector := labels.Set{"name": s.name, "owner": owner}.AsSelector().String()
	list, err := s.secrets.List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("query: failed to query with labels: %w", err)
	}
	s.take(list.Items)
	s.loaded = true
	return nil
}

// copyOf returns a release that Helm's actions may change.
func copyOf(r *record) *helm.Release {
	out := *r.release
	if r.release.Info != nil {
		info := *r.release.Info
		out.Info = &info
	}
	out.Hooks = make([]*helm.Hook, len(r.release.Hooks))
	for i, h := range r.release.Hooks {
		copied := *h
		copied.DeletePolicies = slices.Clone(h.DeletePolicies)
		out.Hooks[i] = &copied
	}
	out.Labels = maps.Clone(r.labels)
	return &out
}

// Get returns the revision of a key.
func (s *Storage) Get(key string) (releaser.Releaser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(context.Background()); err != nil {
		return nil, err
	}
	r := s.records[key]
	if r == nil {
		return nil, driver.ErrReleaseNotFound
	}
	out := copyOf(r)
	out.Labels = userLabels(r.labels)
	return out, nil
}

// List returns the revisions that a filter takes.
func (s *Storage) List(filter func(releaser.Releaser) bool) ([]releaser.Releaser, error) {
	return s.pick(func(r *record) bool { return filter(copyOf(r)) })
}

// Query returns the revisions whose Secret has the labels.
func (s *Storage) Query(wanted map[string]string) ([]releaser.Releaser, error) {
	found, err := s.pick(func(r *record) bool {
		for k, v := range wanted {
			if r.labels[k] != v {
				return false
			}
		}
		return true
	})
	if err == nil && len(found) == 0 {
		return nil, driver.ErrReleaseNotFound
	}
	return found, err
}

func (s *Storage) pick(want func(*record) bool) ([]releaser.Releaser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(context.Background()); err != nil {
		return nil, err
	}
	var out []releaser.Releaser
	for _, r := range s.records {
		if want(r) {
			out = append(out, copyOf(r))
		}
	}
	return out, nil
}

// Create stores a new revision, over a record of the same key only if that cannot be read.
func (s *Storage) Create(key string, rel releaser.Releaser) error {
	return s.write(key, rel, "createdAt", func(ctx context.Context, secret *corev1.Secret) (*corev1.Secret, error) {
		if _, broken := s.broken[key]; broken {
			return s.replace(ctx, secret)
		}
		stored, err := s.secrets.Create(ctx, secret, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return stored, err
		}
		if s.hidden(ctx, key) {
			return s.replace(ctx, secret)
		}
		return nil, driver.ErrReleaseExists
	})
}

// Update stores another state of a revision.
func (s *Storage) Update(key string, rel releaser.Releaser) error {
	return s.write(key, rel, "modifiedAt", s.replace)
}

// maxSecret is the most that the data of a Secret may hold.
const maxSecret = corev1.MaxSecretSize

func (s *Storage) write(key string, in releaser.Releaser, stamp string, send func(context.Context, *corev1.Secret) (*corev1.Secret, error)) error {
	rel, ok := in.(*helm.Release)
	if !ok {
		return fmt.Errorf("store %s: unsupported release type %T", key, in)
	}
	payload, err := encode(rel)
	if err != nil {
		return fmt.Errorf("encode release %q: %w", rel.Name, err)
	}
	if len(payload) > maxSecret {
		return fmt.Errorf("release %s.v%d takes %d bytes in Helm's storage, and a Secret holds %d: take files out of the chart, or render fewer objects", rel.Name, rel.Version, len(payload), maxSecret)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: key, Labels: s.labelsOf(key, rel, stamp)},
		Type:       secretType, Data: map[string][]byte{payloadKey: payload},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	stored, err := send(ctx, secret)
	if err != nil {
		return err
	}
	if s.records == nil {
		s.records = map[string]*record{}
	}
	delete(s.broken, key)
	r := &record{labels: stored.Labels, version: stored.ResourceVersion}
	r.release = copyOf(&record{release: rel})
	s.records[key] = r
	if s.observed != nil {
		s.observed(copyOf(r))
	}
	return nil
}

// labelsOf are those that Helm puts on the Secret, those of the release among them.
func (s *Storage) labelsOf(key string, rel *helm.Release, stamp string) map[string]string {
	out := map[string]string{}
	if old := s.recordOf(key); old != nil {
		for _, k := range []string{"createdAt", "modifiedAt"} {
			if v, ok := old.labels[k]; ok {
				out[k] = v
			}
		}
	}
	maps.Copy(out, rel.Labels)
	out[stamp] = strconv.FormatInt(time.Now().Unix(), 10)
	maps.Copy(out, systemLabels(rel))
	return out
}

// systemLabels are those by which Helm finds the record of a revision.
func systemLabels(rel *helm.Release) map[string]string {
	return map[string]string{"name": rel.Name, "owner": owner, "status": rel.Info.Status.String(), "version": strconv.Itoa(rel.Version)}
}

func (s *Storage) recordOf(key string) *record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[key]
}

// Delete removes a revision and returns it.
func (s *Storage) Delete(key string) (releaser.Releaser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(context.Background()); err != nil {
		return nil, err
	}
	r := s.records[key]
	if r == nil {
		return nil, driver.ErrReleaseNotFound
	}
	if err := s.remove(key); err != nil {
		return nil, err
	}
	delete(s.records, key)
	return copyOf(r), nil
}

func (s *Storage) remove(key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := s.secrets.Delete(ctx, key, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

func userLabels(in map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range in {
		if !slices.Contains(driver.GetSystemLabels(), k) {
			out[k] = v
		}
	}
	return out
}
