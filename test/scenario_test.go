package test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// patience bounds every wait of a scenario; reaching it is a failure, never a measurement.
const patience = 90 * time.Second

var apiVersions = map[string]string{
	"GitRepository": "source.toolkit.fluxcd.io/v1",
	"Kustomization": "kustomize.toolkit.fluxcd.io/v1",
	"ConfigMap":     "v1", "Secret": "v1", "Namespace": "v1", "ServiceAccount": "v1", "Event": "v1", "Pod": "v1",
	"Deployment": "apps/v1",
	"Role":       "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1",
}

// scenario is one person's corner of the world.
type scenario struct {
	*testing.T
	ctx  context.Context
	c    client.WithWatch
	ns   string
	repo *git.Repo
}

// begin gives the test a namespace and a repository named after it, with the branch master.
func begin(t *testing.T) *scenario {
	t.Helper()
	testenv.Kubeconfig(t)
	t.Parallel()
	c, err := client.NewWithWatch(world.config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	s := &scenario{T: t, ctx: ctx, c: c, ns: testenv.Namespace(t)}
	s.repo, err = world.git.Create(s.ns, "master")
	s.must(err, "create the repository")
	t.Cleanup(s.dismantle)
	return s
}

// dismantle removes what the test made before its namespace goes, so that finalizers run while
// the controllers still know the objects.
func (s *scenario) dismantle() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, kind := range []string{"Kustomization", "GitRepository"} {
		o := s.object(kind, "")
		_ = s.c.DeleteAllOf(ctx, o, client.InNamespace(s.ns))
	}
}

func (s *scenario) must(err error, doing string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", doing, err)
	}
}

func (s *scenario) object(kind, name string) *unstructured.Unstructured {
	gv, _ := schema.ParseGroupVersion(apiVersions[kind])
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(gv.WithKind(kind))
	o.SetName(name)
	if kind != "Namespace" {
		o.SetNamespace(s.ns)
	}
	return o
}

// commit replaces the listed files on master and returns the revision as conditions show it.
func (s *scenario) commit(files map[string]string) string {
	s.Helper()
	hash, err := s.repo.Commit(files, "change")
	s.must(err, "commit")
	return "master@sha1:" + hash
}

// remove deletes files on master.
func (s *scenario) remove(paths ...string) string {
	s.Helper()
	hash, err := s.repo.Apply(git.Change{Branch: "master", Message: "remove", Delete: paths})
	s.must(err, "remove files")
	return "master@sha1:" + hash
}

// apply is kubectl apply --server-side of YAML documents; $NS and $URL stand for the scenario's
// namespace and repository.
func (s *scenario) apply(text string) {
	s.Helper()
	s.applyWith(text, map[string]string{shardLabel: "scenarios"})
}

// applyWith gives objects of the toolkit labels.
func (s *scenario) applyWith(text string, labels map[string]string) {
	s.Helper()
	text = strings.NewReplacer("$NS", s.ns, "$URL", world.git.HTTPURL(s.ns)).Replace(text)
	for doc := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		s.must(yaml.Unmarshal([]byte(doc), &o.Object), "parse the scenario's YAML")
		if o.GetNamespace() == "" && o.GetKind() != "Namespace" {
			o.SetNamespace(s.ns)
		}
		if strings.Contains(o.GetAPIVersion(), ".fluxcd.io/") {
			o.SetLabels(mergeLabels(o.GetLabels(), labels))
		}
		s.must(s.c.Apply(s.ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("scenario"), client.ForceOwnership), "apply "+o.GetKind())
	}
}

func mergeLabels(labels, more map[string]string) map[string]string {
	if labels == nil {
		return more
	}
	maps.Copy(labels, more)
	return labels
}

// get returns the object, nil where it does not exist.
func (s *scenario) get(kind, name string) *unstructured.Unstructured {
	s.Helper()
	o := s.object(kind, name)
	err := s.c.Get(s.ctx, client.ObjectKeyFromObject(o), o)
	if apierrors.IsNotFound(err) {
		return nil
	}
	s.must(err, "get "+kind+"/"+name)
	return o
}

// await watches the object until accept says yes; nil stands for an object that is not there.
func (s *scenario) await(kind, name, what string, accept func(*unstructured.Unstructured) bool) *unstructured.Unstructured {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(s.object(kind, name).GroupVersionKind())
	var last *unstructured.Unstructured
	for ctx.Err() == nil {
		w, err := s.c.Watch(ctx, list, client.InNamespace(s.object(kind, name).GetNamespace()), client.MatchingFields{"metadata.name": name})
		if apimeta.IsNoMatchError(err) { // its definition is not served yet, or not again
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.must(err, "watch "+kind)
		if last = s.get(kind, name); accept(last) {
			w.Stop()
			return last
		}
		for e := range w.ResultChan() {
			o, ok := e.Object.(*unstructured.Unstructured)
			if !ok {
				break
			}
			if last = o; e.Type == watch.Deleted {
				last = nil
			}
			if accept(last) {
				w.Stop()
				return last
			}
		}
		w.Stop()
	}
	text, _ := yaml.Marshal(last)
	s.Fatalf("%s/%s never came to: %s; it is\n%s\nkustomize-controller said:\n%s", kind, name, what, text, s.logOf(name))
	return nil
}

func (s *scenario) logOf(name string) string {
	var lines []string
	for line := range strings.SplitSeq(world.source.Tail(2000)+"\n"+world.watcher.Tail(2000)+"\n"+world.kustomize.Tail(2000), "\n") {
		if strings.Contains(line, `"`+s.ns+`"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

type condition struct{ status, reason, message string }

func conditionOf(o *unstructured.Unstructured, kind string) condition {
	if o == nil {
		return condition{}
	}
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, item := range list {
		c := item.(map[string]any)
		if c["type"] == kind {
			return condition{fmt.Sprint(c["status"]), fmt.Sprint(c["reason"]), fmt.Sprint(c["message"])}
		}
	}
	return condition{}
}

// ready waits until the object is Ready for its present generation and, where given, a revision.
func (s *scenario) ready(kind, name, revision string) *unstructured.Unstructured {
	s.Helper()
	return s.await(kind, name, "Ready with "+revision, func(o *unstructured.Unstructured) bool {
		if o == nil {
			return false
		}
		c := conditionOf(o, "Ready")
		observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
		return c.status == "True" && observed == o.GetGeneration() && strings.Contains(c.message, revision)
	})
}

// failing waits until Ready is False with the reason and a message that has every given part.
func (s *scenario) failing(kind, name, reason string, parts ...string) {
	s.Helper()
	s.await(kind, name, fmt.Sprintf("Ready False, reason %s, message with %q", reason, parts), func(o *unstructured.Unstructured) bool {
		c := conditionOf(o, "Ready")
		if c.status != "False" || c.reason != reason {
			return false
		}
		for _, part := range parts {
			if !strings.Contains(c.message, part) {
				return false
			}
		}
		return true
	})
}

// exists and gone wait for an object to be there or not.
func (s *scenario) exists(kind, name string) *unstructured.Unstructured {
	s.Helper()
	return s.await(kind, name, "being there", func(o *unstructured.Unstructured) bool { return o != nil })
}

func (s *scenario) gone(kind, name string) {
	s.Helper()
	s.await(kind, name, "being gone", func(o *unstructured.Unstructured) bool { return o == nil })
}

// event waits for a Kubernetes event on the object whose message contains the text.
func (s *scenario) event(kind, name, eventType, text string) corev1.Event {
	s.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		var events corev1.EventList
		s.must(s.c.List(s.ctx, &events, client.InNamespace(s.ns)), "list events")
		for _, e := range events.Items {
			if e.InvolvedObject.Kind == kind && e.InvolvedObject.Name == name && e.Type == eventType && strings.Contains(e.Message, text) {
				return e
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	s.Fatalf("no %s event on %s/%s says %q", eventType, kind, name, text)
	return corev1.Event{}
}

// request asks for a reconciliation as `flux reconcile` does.
func (s *scenario) request(kind, name string) string {
	s.Helper()
	token := time.Now().Format(time.RFC3339Nano)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":%q}}}`, token)
	o := s.object(kind, name)
	s.must(s.c.Patch(s.ctx, o, client.RawPatch("application/merge-patch+json", []byte(patch))), "annotate")
	return token
}

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  key: %s\n", name, value)
}
