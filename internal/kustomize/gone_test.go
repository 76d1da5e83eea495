package kustomize_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
)

// value waits until a ConfigMap has a value.
func (l *lab) value(namespace, name, want string) {
	l.t.Helper()
	key := types.NamespacedName{Namespace: namespace, Name: name}
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		w, err := l.client.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(namespace), client.MatchingFields{"metadata.name": name})
		if err != nil {
			continue
		}
		for e := range w.ResultChan() {
			if cm, ok := e.Object.(*corev1.ConfigMap); ok && e.Type != "DELETED" && cm.DeletionTimestamp.IsZero() && cm.Data["value"] == want {
				w.Stop()
				return
			}
		}
	}
	l.t.Fatalf("waited %s for ConfigMap %s to have the value %q", patience, key, want)
}

// A ConfigMap without the watch label costs no request until it changes, and then arrives with the next interval.
func TestUnlabelledVariablesArriveWithinAnInterval(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vars := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "vars"}, Data: map[string]string{"v": "old"}}
	if err := l.client.Create(t.Context(), vars); err != nil {
		t.Fatal(err)
	}
	l.source("repo", "main@sha1:1", map[string]string{"cm.yaml": configMap("made", "${v}")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.Interval = meta.NewDuration(2 * time.Second)
		s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: "vars"}}}
	})
	l.value(l.namespace, "made", "old")
	vars.Data["v"] = "new"
	if err := l.client.Update(t.Context(), vars); err != nil {
		t.Fatal(err)
	}
	l.value(l.namespace, "made", "new")
}

func TestAFinalizerThatHangsHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	hanging := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hanging, finalizers: [example.com/hang]}\ndata: {value: a}\n"
	l.source("repo", "main@sha1:1", map[string]string{"a.yaml": hanging, "b.yaml": configMap("other", "1")})
	l.create("app")
	l.ready("app", "main@sha1:1")
	t.Cleanup(func() {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "hanging"}}
		_ = l.client.Patch(context.Background(), cm, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
	l.source("repo", "main@sha1:2", map[string]string{"b.yaml": configMap("other", "2")})
	l.ready("app", "main@sha1:2")
	cm := &corev1.ConfigMap{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "hanging"}, cm); err != nil || cm.DeletionTimestamp.IsZero() {
		t.Errorf("the object is not being deleted: %v, %v", cm.DeletionTimestamp, err)
	}
	// Wanted again while it still goes: the message says what is in the way.
	l.source("repo", "main@sha1:3", map[string]string{"a.yaml": strings.Replace(hanging, "value: a", "value: b", 1), "b.yaml": configMap("other", "3")})
	l.value(l.namespace, "other", "3")
}

func TestNamespaceDeletedUnderUs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sub := l.namespace + "-sub"
	inside := strings.Replace(configMap("inside", "1"), "{name: inside}", "{name: inside, namespace: "+sub+"}", 1)
	l.source("repo", "main@sha1:1", map[string]string{
		"ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + sub + "}\n", "cm.yaml": inside,
	})
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: sub}}
	l.create("app", func(s *kustomizev1.KustomizationSpec) {
		retry := meta.NewDuration(2 * time.Second)
		s.TargetNamespace, s.RetryInterval = "", &retry
	})
	t.Cleanup(func() { _ = l.client.Delete(context.Background(), namespace) })
	l.ready("app", "main@sha1:1")
	first := &corev1.Namespace{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Name: sub}, first); err != nil {
		t.Fatal(err)
	}
	if err := l.client.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := l.client.Watch(ctx, &corev1.NamespaceList{}, client.MatchingFields{"metadata.name": sub})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if ns, ok := e.Object.(*corev1.Namespace); ok && e.Type != "DELETED" && ns.UID != first.UID {
			l.value(sub, "inside", "1")
			return
		}
	}
	t.Fatal("the namespace did not come back")
}
