package bucket_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/bucket"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// limit is how long a lab waits for what has to come.
const limit = 90 * time.Second

// lab runs the controller on the sandbox, for one namespace.
type lab struct {
	*testing.T
	client    client.WithWatch
	config    *rest.Config
	scheme    *runtime.Scheme
	namespace string
	data      string
	eventsURL string
	// transport, clouds and settings of the controller; set before start.
	transport http.RoundTripper
	clouds    cloud.Options
	gates     map[string]bool

	mu     sync.Mutex
	events []event
	came   chan struct{}
}

// event is what the controller posts.
type event struct {
	InvolvedObject corev1.ObjectReference `json:"involvedObject"`
	Reason         string                 `json:"reason"`
	Message        string                 `json:"message"`
	Metadata       map[string]string      `json:"metadata"`
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, config: testenv.Config(t), scheme: runtime.NewScheme(), data: t.TempDir(), came: make(chan struct{})}
	l.must(errors.Join(corev1.AddToScheme(l.scheme), api.AddToScheme(l.scheme)))
	l.namespace = testenv.Namespace(t)
	var err error
	l.client, err = client.NewWithWatch(l.config, client.Options{Scheme: l.scheme})
	l.must(err)
	events := httptest.NewServer(http.HandlerFunc(l.intake))
	t.Cleanup(events.Close)
	l.eventsURL = events.URL
	return l
}

func insecureTransport() *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true} //nolint:gosec // the test's own server
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) intake(_ http.ResponseWriter, r *http.Request) {
	var e event
	if json.NewDecoder(r.Body).Decode(&e) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	close(l.came)
	l.came = make(chan struct{})
}

// event waits for a posted event of the object with the reason and message.
func (l *lab) event(name, reason, message string) {
	l.Helper()
	deadline := time.After(limit)
	for {
		l.mu.Lock()
		came, seen := l.came, append([]event(nil), l.events...)
		l.mu.Unlock()
		for _, e := range seen {
			if e.InvolvedObject.Name == name && e.Reason == reason && e.Message == message {
				return
			}
		}
		select {
		case <-came:
		case <-deadline:
			l.Fatalf("no event %s %q of %s in %+v", reason, message, name, seen)
		}
	}
}

// start runs the controller until stop is called, or the test ends.
func (l *lab) start() (stop func()) {
	l.Helper()
	artifacts, err := store.Open(store.Options{Root: l.data, Advertised: "artifacts.example:9090"})
	l.must(err)
	settings := kernel.Defaults()
	settings.RuntimeNamespace, settings.EventsAddr, settings.Gates = l.namespace, l.eventsURL, l.gates
	settings.GracefulShutdownTimeout, settings.MinRetryDelay = 5*time.Second, 50*time.Millisecond
	process, err := kernel.NewProcess(l.config, kernel.ProcessOptions{
		Scheme: l.scheme, MetricsAddr: "0", HealthAddr: "0", WatchNamespace: l.namespace, Log: logr.Discard(),
		GracefulShutdownTimeout: settings.GracefulShutdownTimeout,
	})
	l.must(err)
	m := process.Controller("source-controller", settings)
	if l.clouds.Mint == nil {
		l.clouds.Mint = m.RequestToken
	}
	l.must(bucket.Register(m, bucket.Options{
		Artifacts: artifacts, Archives: archive.NewBuilder(archive.Options{}), Clouds: cloud.New(l.clouds),
		Mirrors: filepath.Join(l.data, ".buckets"), Transport: l.transport,
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := process.Run(ctx); err != nil {
			l.Errorf("the controller ended: %v", err)
		}
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-done
			_ = artifacts.Close()
		})
	}
	l.Cleanup(stop)
	return stop
}

// create makes a Bucket; change adapts it.
func (l *lab) create(name string, change func(*sourcev1.BucketSpec)) {
	l.Helper()
	obj := &sourcev1.Bucket{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace},
		Spec: sourcev1.BucketSpec{
			BucketName: "sample", Insecure: true, Region: "us-east-1", Interval: meta.NewDuration(time.Hour),
			SecretRef: &meta.LocalObjectReference{Name: "s3"},
		},
	}
	change(&obj.Spec)
	l.must(l.client.Create(context.Background(), obj))
	l.Cleanup(func() {
		_ = l.client.Patch(context.Background(), &sourcev1.Bucket{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace}},
			client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
}

func (l *lab) secret(name string, data map[string]string) {
	l.Helper()
	l.must(l.client.Create(context.Background(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace}, StringData: data}))
}

func (l *lab) update(name string, change func(*sourcev1.Bucket)) {
	l.Helper()
	obj := l.get(name)
	old := obj.DeepCopy()
	change(obj)
	l.must(l.client.Patch(context.Background(), obj, client.MergeFrom(old)))
}

// request asks for a reconciliation and waits until it was handled.
func (l *lab) request(name, token string) *sourcev1.Bucket {
	l.Helper()
	l.update(name, func(b *sourcev1.Bucket) {
		metav1.SetMetaDataAnnotation(&b.ObjectMeta, meta.ReconcileRequestAnnotation, token)
	})
	return l.until(name, "reconciled", func(b *sourcev1.Bucket) bool { return b.Status.LastHandledReconcileAt == token })
}

func (l *lab) get(name string) *sourcev1.Bucket {
	l.Helper()
	obj := &sourcev1.Bucket{}
	l.must(l.client.Get(context.Background(), client.ObjectKey{Namespace: l.namespace, Name: name}, obj))
	return obj
}

// until waits until the object is as wanted.
func (l *lab) until(name, what string, wanted func(*sourcev1.Bucket) bool) *sourcev1.Bucket {
	l.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		obj := l.get(name)
		if wanted(obj) {
			return obj
		}
		if time.Now().After(end) {
			text, _ := json.MarshalIndent(obj.Status, "", " ")
			l.Fatalf("%s did not become %s: %s", name, what, text)
		}
	}
}

// ready waits for a verdict with a message.
func (l *lab) ready(name string, status metav1.ConditionStatus, reason, message string) *sourcev1.Bucket {
	l.Helper()
	return l.until(name, reason+": "+message, func(b *sourcev1.Bucket) bool {
		c := b.Status.Conditions.Get(meta.ReadyCondition)
		return c != nil && c.Status == status && c.Reason == reason && c.Message == message && c.ObservedGeneration == b.Generation
	})
}

// revision waits until the artifact is of a revision.
func (l *lab) revision(name, revision string) *sourcev1.Bucket {
	l.Helper()
	return l.ready(name, metav1.ConditionTrue, "Succeeded", "stored artifact: revision '"+revision+"'")
}

// files reads the artifact.
func (l *lab) files(obj *sourcev1.Bucket) map[string]string {
	l.Helper()
	f, err := os.Open(filepath.Join(l.data, obj.Status.Artifact.Path))
	l.must(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	l.must(err)
	out := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		l.must(err)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(r)
		l.must(err)
		out[h.Name] = string(text)
	}
}

// eventually waits until something holds.
func (l *lab) eventually(what string, holds func() bool) {
	l.Helper()
	for end := time.Now().Add(limit); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			l.Fatalf("waited %s for: %s", limit, what)
		}
	}
}
