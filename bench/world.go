package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// world is a fresh sandbox with the two controllers on it, a Git server, and eyes on the audit log.
type world struct {
	many              int
	dir, sandbox      string
	kubeconfig        string
	git               *git.Server
	repo              *git.Repo
	stack             *harness.Stack
	source, kustomize *harness.Process
	audit             *harness.Audit
	dyn               dynamic.Interface
}

const (
	namespace = "bench"
	fluxURL   = "source.toolkit.fluxcd.io"
)

var (
	gitRepositories = schema.GroupVersionResource{Group: fluxURL, Version: "v1", Resource: "gitrepositories"}
	kustomizations  = schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

func newWorld(ctx context.Context, many int) (*world, error) {
	dir, _, err := harness.TempDir()
	if err != nil {
		return nil, err
	}
	w := &world{many: many, dir: dir, sandbox: filepath.Base(dir)}
	if err := w.start(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) start(ctx context.Context) error {
	if _, err := w.run(ctx, "up"); err != nil {
		return err
	}
	var status struct{ Kubeconfig, AuditLog string }
	out, err := w.run(ctx, "status", "-o", "json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return fmt.Errorf("read the sandbox's status: %w", err)
	}
	w.kubeconfig = status.Kubeconfig
	crds := exec.CommandContext(ctx, "go", "run", "./hack/kube", "-kubeconfig", status.Kubeconfig, "crds")
	if out, err := crds.CombinedOutput(); err != nil {
		return fmt.Errorf("install the CRDs: %w: %s", err, out)
	}
	if w.stack, err = harness.New(ctx, status.Kubeconfig, w.dir); err != nil {
		return err
	}
	if w.dyn, err = dynamic.NewForConfig(w.stack.Config); err != nil {
		return err
	}
	ns := object("v1", "Namespace", namespace, nil)
	ns.SetNamespace("")
	if _, err := w.dyn.Resource(namespaces).Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	if w.git, err = git.Start(git.Options{Root: w.dir + "/git", HTTP: git.AnyPort, AnonymousRead: true}); err != nil {
		return err
	}
	if w.repo, err = w.git.Create("bench", "main"); err != nil {
		return err
	}
	if err := w.startControllers(ctx); err != nil {
		return err
	}
	w.audit, err = harness.NewAudit(status.AuditLog)
	return err
}

func (w *world) startControllers(ctx context.Context) (err error) {
	events := "--events-addr="
	if w.source, err = w.stack.Add(ctx, "source-controller", events); err != nil {
		return err
	}
	w.kustomize, err = w.stack.Add(ctx, "kustomize-controller", events, "--concurrent=4")
	return err
}

func (w *world) run(ctx context.Context, args ...string) ([]byte, error) {
	binary, err := harness.Binary("flux-sandbox")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, append(args, "--name", w.sandbox)...)
	cmd.Env = append(os.Environ(), "FLUX_SANDBOX_HOME="+filepath.Join(w.dir, "sandbox"))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("flux sandbox %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	return out, err
}

func (w *world) close() {
	if w.stack != nil {
		w.stack.Stop()
	}
	if w.git != nil {
		w.git.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, _ = w.run(ctx, "down")
	os.RemoveAll(w.dir)
}

func object(apiVersion, kind, name string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
	if spec != nil {
		o.Object["spec"] = spec
	}
	o.SetName(name)
	o.SetNamespace(namespace)
	return o
}

// source creates the GitRepository on the bench repository.
func (w *world) createSource(ctx context.Context, interval string) error {
	_, err := w.dyn.Resource(gitRepositories).Namespace(namespace).Create(ctx, object(fluxURL+"/v1", "GitRepository", "bench", map[string]any{
		"interval": interval, "url": w.git.HTTPURL("bench"), "ref": map[string]any{"branch": "main"},
	}), metav1.CreateOptions{})
	return err
}

// createApp creates a Kustomization on a path of the repository.
func (w *world) createApp(ctx context.Context, name, path, interval string, dependsOn ...string) error {
	spec := map[string]any{
		"interval": interval, "path": path, "prune": true, "targetNamespace": namespace,
		"sourceRef": map[string]any{"kind": "GitRepository", "name": "bench"},
	}
	var deps []any
	for _, d := range dependsOn {
		deps = append(deps, map[string]any{"name": d})
	}
	if deps != nil {
		spec["dependsOn"] = deps
	}
	_, err := w.dyn.Resource(kustomizations).Namespace(namespace).Create(ctx, object("kustomize.toolkit.fluxcd.io/v1", "Kustomization", name, spec), metav1.CreateOptions{})
	return err
}

// app is the usual application of four objects.
func app(name, value string) map[string]string {
	files := map[string]string{}
	for i := range 4 {
		files[fmt.Sprintf("%s/cm%d.yaml", name, i)] = fmt.Sprintf(
			"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s-%d\ndata:\n  key: %q\n", name, i, "first")
	}
	if value != "" {
		files[name+"/cm0.yaml"] = strings.Replace(files[name+"/cm0.yaml"], "first", value, 1)
	}
	return files
}

func (w *world) commit(files map[string]string) (string, error) {
	hash, err := w.repo.Commit(files, "change")
	return "main@sha1:" + hash, err
}

// sync asks the source to look at once, as a webhook would.
func (w *world) sync(ctx context.Context) error {
	return w.annotate(ctx, gitRepositories, "bench")
}

func (w *world) annotate(ctx context.Context, gvr schema.GroupVersionResource, name string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":%q}}}`, time.Now().Format(time.RFC3339Nano))
	_, err := w.dyn.Resource(gvr).Namespace(namespace).Patch(ctx, name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
	return err
}

// awaitApplied watches until n Kustomizations are Ready at the revision; it returns how long that took.
func (w *world) awaitApplied(ctx context.Context, n int, revision string) (time.Duration, error) {
	start := time.Now()
	ready := map[string]bool{}
	err := w.watch(ctx, kustomizations, func(o *unstructured.Unstructured) bool {
		applied, _, _ := unstructured.NestedString(o.Object, "status", "lastAppliedRevision")
		ready[o.GetName()] = applied == revision && conditionStatus(o, "Ready") == "True"
		done := 0
		for _, ok := range ready {
			if ok {
				done++
			}
		}
		return done >= n
	})
	return time.Since(start), err
}

// watch lists and follows a resource in the bench namespace until accept says yes.
func (w *world) watch(ctx context.Context, gvr schema.GroupVersionResource, accept func(*unstructured.Unstructured) bool) error {
	res := w.dyn.Resource(gvr).Namespace(namespace)
	for {
		list, err := res.List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if accept(&list.Items[i]) {
				return nil
			}
		}
		events, err := res.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			return err
		}
		for e := range events.ResultChan() {
			if o, ok := e.Object.(*unstructured.Unstructured); ok && accept(o) {
				events.Stop()
				return nil
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("never came to the awaited state; kustomize-controller said last:\n%s\nsource-controller:\n%s", w.kustomize.Tail(5), w.source.Tail(5))
		}
	}
}

func conditionStatus(o *unstructured.Unstructured, kind string) string {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, item := range list {
		if c := item.(map[string]any); c["type"] == kind {
			return fmt.Sprint(c["status"])
		}
	}
	return ""
}

// idle is the memory of source-controller in bytes, once nothing happens any more.
func (w *world) idle(ctx context.Context) (int64, error) {
	if err := w.settle(ctx); err != nil {
		return 0, err
	}
	return w.source.AnonBytes()
}

// settle waits until the controllers have made no request for a while, so that a row is charged
// for all that it caused.
func (w *world) settle(ctx context.Context) error {
	mark := *w.audit
	for quiet := 0; quiet < 3; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		reqs, err := mark.Since(w.source.User, w.kustomize.User)
		if err != nil {
			return err
		}
		if len(reqs) > 0 {
			quiet = 0
		} else {
			quiet++
		}
	}
	return nil
}

func (w *world) create(ctx context.Context, o *unstructured.Unstructured) error {
	_, err := w.dyn.Resource(gitRepositories).Namespace(namespace).Create(ctx, o, metav1.CreateOptions{})
	return err
}
