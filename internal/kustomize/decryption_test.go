package kustomize_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt/decrypttest"
)

// secret creates a Secret or gives it other content.
func (l *lab) secret(name string, data map[string]string) {
	l.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name}, StringData: data}
	if err := l.client.Create(l.t.Context(), s); err != nil {
		if err := l.client.Update(l.t.Context(), s); err != nil {
			l.t.Fatal(err)
		}
	}
}

func sealedSecret(t *testing.T, f decrypttest.File, name, value string) string {
	t.Helper()
	f.Format, f.Regex = "yaml", "^(data|stringData)$"
	return decrypttest.Encrypt(t, "apiVersion: v1\nkind: Secret\nmetadata:\n    name: "+name+"\nstringData:\n    value: "+value+"\n", f)
}

func withDecryption(secret string) func(*kustomizev1.KustomizationSpec) {
	return func(s *kustomizev1.KustomizationSpec) {
		retry := meta.NewDuration(time.Hour)
		s.RetryInterval = &retry
		s.Decryption = &kustomizev1.Decryption{Provider: "sops"}
		if secret != "" {
			s.Decryption.SecretRef = &meta.LocalObjectReference{Name: secret}
		}
	}
}

// canary is what must be in the Secrets of the cluster and nowhere else.
const canary = "canary-5c1f2e"

func TestDecryption(t *testing.T) {
	t.Parallel()
	identity, key := decrypttest.Identity(t)
	file := decrypttest.File{Groups: decrypttest.Key(key)}
	l := newLab(t, func(s *setup) { s.options.Decryption.AgeSecret = "global" })
	l.secret("keys", map[string]string{"id.agekey": identity})
	env := file
	env.Format = "dotenv"
	config := file
	config.Format, config.Regex = "yaml", "^(data|stringData)$"
	files := map[string]string{
		"secret.yaml":            sealedSecret(t, file, "whole", canary),
		"app/kustomization.yaml": "resources: [cm.yaml]\nsecretGenerator:\n- name: generated\n  envs: [vars.env]\n",
		"app/vars.env":           decrypttest.Encrypt(t, "TOKEN="+canary+"\n", env),
		"app/cm.yaml":            decrypttest.Encrypt(t, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: sealed-cm\ndata:\n    value: "+canary+"\n", config),
	}
	l.source("repo", "main@sha1:1", files)
	l.create("app", withDecryption("keys"))
	k := l.ready("app", "main@sha1:1")
	got := &corev1.Secret{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "whole"}, got); err != nil || string(got.Data["value"]) != canary {
		t.Errorf("the Secret holds %q, %v", got.Data["value"], err)
	}
	cm := &corev1.ConfigMap{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "sealed-cm"}, cm); err != nil || cm.Data["value"] != canary {
		t.Errorf("the ConfigMap holds %q, %v", cm.Data["value"], err)
	}
	l.nothingTells(k, canary, identity)

	t.Run("a refusal by the server does not tell what was decrypted", func(t *testing.T) {
		l := l.with(t)
		bad := decrypttest.Encrypt(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n    name: d\nspec:\n    replicas: "+canary+"\n", decrypttest.File{Format: "yaml", Regex: "^spec$", Groups: file.Groups})
		l.source("bad", "main@sha1:1", map[string]string{"d.yaml": bad})
		l.create("bad", withDecryption("keys"), func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Name = "bad" })
		k, message := l.failed("bad", meta.ReconciliationFailedReason)
		if !strings.Contains(message, "Deployment/") {
			t.Errorf("message: %s", message)
		}
		l.nothingTells(k, canary)
	})
	t.Run("without keys nothing is applied, and the message says what to do", func(t *testing.T) {
		l := l.with(t)
		l.create("absent", withDecryption("absent"))
		_, message := l.failed("absent", meta.BuildFailedReason)
		if !strings.Contains(message, "cannot get sops decryption Secret '"+l.namespace+"/absent'") || !strings.Contains(message, "create it, or correct spec.decryption.secretRef") {
			t.Errorf("message: %s", message)
		}
	})
	t.Run("the wrong key", func(t *testing.T) {
		l := l.with(t)
		other, _ := decrypttest.Identity(t)
		l.secret("wrong", map[string]string{"id.agekey": other})
		l.create("wrong", withDecryption("wrong"))
		_, message := l.failed("wrong", meta.BuildFailedReason)
		if !strings.Contains(message, "is the one it was encrypted for") || !strings.Contains(message, l.namespace+"/wrong") {
			t.Errorf("message: %s", message)
		}
		l.secret("wrong", map[string]string{"id.agekey": identity})
		l.request("wrong")
		l.ready("wrong", "main@sha1:1")
	})
	t.Run("the keys of the flag serve where none is named", func(t *testing.T) {
		l := l.with(t)
		l.secret("global", map[string]string{"all.agekey": identity})
		l.create("global", withDecryption(""))
		l.ready("global", "main@sha1:1")
	})
	t.Run("ciphertext is not applied without spec.decryption", func(t *testing.T) {
		l := l.with(t)
		l.create("plain", withDecryption("x"), func(s *kustomizev1.KustomizationSpec) { s.Decryption = nil })
		_, message := l.failed("plain", meta.ReconciliationFailedReason)
		if !strings.Contains(message, "is SOPS encrypted, configuring decryption is required") {
			t.Errorf("message: %s", message)
		}
	})
}

// nothingTells searches everything that observers and disks see for what must not be there.
func (l *lab) nothingTells(k *kustomizev1.Kustomization, secrets ...string) {
	l.t.Helper()
	seen := map[string]string{}
	status, err := json.Marshal(k)
	if err != nil {
		l.t.Fatal(err)
	}
	seen["the object"] = string(status)
	events := &corev1.EventList{}
	if err := l.client.List(l.t.Context(), events); err != nil {
		l.t.Fatal(err)
	}
	for _, e := range events.Items {
		if e.Namespace == l.namespace {
			seen["event "+e.Name] = e.Message
		}
	}
	err = filepath.WalkDir(l.setup.options.BuildDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		seen[path] = string(content)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	for where, text := range seen {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				l.t.Errorf("%s tells a secret: %s", where, text)
			}
		}
	}
}
