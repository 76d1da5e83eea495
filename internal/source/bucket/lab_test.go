package bucket_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/bucket"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

// lab runs the controller on the sandbox, for one namespace.
type lab struct {
	*sourcetest.Lab
	// transport and clouds of the controller; set before start.
	transport http.RoundTripper
	clouds    cloud.Options
}

func newLab(t *testing.T) *lab {
	t.Helper()
	return &lab{Lab: sourcetest.New(t)}
}

func insecureTransport() *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true} //nolint:gosec // the test's own server
}

// start runs the controller until stop is called, or the test ends.
func (l *lab) start() (stop func()) {
	l.Helper()
	return l.Start(func(m *kernel.Manager) error {
		if l.clouds.Mint == nil {
			l.clouds.Mint = m.RequestToken
		}
		return bucket.Register(m, bucket.Options{
			Artifacts: l.Artifacts, Archives: archive.NewBuilder(archive.Options{}), Clouds: cloud.New(l.clouds),
			Mirrors: filepath.Join(l.Data, ".buckets"), Transport: l.transport,
		})
	})
}

// create makes a Bucket; change adapts it.
func (l *lab) create(name string, change func(*sourcev1.BucketSpec)) {
	l.Helper()
	obj := &sourcev1.Bucket{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: sourcev1.BucketSpec{
			BucketName: "sample", Insecure: true, Region: "us-east-1", Interval: meta.NewDuration(time.Hour),
			SecretRef: &meta.LocalObjectReference{Name: "s3"},
		},
	}
	change(&obj.Spec)
	l.Create(obj)
}

func (l *lab) secret(name string, data map[string]string) {
	l.Helper()
	l.Must(l.Client.Create(context.Background(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.Namespace}, StringData: data}))
}

func (l *lab) update(name string, change func(*sourcev1.Bucket)) {
	l.Helper()
	obj := l.get(name)
	old := obj.DeepCopy()
	change(obj)
	l.Must(l.Client.Patch(context.Background(), obj, client.MergeFrom(old)))
}

func (l *lab) get(name string) *sourcev1.Bucket {
	l.Helper()
	return sourcetest.Get[*sourcev1.Bucket](l.Lab, name)
}

// request asks for a reconciliation and waits for its answer.
func (l *lab) request(name, token string) *sourcev1.Bucket {
	l.Helper()
	return sourcetest.Request[*sourcev1.Bucket](l.Lab, name, token)
}

// until waits for a state of the object.
func (l *lab) until(name, what string, ok func(*sourcev1.Bucket) bool) *sourcev1.Bucket {
	l.Helper()
	return sourcetest.Until(l.Lab, name, what, ok)
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
	return l.Files(obj.Status.Artifact)
}

// eventually waits until something holds.
func (l *lab) eventually(what string, holds func() bool) {
	l.Helper()
	for end := time.Now().Add(sourcetest.Limit); !holds(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			l.Fatalf("waited %s for: %s", sourcetest.Limit, what)
		}
	}
}
