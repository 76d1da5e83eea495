package notify

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/kernel"
)

// secretPatience is how long data counts of which we cannot tell whether it has changed.
const secretPatience = 10 * time.Second

// secrets keeps the data of the Secrets in use, and reads one again when it has changed.
type secrets struct {
	m  *kernel.Manager
	mu sync.Mutex
	// known is bounded: what was not asked for in a while is dropped.
	known map[types.NamespacedName]*secret
}

type secret struct {
	version string
	data    map[string][]byte
	read    time.Time
}

// maxSecrets bounds the memory of secrets.
const maxSecrets = 2000

func newSecrets(m *kernel.Manager) *secrets {
	return &secrets{m: m, known: map[types.NamespacedName]*secret{}}
}

// get returns data and version of a Secret.
func (s *secrets) get(ctx context.Context, key types.NamespacedName) (map[string][]byte, string, error) {
	s.mu.Lock()
	have := s.known[key]
	s.mu.Unlock()
	if have != nil && s.current(key, have.version, have.read) {
		return have.data, have.version, nil
	}
	read, err := s.m.GetSecret(ctx, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.known, key)
		return nil, "", err
	}
	if len(s.known) >= maxSecrets {
		clear(s.known)
	}
	s.known[key] = &secret{version: read.ResourceVersion, data: read.Data, read: time.Now()}
	return read.Data, read.ResourceVersion, nil
}

// current tells whether a version read at some time is still that of the Secret.
func (s *secrets) current(key types.NamespacedName, version string, read time.Time) bool {
	now, ok := s.m.Version(key.Namespace, kernel.Secret(key.Name))
	if !ok {
		return time.Since(read) < secretPatience
	}
	// The informer may lag behind what we have just read.
	return now == version || time.Since(read) < time.Second
}
