package notify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
)

const (
	keyEvents = "events.gz"
	keyMemory = "memory.gz"
	// A ConfigMap takes 1 MiB in all.
	maxEvents = 560 << 10
	maxMemory = 400 << 10
	// keepTimeout bounds a request; at a stop there are two beside four seconds for deliveries, and ten in all.
	keepTimeout = 2 * time.Second
	// loadTimeout is how long deliveries wait at a start for what was left.
	loadTimeout = time.Minute
)

// keeper holds what outlives the pod: events that a stop left undelivered, and of which failures people know. It is
// kept in a ConfigMap, which whoever may read ConfigMaps of the controller's namespace can read: messages and metadata
// of events about objects in all namespaces, from whoever posted them. What looks like a credential is taken out, and
// no more than that. Where the API server does not take it, it is kept in files of the pod.
type keeper struct {
	client client.Client
	name   types.NamespacedName
	dir    string // empty: no files
	log    logr.Logger

	mu sync.Mutex
	// held is the ConfigMap as it was last read or written; nil: there was none. It counts once it is loaded.
	held   *corev1.ConfigMap
	loaded bool
	// taken are the keys of which the value that an earlier process left is known to who writes them.
	taken map[string]bool
	// closing says that another process may lead already: what it has written is not overwritten.
	closing bool
}

// close is called when the work ends.
func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closing = true
}

// load reads the ConfigMap. While the API server does not answer it is asked again, but not for ever: deliveries wait.
func (k *keeper) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	for pause := time.Second; ; pause = min(2*pause, 10*time.Second) {
		err := k.ensure(ctx)
		if err == nil || apierrors.IsForbidden(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// begin loads, and says what it means if that fails.
func (k *keeper) begin(ctx context.Context) {
	err := k.load(ctx)
	switch {
	case apierrors.IsForbidden(err):
		k.log.Error(err, "what an earlier pod left is not known, and what this one leaves stays in it: let the controller get and update the ConfigMap", "configMap", k.name.String())
	case err != nil:
		k.log.Error(err, "what an earlier process left was not read")
	}
}

// ensure reads the ConfigMap unless that has succeeded before.
func (k *keeper) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.loaded {
		return nil
	}
	return k.read(ctx)
}

func (k *keeper) read(ctx context.Context) error {
	read := &corev1.ConfigMap{}
	err := k.client.Get(ctx, k.name, read)
	if apierrors.IsNotFound(err) {
		k.held, k.loaded = nil, true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the ConfigMap %s: %w", k.name, err)
	}
	k.held, k.loaded = read, true
	return nil
}

// value is what was read under a key.
func (k *keeper) value(key string) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.take(key)
}

func (k *keeper) take(key string) []byte {
	if !k.loaded {
		return nil
	}
	if k.taken == nil {
		k.taken = map[string]bool{}
	}
	k.taken[key] = true
	if k.held == nil {
		return nil
	}
	return k.held.BinaryData[key]
}

// unread is what an earlier process left under a key, if it is not known yet because the API server did not answer:
// it belongs into what is written there.
func (k *keeper) unread(key string) ([]byte, error) {
	if err := k.ensure(context.Background()); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taken[key] {
		return nil, nil
	}
	return k.take(key), nil
}

// errUnread keeps what is not known from being replaced.
var errUnread = errors.New("it was not read yet")

// store writes one key; nil removes it.
func (k *keeper) store(key string, value []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
	defer cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.loaded {
		return fmt.Errorf("write the ConfigMap %s: %w", k.name, errUnread)
	}
	err := k.write(ctx, key, value)
	changed := apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err)
	if changed && !k.closing { // somebody has edited or deleted it
		if err = k.read(ctx); err == nil {
			err = k.write(ctx, key, value)
		}
	}
	if err != nil {
		return fmt.Errorf("write the ConfigMap %s: %w", k.name, err)
	}
	return nil
}

func (k *keeper) write(ctx context.Context, key string, value []byte) error {
	next := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: k.name.Namespace, Name: k.name.Name, Labels: map[string]string{"app.kubernetes.io/part-of": "flux"},
	}}
	if k.held != nil {
		next = k.held.DeepCopy()
	}
	next.BinaryData = maps.Clone(next.BinaryData)
	if next.BinaryData == nil {
		next.BinaryData = map[string][]byte{}
	}
	next.BinaryData[key] = value
	if value == nil {
		delete(next.BinaryData, key)
	}
	send := func() error { return k.client.Create(ctx, next, client.FieldOwner(notificationv1.MemoryName)) }
	if k.held != nil {
		send = func() error { return k.client.Update(ctx, next, client.FieldOwner(notificationv1.MemoryName)) }
	}
	if err := send(); err != nil {
		return err
	}
	k.held = next
	return nil
}

// spool is the keeper as the dispatcher sees it.
type spool struct{ *keeper }

func (s spool) file() dispatch.FileSpool {
	if s.dir == "" {
		return ""
	}
	return dispatch.FileSpool(filepath.Join(s.dir, "events"))
}

// Read implements dispatch.Spool.
func (s spool) Read() ([]dispatch.Item, error) {
	items, err := s.file().Read()
	data := s.value(keyEvents)
	if data == nil {
		return items, err
	}
	kept, decodeErr := dispatch.Decode(data)
	return append(kept, items...), errors.Join(err, decodeErr, s.store(keyEvents, nil))
}

// Write implements dispatch.Spool.
func (s spool) Write(items []dispatch.Item) error {
	items = slices.Clone(items)
	for i := range items {
		items[i].Event = items[i].Event.Redacted()
	}
	data, err := s.unread(keyEvents)
	if err == nil && data != nil {
		earlier, _ := dispatch.Decode(data) // what cannot be read is of no use to anybody
		items = append(earlier, items...)
	}
	dropped := 0
	if err == nil {
		data, dropped, err = dispatch.Encode(items, maxEvents)
	}
	if err == nil {
		err = s.store(keyEvents, data)
	}
	if err == nil {
		if dropped > 0 {
			s.log.Info("of the events that were not delivered the oldest are lost: there is no room for them", "lost", dropped, "kept", len(items)-dropped)
		}
		return nil
	}
	if s.dir == "" {
		return err
	}
	s.log.Error(err, "events that were not delivered are kept in the pod")
	return s.file().Write(items)
}

// memoryFile is there only while the ConfigMap cannot be written: then it is the newer of the two.
func (k *keeper) memoryFile() string { return filepath.Join(k.dir, keyMemory) }

// readMemory returns what an earlier process has kept; nil: nothing.
func (k *keeper) readMemory() ([]byte, error) {
	if k.dir != "" {
		data, err := os.ReadFile(k.memoryFile())
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return k.value(keyMemory), nil
}

// writeMemory keeps data.
func (k *keeper) writeMemory(data []byte) error {
	err := k.store(keyMemory, data)
	if k.dir == "" {
		return err
	}
	path := k.memoryFile()
	if err == nil {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	fileErr := os.MkdirAll(k.dir, 0o700)
	if fileErr == nil {
		fileErr = os.WriteFile(path+".new", data, 0o600)
	}
	if fileErr == nil {
		fileErr = os.Rename(path+".new", path)
	}
	if fileErr != nil {
		return errors.Join(err, fileErr)
	}
	k.log.V(1).Info("what people know of failures is kept in the pod for now", "cause", err.Error())
	return nil
}
