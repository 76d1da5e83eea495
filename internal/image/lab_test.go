package image_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
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
	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	imageaccess "github.com/gitops-toolkit/flux/internal/image/access"
	"github.com/gitops-toolkit/flux/internal/image/policy"
	"github.com/gitops-toolkit/flux/internal/image/repository"
	"github.com/gitops-toolkit/flux/internal/image/tags"
	"github.com/gitops-toolkit/flux/internal/image/update"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// limit is how long a lab waits for what has to come.
const limit = 90 * time.Second

// lab runs both controllers on the sandbox, for one namespace, beside a registry and a Git server.
type lab struct {
	*testing.T
	client    client.WithWatch
	config    *rest.Config
	scheme    *runtime.Scheme
	namespace string
	registry  *registrytest.Server
	git       *git.Server
	repo      *git.Repo
	data      string // the volume with the tags
	mirrors   string
	shard     string // serve the objects of all namespaces that have this label, instead of one namespace
	eventsURL string
	// settings and updates adapt the controllers before they start.
	settings func(*kernel.Settings)
	log      logr.Logger // of the controllers, nothing if not set
	updates  func(*update.Options)
	cloud    http.RoundTripper // the services of clouds, nil for the network

	mu     sync.Mutex
	events []event
	came   chan struct{} // closed and replaced when an event came
}

// event is what the controllers post.
type event struct {
	InvolvedObject corev1.ObjectReference `json:"involvedObject"`
	Severity       string                 `json:"severity"`
	Reason         string                 `json:"reason"`
	Message        string                 `json:"message"`
}

func newLab(t *testing.T, registryOptions registrytest.Options, gitOptions git.Options) *lab {
	t.Helper()
	l := &lab{T: t, config: testenv.Config(t), scheme: runtime.NewScheme(), data: t.TempDir(), mirrors: t.TempDir(), came: make(chan struct{})}
	l.must(errors.Join(corev1.AddToScheme(l.scheme), api.AddToScheme(l.scheme)))
	l.namespace = testenv.Namespace(t)
	var err error
	l.client, err = client.NewWithWatch(l.config, client.Options{Scheme: l.scheme})
	l.must(err)
	l.registry = registrytest.Start(t, registryOptions)
	gitOptions.Root = t.TempDir()
	if gitOptions.HTTP == "" {
		gitOptions.HTTP = git.AnyPort
	}
	l.git, err = git.Start(gitOptions)
	l.must(err)
	t.Cleanup(func() { _ = l.git.Close() })
	l.repo, err = l.git.Create("fleet", "main")
	l.must(err)
	events := httptest.NewServer(http.HandlerFunc(l.intake))
	t.Cleanup(events.Close)
	l.eventsURL = events.URL
	return l
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

// event waits for a posted event that is the right one.
func (l *lab) event(what string, ok func(event) bool) event {
	l.Helper()
	deadline := time.After(limit)
	for {
		l.mu.Lock()
		came, seen := l.came, append([]event(nil), l.events...)
		l.mu.Unlock()
		for _, e := range seen {
			if ok(e) {
				return e
			}
		}
		select {
		case <-came:
		case <-deadline:
			l.Fatalf("no event %s in %+v", what, seen)
		}
	}
}

// start runs the controllers until stop is called, or the test ends.
func (l *lab) start() (stop func()) {
	l.Helper()
	settings := kernel.Defaults()
	settings.RuntimeNamespace, settings.EventsAddr, settings.IntervalJitterPercentage = l.namespace, l.eventsURL, 0
	settings.GracefulShutdownTimeout, settings.MinRetryDelay = 5*time.Second, 50*time.Millisecond
	if l.settings != nil {
		l.settings(&settings)
	}
	watched := l.namespace
	if l.shard != "" {
		settings.WatchLabelSelector, watched = "lab="+l.shard, ""
	}
	process, err := kernel.NewProcess(l.config, kernel.ProcessOptions{
		Scheme: l.scheme, MetricsAddr: "0", HealthAddr: "0", WatchNamespace: watched, Log: l.log,
		GracefulShutdownTimeout: settings.GracefulShutdownTimeout,
	})
	l.must(err)
	store, err := tags.Open(tags.Options{Dir: l.data})
	l.must(err)
	m := process.Controller("image-reflector-controller", settings)
	opener := imageaccess.NewOpener(access.Registries{
		Cluster: m, Pool: registry.NewPool(registry.Options{Retries: []time.Duration{time.Millisecond}}),
		Clouds: cloud.New(cloud.Options{Transport: l.cloud, Mint: m.RequestToken}),
	})
	l.must(repository.Register(m, repository.Options{Tags: store, Registries: opener}))
	l.must(policy.Register(m, policy.Options{Tags: store, Registries: opener}))
	mirrors, err := gitrepo.NewStore(l.mirrors, gitrepo.Options{})
	l.must(err)
	a := process.Controller("image-automation-controller", settings)
	options := update.Options{Git: mirrors, AllBranches: true, ForcePush: true,
		Remotes: access.Git{Foreign: true, Secrets: a, Accounts: a, Tokens: githubapp.NewTokens(githubapp.Options{}), Clouds: cloud.New(cloud.Options{})}}
	if l.updates != nil {
		l.updates(&options)
	}
	l.must(update.Register(a, options))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := process.Run(ctx); err != nil {
			l.Errorf("the controllers ended: %v", err)
		}
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-done
			_ = mirrors.Close()
		})
	}
	l.Cleanup(stop)
	return stop
}

// push gives an image tags.
func (l *lab) push(image string, names ...string) {
	l.Helper()
	for _, tag := range names {
		l.registry.Push(l.T, image, tag, nil, registrytest.Archive(l.T, map[string]string{"tag": tag}))
	}
}

func (l *lab) commit(files map[string]string, message string) string {
	l.Helper()
	hash, err := l.repo.Commit(files, message)
	l.must(err)
	return hash
}

// gitCmd runs git in the repository on the server.
func (l *lab) gitCmd(args ...string) string {
	l.Helper()
	out, err := l.repo.Git(nil, args...)
	l.must(err)
	return out
}

func (l *lab) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: l.namespace}
}

// create makes an object whose finalizer is taken off at the end, so that the namespace can go.
func (l *lab) create(o client.Object) {
	l.Helper()
	if l.shard != "" {
		o.SetLabels(map[string]string{"lab": l.shard})
	}
	l.must(l.client.Create(context.Background(), o))
	l.Cleanup(func() {
		_ = l.client.Patch(context.Background(), o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
}

func (l *lab) image(name string) string { return l.registry.Host + "/" + name }

func (l *lab) createRepository(name string, change func(*imagev1.ImageRepository)) {
	l.Helper()
	o := &imagev1.ImageRepository{ObjectMeta: l.meta(name), Spec: imagev1.ImageRepositorySpec{Image: l.image(name), Interval: meta.NewDuration(time.Hour)}}
	if change != nil {
		change(o)
	}
	l.create(o)
}

func (l *lab) createPolicy(name, repository string, change func(*imagev1.ImagePolicy)) {
	l.Helper()
	o := &imagev1.ImagePolicy{ObjectMeta: l.meta(name), Spec: imagev1.ImagePolicySpec{
		ImageRepositoryRef: meta.NamespacedObjectReference{Name: repository},
		Policy:             imagev1.ImagePolicyChoice{SemVer: &imagev1.SemVerPolicy{Range: "*"}},
	}}
	if change != nil {
		change(o)
	}
	l.create(o)
}

func (l *lab) createSource(name string, change func(*sourcev1.GitRepository)) {
	l.Helper()
	o := &sourcev1.GitRepository{ObjectMeta: l.meta(name), Spec: sourcev1.GitRepositorySpec{
		URL: l.git.HTTPURL("fleet"), Interval: meta.NewDuration(time.Hour), Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
	}}
	if change != nil {
		change(o)
	}
	l.create(o)
}

func (l *lab) createUpdate(name string, change func(*imagev1.ImageUpdateAutomation)) {
	l.Helper()
	o := &imagev1.ImageUpdateAutomation{ObjectMeta: l.meta(name), Spec: imagev1.ImageUpdateAutomationSpec{
		SourceRef: imagev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "fleet"}, Interval: meta.NewDuration(time.Hour),
		GitSpec: &imagev1.GitSpec{Commit: imagev1.CommitSpec{Author: imagev1.CommitUser{Name: "bot", Email: "bot@example.com"}}},
	}}
	if change != nil {
		change(o)
	}
	l.create(o)
}

// patch merges into an object.
func (l *lab) patch(o client.Object, patch string) {
	l.Helper()
	l.must(l.client.Patch(context.Background(), o, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// request asks for a reconciliation and waits for its answer.
func request[T meta.Object](l *lab, o T, list client.ObjectList, token string) T {
	l.Helper()
	l.patch(o, `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"`+token+`"}}}`)
	return until(l, o, list, "request "+token+" handled", func(o T) bool { return o.GetLastHandledReconcileAt() == token })
}

// until waits for a state of an object.
func until[T meta.Object](l *lab, o T, list client.ObjectList, what string, ok func(T) bool) T {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	w, err := l.client.Watch(ctx, list, client.InNamespace(l.namespace), client.MatchingFields{"metadata.name": o.GetName()})
	l.must(err)
	defer w.Stop()
	var last T
	for e := range w.ResultChan() {
		if obj, is := e.Object.(T); is {
			if last = obj; ok(obj) {
				return obj
			}
		}
	}
	text, _ := json.MarshalIndent(last, "", " ")
	l.Fatalf("%s: not %q: %s", o.GetName(), what, text)
	return last
}

func readyOf(o meta.Object) *metav1.Condition {
	return meta.Conditions(o.GetConditions()).Get(meta.ReadyCondition)
}

func isReady(o meta.Object) bool {
	c := readyOf(o)
	return c != nil && c.Status == metav1.ConditionTrue && o.GetObservedGeneration() == o.GetGeneration()
}

func (l *lab) repository(name, what string, ok func(*imagev1.ImageRepository) bool) *imagev1.ImageRepository {
	l.Helper()
	return until(l, &imagev1.ImageRepository{ObjectMeta: l.meta(name)}, &imagev1.ImageRepositoryList{}, what, ok)
}

func (l *lab) policy(name, what string, ok func(*imagev1.ImagePolicy) bool) *imagev1.ImagePolicy {
	l.Helper()
	return until(l, &imagev1.ImagePolicy{ObjectMeta: l.meta(name)}, &imagev1.ImagePolicyList{}, what, ok)
}

// picked waits until a policy has chosen a tag.
func (l *lab) picked(name, tag string) *imagev1.ImagePolicy {
	l.Helper()
	return l.policy(name, "picks "+tag, func(o *imagev1.ImagePolicy) bool {
		return isReady(o) && o.Status.LatestRef != nil && o.Status.LatestRef.Tag == tag
	})
}

func (l *lab) update(name, what string, ok func(*imagev1.ImageUpdateAutomation) bool) *imagev1.ImageUpdateAutomation {
	l.Helper()
	return until(l, &imagev1.ImageUpdateAutomation{ObjectMeta: l.meta(name)}, &imagev1.ImageUpdateAutomationList{}, what, ok)
}

// failed tells whether Ready is False with the reason.
func failed(o meta.Object, reason string) bool {
	c := readyOf(o)
	return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason
}
