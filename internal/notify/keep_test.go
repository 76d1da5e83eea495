package notify

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

// oneMap is an API server with at most one ConfigMap, which answers with down while that is set.
type oneMap struct {
	client.Client
	kept *corev1.ConfigMap
	down error
	gets int
}

var configMaps = schema.GroupResource{Resource: "configmaps"}

func (c *oneMap) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	c.gets++
	if c.down != nil {
		return c.down
	}
	if c.kept == nil {
		return apierrors.NewNotFound(configMaps, key.Name)
	}
	c.kept.DeepCopyInto(obj.(*corev1.ConfigMap))
	return nil
}

func (c *oneMap) Create(_ context.Context, obj client.Object, _ ...client.CreateOption) error {
	if c.kept != nil {
		return apierrors.NewAlreadyExists(configMaps, obj.GetName())
	}
	return c.put(obj)
}

func (c *oneMap) Update(_ context.Context, obj client.Object, _ ...client.UpdateOption) error {
	if c.kept == nil || c.kept.ResourceVersion != obj.GetResourceVersion() {
		return apierrors.NewConflict(configMaps, obj.GetName(), errors.New("changed"))
	}
	return c.put(obj)
}

func (c *oneMap) put(obj client.Object) error {
	if c.down != nil {
		return c.down
	}
	version, _ := strconv.Atoi(obj.GetResourceVersion())
	obj.SetResourceVersion(strconv.Itoa(version + 1))
	c.kept = obj.(*corev1.ConfigMap).DeepCopy()
	return nil
}

func (c *oneMap) keeper() *keeper {
	return &keeper{client: c, name: types.NamespacedName{Namespace: "ns", Name: "memory"}, log: logr.Discard()}
}

func newMemory(k *keeper) *memory {
	return &memory{kept: k, Transitions: &alert.Transitions{}, Mails: providers.NewMails()}
}

func failureOf(name string) *event.Event {
	return &event.Event{InvolvedObject: corev1.ObjectReference{Kind: "X", Name: name}, Severity: event.SeverityError, Message: name}
}

var unanswered = apierrors.NewTimeoutError("the API server does not answer", 1)

// What an earlier process left is read as soon as the API server answers. A lack of rights does not pass, and deliveries do
// not wait for ever.
func TestLoadWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &oneMap{kept: &corev1.ConfigMap{BinaryData: map[string][]byte{keyMemory: []byte("m")}}, down: unanswered}
		k := server.keeper()
		time.AfterFunc(20*time.Second, func() { server.down = nil })
		if err := k.load(t.Context()); err != nil || string(k.value(keyMemory)) != "m" {
			t.Errorf("%q is read, %v", k.value(keyMemory), err)
		}
		began := time.Now()
		server.down = unanswered
		if err := server.keeper().load(t.Context()); err == nil || time.Since(began) > 2*time.Minute {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began = time.Now()
		if err := server.keeper().load(ctx); err == nil || time.Since(began) > 5*time.Second {
			t.Errorf("a stop is heard after %s: %v", time.Since(began), err)
		}
		server.gets, server.down = 0, apierrors.NewForbidden(configMaps, "memory", nil)
		if err := server.keeper().load(t.Context()); err == nil || server.gets != 1 {
			t.Errorf("%d attempts, %v", server.gets, err)
		}
	})
}

// A process that could not read what an earlier one left adds to it, and does not replace it.
func TestNothingUnreadIsOverwritten(t *testing.T) {
	t.Parallel()
	a := &notificationv1.Alert{Spec: notificationv1.AlertSpec{Transitions: &notificationv1.Transitions{}}}
	a.UID = "u"
	server := &oneMap{}
	open := func() (*memory, spool) {
		k := server.keeper()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = k.load(ctx)
		m := newMemory(k)
		if err := m.read(); err != nil {
			t.Fatal(err)
		}
		return m, spool{k}
	}
	tell := func(m *memory, s spool, name string) {
		t.Helper()
		m.Transitions.Observe(a, failureOf(name), time.Now())
		if err := errors.Join(m.write(), s.Write([]dispatch.Item{{Event: failureOf(name)}})); err != nil {
			t.Fatal(err)
		}
	}
	m, s := open()
	tell(m, s, "first")
	server.down = unanswered
	m, s = open()
	if err := s.Write([]dispatch.Item{{Event: failureOf("lost")}}); !errors.Is(err, unanswered) {
		t.Errorf("written to a server that does not answer: %v", err)
	}
	server.down = nil
	tell(m, s, "second")
	m, s = open()
	for _, name := range []string{"first", "second"} {
		if m.Transitions.Observe(a, failureOf(name), time.Now()) != nil {
			t.Errorf("it was forgotten that the failure of %s was told", name)
		}
	}
	items, err := s.Read()
	if err != nil || len(items) != 2 || items[0].Event.Message != "first" || items[1].Event.Message != "second" {
		t.Errorf("%d events are left, %v", len(items), err)
	}
}

// Each shard keeps its own, named as its lease is.
func TestMemoryOfShards(t *testing.T) {
	t.Parallel()
	settings := kernel.Defaults()
	settings.RuntimeNamespace = "flux-system"
	if got := memoryName(settings).String(); got != "flux-system/notification-controller-memory" {
		t.Errorf("without shards it is %s", got)
	}
	settings.WatchLabelSelector = "sharding.fluxcd.io/key=shard1"
	got := memoryName(settings).Name
	if want := notificationv1.MemoryName + strings.TrimPrefix(kernel.LeaseName("c", settings.WatchLabelSelector), kernel.LeaseName("c", "")); got != want || got == notificationv1.MemoryName {
		t.Errorf("of a shard it is %s, want %s", got, want)
	}
}

// Without the right to the ConfigMap what is to be kept stays in the pod, and in the cluster as soon as that is allowed.
func TestForbiddenMemory(t *testing.T) {
	t.Parallel()
	server := &oneMap{down: apierrors.NewForbidden(configMaps, "memory", nil)}
	dir := t.TempDir()
	a := &notificationv1.Alert{Spec: notificationv1.AlertSpec{Transitions: &notificationv1.Transitions{}}}
	open := func() *memory {
		k := server.keeper()
		k.dir = dir
		k.begin(t.Context())
		m := newMemory(k)
		if err := m.read(); err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := open()
	m.Transitions.Observe(a, failureOf("first"), time.Now())
	if err := m.write(); err != nil {
		t.Fatal(err)
	}
	m = open()
	if m.Transitions.Observe(a, failureOf("first"), time.Now()) != nil {
		t.Error("what was left in the pod is not known")
	}
	server.down = nil
	m.Transitions.Observe(a, failureOf("second"), time.Now())
	if err := m.write(); err != nil || server.kept == nil {
		t.Errorf("it is not kept in the cluster: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

// What is kept says nothing that looks like a credential, whoever has posted it.
func TestKeptWithoutCredentials(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	a := &notificationv1.Alert{Spec: notificationv1.AlertSpec{Transitions: &notificationv1.Transitions{Threshold: &meta.Duration{Duration: time.Hour}}}}
	server := &oneMap{}
	k := server.keeper()
	if err := k.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, e := newMemory(k), failureOf("x")
	e.Message = "clone https://" + secret + "@git.example/o/r"
	e.Metadata = map[string]string{event.AnnotationPrefix + "console": "https://h/?token=" + secret}
	m.Transitions.Observe(a, e, time.Now()) // it waits
	a.UID, a.Spec.Transitions = "told", &notificationv1.Transitions{}
	m.Transitions.Observe(a, e, time.Now())
	if err := errors.Join(m.write(), spool{k}.Write([]dispatch.Item{{Event: e}})); err != nil {
		t.Fatal(err)
	}
	for key, packed := range server.kept.BinaryData {
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(r)
		if err != nil || !bytes.Contains(plain, []byte("*****")) || bytes.Contains(plain, []byte(secret)) {
			t.Errorf("%s: %s, %v", key, plain, err)
		}
	}
	if len(server.kept.BinaryData) != 2 {
		t.Errorf("%d values are kept", len(server.kept.BinaryData))
	}
}
