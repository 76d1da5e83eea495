package kustomize_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/manifests"
)

// patience is how long a lab waits for what has to come.
const patience = 90 * time.Second

// lab is a namespace in which a Kustomization controller runs against the test's API server. Its requests go through
// a proxy that counts them; sources are objects whose artifact the test writes itself.
type lab struct {
	t         testing.TB
	namespace string
	client    client.WithWatch
	proxy     *proxy
	artifacts *artifacts
	events    *collector
	setup     setup
	stop      func() // ends the controller, as a restart does
}

var install struct {
	once sync.Once
	err  error
}

func installCRDs(t testing.TB, c client.Client) {
	t.Helper()
	install.once.Do(func() {
		crds, err := manifests.CRDs()
		for _, crd := range crds {
			err = errors.Join(err, c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(crd), client.FieldOwner("kustomize-test"), client.ForceOwnership))
		}
		install.err = err
	})
	if install.err != nil {
		t.Fatal(install.err)
	}
}

func init() { log.SetLogger(logr.Discard()) }

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(s), appsv1.AddToScheme(s), rbacv1.AddToScheme(s), kustomizev1.AddToScheme(s), sourcev1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

// setup is what a test may change of a lab.
type setup struct {
	settings kernel.Settings
	options  kustomize.Options
}

func newLab(t *testing.T, change ...func(*setup)) *lab {
	t.Helper()
	config := testenv.Config(t)
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	installCRDs(t, c)
	l := &lab{t: t, namespace: testenv.Namespace(t), client: c, proxy: newProxy(t, config), artifacts: newArtifacts(t), events: newCollector(t)}
	t.Cleanup(l.letGo)
	s := l.defaults()
	for _, f := range change {
		f(&s)
	}
	l.setup = s
	l.start()
	return l
}

func (l *lab) defaults() setup {
	s := setup{settings: kernel.Defaults()}
	s.settings.RuntimeNamespace, s.settings.IntervalJitterPercentage = l.namespace, 0
	s.settings.EventsAddr = l.events.server.URL
	s.settings.GracefulShutdownTimeout = 5 * time.Second
	s.settings.Gates = map[string]bool{kernel.GateStrictPostBuildSubstitutions: true}
	s.options = kustomize.Options{Artifacts: l.artifacts.acquire, Clients: &apply.ClientPool{}, BuildDir: l.t.(*testing.T).TempDir()}
	return s
}

// start runs the controller until stop is called.
func (l *lab) start() {
	l.t.Helper()
	s := l.setup
	process, err := kernel.NewProcess(l.proxy.config, kernel.ProcessOptions{
		Scheme: scheme(l.t), MetricsAddr: "0", HealthAddr: "0", WatchNamespace: l.namespace, Log: logr.Discard(),
		GracefulShutdownTimeout: 5 * time.Second,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := kustomize.Register(process.Controller("kustomize-controller", s.settings), s.options); err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- process.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			l.t.Logf("the controller stopped: %v", err)
		}
	})
	l.t.Cleanup(l.stop)
}

// with returns the lab for a subtest.
func (l *lab) with(t *testing.T) *lab {
	sub := *l
	sub.t = t
	return &sub
}

// letGo removes finalizers that a stopped controller left.
func (l *lab) letGo() {
	list := &kustomizev1.KustomizationList{}
	if err := l.client.List(context.Background(), list, client.InNamespace(l.namespace)); err != nil {
		return
	}
	for i := range list.Items {
		old := list.Items[i].DeepCopy()
		list.Items[i].Finalizers = nil
		_ = l.client.Patch(context.Background(), &list.Items[i], client.MergeFrom(old))
	}
}

// source creates a GitRepository, or gives it another artifact.
func (l *lab) source(name, revision string, files map[string]string) {
	l.t.Helper()
	l.advertise(name, l.artifacts.add(revision, files))
}

// advertise makes an artifact that of a GitRepository.
func (l *lab) advertise(name string, a *meta.Artifact) {
	l.t.Helper()
	key := types.NamespacedName{Namespace: l.namespace, Name: name}
	repo := &sourcev1.GitRepository{}
	if err := l.client.Get(l.t.Context(), key, repo); err != nil {
		repo = &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name}}
		repo.Spec.URL, repo.Spec.Interval = "https://example.com/repository", meta.NewDuration(time.Hour)
		if err := l.client.Create(l.t.Context(), repo); err != nil {
			l.t.Fatal(err)
		}
	}
	old := repo.DeepCopy()
	repo.Status.Artifact = a
	if err := l.client.Status().Patch(l.t.Context(), repo, client.MergeFrom(old)); err != nil {
		l.t.Fatal(err)
	}
}

// create creates a Kustomization of the source "repo" with an interval that does not come during the test.
func (l *lab) create(name string, change ...func(*kustomizev1.KustomizationSpec)) *kustomizev1.Kustomization {
	l.t.Helper()
	k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name}}
	k.Spec = kustomizev1.KustomizationSpec{
		SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "repo"},
		Interval:  meta.NewDuration(time.Hour), Prune: true, TargetNamespace: l.namespace,
	}
	for _, f := range change {
		f(&k.Spec)
	}
	if err := l.client.Create(l.t.Context(), k); err != nil {
		l.t.Fatal(err)
	}
	return k
}

// update changes a Kustomization.
func (l *lab) update(name string, change func(*kustomizev1.Kustomization)) {
	l.t.Helper()
	k := l.get(name)
	old := k.DeepCopy()
	change(k)
	if err := l.client.Patch(l.t.Context(), k, client.MergeFrom(old)); err != nil {
		l.t.Fatal(err)
	}
}

// request asks for a pass by annotation and returns the value.
func (l *lab) request(name string) string {
	l.t.Helper()
	at := time.Now().Format(time.RFC3339Nano)
	l.update(name, func(k *kustomizev1.Kustomization) {
		metav1.SetMetaDataAnnotation(&k.ObjectMeta, meta.ReconcileRequestAnnotation, at)
	})
	return at
}

func (l *lab) get(name string) *kustomizev1.Kustomization {
	l.t.Helper()
	k := &kustomizev1.Kustomization{}
	if err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, k); err != nil {
		l.t.Fatal(err)
	}
	return k
}

// until waits until a Kustomization is as wanted; nil stands for one that is gone.
func (l *lab) until(name, what string, wanted func(*kustomizev1.Kustomization) bool) *kustomizev1.Kustomization {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	last := &kustomizev1.Kustomization{}
	for ctx.Err() == nil {
		w, err := l.client.Watch(ctx, &kustomizev1.KustomizationList{}, client.InNamespace(l.namespace), client.MatchingFields{"metadata.name": name})
		if err != nil {
			continue
		}
		if k, ok := l.follow(ctx, w.ResultChan(), name, last, wanted); ok {
			w.Stop()
			return k
		}
		w.Stop()
	}
	l.t.Fatalf("waited %s for %s to be %s; its status is\n%s", patience, name, what, describe(last))
	return nil
}

func describe(k *kustomizev1.Kustomization) string {
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d observed %d applied %q attempted %q\n", k.Generation, k.Status.ObservedGeneration, k.Status.LastAppliedRevision, k.Status.LastAttemptedRevision)
	for _, c := range k.Status.Conditions {
		fmt.Fprintf(&b, "%s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

// ready waits until a revision is applied.
func (l *lab) ready(name, revision string) *kustomizev1.Kustomization {
	l.t.Helper()
	return l.until(name, "Ready with "+revision, func(k *kustomizev1.Kustomization) bool {
		return k != nil && k.Status.LastAppliedRevision == revision && k.Status.ObservedGeneration == k.Generation &&
			apimeta.IsStatusConditionTrue(k.Status.Conditions, meta.ReadyCondition)
	})
}

// failed waits until Ready is False for a reason, and returns its message.
func (l *lab) failed(name, reason string) (*kustomizev1.Kustomization, string) {
	l.t.Helper()
	k := l.until(name, "Ready=False "+reason, func(k *kustomizev1.Kustomization) bool {
		c := condition(k, meta.ReadyCondition)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason && c.ObservedGeneration == k.Generation
	})
	return k, condition(k, meta.ReadyCondition).Message
}

func condition(k *kustomizev1.Kustomization, conditionType string) *metav1.Condition {
	if k == nil {
		return nil
	}
	return apimeta.FindStatusCondition(k.Status.Conditions, conditionType)
}

// exists reports whether a ConfigMap is there.
func (l *lab) exists(name string) bool {
	l.t.Helper()
	err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, &corev1.ConfigMap{})
	if client.IgnoreNotFound(err) != nil {
		l.t.Fatal(err)
	}
	return err == nil
}

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {value: %q}\n", name, value)
}

type objectToCreate = client.Object

func keyOfObject(o client.Object) client.ObjectKey { return client.ObjectKeyFromObject(o) }

// clusterObject creates an object of the whole cluster, which goes with the test.
func (l *lab) clusterObject(o client.Object) {
	l.t.Helper()
	c, err := client.New(testenv.Config(l.t), client.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := c.Create(l.t.Context(), o); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Delete(context.Background(), o) })
}

// deleteCRD deletes a definition that a test had applied.
func (l *lab) deleteCRD(name string) {
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	crd.SetName(name)
	_ = l.client.Delete(context.Background(), crd)
}
