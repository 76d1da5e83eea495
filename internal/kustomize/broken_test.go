package kustomize_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt/decrypttest"
)

// broken is a directory of a repository, and what has to become of it.
type broken struct {
	name string
	// files by name in the directory, or by path from the root when it begins with "/".
	files map[string]string
	// reason of Ready=False, "" when the repository is fine after all.
	reason string
	// wants are parts of the message.
	wants  []string
	change func(*kustomizev1.KustomizationSpec)
}

func one(name, content string) map[string]string { return map[string]string{name: content} }

const (
	buildFailed = meta.BuildFailedReason
	applyFailed = meta.ReconciliationFailedReason
)

// brokenFiles cannot even be built.
var brokenFiles = []broken{
	{"yaml-line", one("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n data: [\n"), buildFailed, []string{"yaml-line/a.yaml", "line 4"}, nil},
	{"yaml-tab", one("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: x\n"), buildFailed, []string{"yaml-tab/a.yaml", "line 4"}, nil},
	{"yaml-quote", one("a.yaml", "apiVersion: v1\nkind: \"ConfigMap\nmetadata: {name: x}\n"), buildFailed, []string{"yaml-quote/a.yaml", "line"}, nil},
	{"yaml-second", one("a.yaml", configMap("x", "1")+"---\nkind: [\n"), buildFailed, []string{"yaml-second/a.yaml", "line 6"}, nil},
	{"yaml-key-twice", one("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  a: \"1\"\n  a: \"2\"\n"), buildFailed, []string{"yaml-key-twice", "already"}, nil},
	{"garbage", one("a.yaml", "\x00\x01\xff\xfe"), buildFailed, []string{"garbage/a.yaml"}, nil},
	{"scalar", one("a.yaml", "just text\n"), buildFailed, []string{"scalar/a.yaml"}, nil},
	{"no-kind", one("a.yaml", "apiVersion: v1\nmetadata: {name: x}\n"), buildFailed, []string{"no-kind/a.yaml", "kind"}, nil},
	{"no-version", one("a.yaml", "kind: ConfigMap\nmetadata: {name: x}\n"), buildFailed, []string{"no-version/a.yaml", "apiVersion"}, nil},
	{"no-name", one("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: x-}\n"), buildFailed, []string{"no-name/a.yaml", "name"}, nil},
	{"id-twice", map[string]string{"a.yaml": configMap("x", "1"), "b.yaml": configMap("x", "2")}, buildFailed, []string{"ConfigMap", "x", "b.yaml"}, nil},
	{"bomb", one("a.yaml", bomb()), buildFailed, []string{"bomb/a.yaml"}, nil},
	{"deep", one("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: "+strings.Repeat("{a: ", 3000)+"1"+strings.Repeat("}", 3000)+"\n"), buildFailed, []string{"deep/a.yaml"}, nil},
	{"list", one("a.yaml", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap}]\n"), buildFailed, []string{"list/a.yaml"}, nil},
	{"overlay-yaml", one("kustomization.yaml", "resources: [\n"), buildFailed, []string{"overlay-yaml/kustomization.yaml"}, nil},
	{"overlay-field", one("kustomization.yaml", "resource: [a.yaml]\n"), buildFailed, []string{"overlay-field", "resource"}, nil},
	{"overlay-missing", one("kustomization.yaml", "resources: [absent.yaml]\n"), buildFailed, []string{"absent.yaml"}, nil},
	{"overlay-above", one("kustomization.yaml", "resources: [../../etc]\n"), buildFailed, []string{"/etc", "leads out of the artifact"}, nil},
	{"overlay-absolute", one("kustomization.yaml", "resources: [/etc/passwd]\n"), buildFailed, []string{"/etc/passwd", "leads out of the artifact"}, nil},
	{"overlay-twice", map[string]string{"kustomization.yaml": "resources: []\n", "kustomization.yml": "resources: []\n"}, buildFailed, []string{"overlay-twice"}, nil},
	{"circle", map[string]string{"kustomization.yaml": "resources: [../circle-b]\n", "/circle-b/kustomization.yaml": "resources: [../circle]\n"}, buildFailed, []string{"cycle", "circle-b"}, nil},
	{"self", one("kustomization.yaml", "resources: [.]\n"), buildFailed, []string{"self"}, nil},
	{"remote-base", one("kustomization.yaml", "resources: ['https://user:canary@github.com/a/b?ref=main']\n"), buildFailed, []string{"github.com/a/b", "remote bases are not allowed"}, nil},
	{"remote-ssh", one("kustomization.yaml", "resources: ['git@github.com:a/b.git']\n"), buildFailed, []string{"github.com:a/b", "not allowed"}, nil},
	{"component-remote", one("a.yaml", configMap("x", "1")), buildFailed, []string{"component path 'https://example.com/c' must be local and relative"},
		func(s *kustomizev1.KustomizationSpec) { s.Components = []string{"https://example.com/c"} }},
	{"component-absent", one("a.yaml", configMap("x", "1")), buildFailed, []string{"no-such-component"},
		func(s *kustomizev1.KustomizationSpec) { s.Components = []string{"no-such-component"} }},
	{"patch-target", map[string]string{"kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: other}\n", "a.yaml": configMap("x", "1")}, buildFailed, []string{"other"}, nil},
	{"patch-json", map[string]string{"kustomization.yaml": "resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: '[{\"op\": \"replace\", \"path\": \"/data/none/deep\", \"value\": 1}]'\n", "a.yaml": configMap("x", "1")}, buildFailed, []string{"/data/none"}, nil},
	{"patch-op", map[string]string{"kustomization.yaml": "resources: [a.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: '[{\"op\": \"explode\", \"path\": \"/data\"}]'\n", "a.yaml": configMap("x", "1")}, buildFailed, []string{"explode"}, nil},
	{"patch-file", map[string]string{"kustomization.yaml": "resources: [a.yaml]\npatches: [{path: absent.yaml}]\n", "a.yaml": configMap("x", "1")}, buildFailed, []string{"absent.yaml"}, nil},
	{"generator-file", one("kustomization.yaml", "configMapGenerator: [{name: g, files: [absent.txt]}]\n"), buildFailed, []string{"absent.txt"}, nil},
	{"generator-env", map[string]string{"kustomization.yaml": "configMapGenerator: [{name: g, envs: [v.env]}]\n", "v.env": "a=\xff\xfe\n"}, buildFailed, []string{"utf8"}, nil},
	{"generator-twice", one("kustomization.yaml", "configMapGenerator: [{name: g, literals: [a=1]}, {name: g, literals: [a=1]}]\n"), buildFailed, []string{"g"}, nil},
	{"chart", one("kustomization.yaml", "helmCharts: [{name: x, repo: 'https://example.com'}]\n"), buildFailed, []string{"helm"}, nil},
	{"plugin", map[string]string{"kustomization.yaml": "generators: [g.yaml]\n", "g.yaml": "apiVersion: example.com/v1\nkind: Evil\nmetadata: {name: x, annotations: {config.kubernetes.io/function: 'exec: {path: /bin/true}'}}\n"}, buildFailed, []string{"Evil"}, nil},
	{"variable", one("a.yaml", configMap("x", "${nothing}")), buildFailed, []string{"variable not set (strict mode): \"nothing\"", "variable/a.yaml"}, substitutes},
	{"variable-syntax", one("a.yaml", configMap("x", "${open")), buildFailed, []string{"variable-syntax/a.yaml"}, substitutes},
	{"variable-name", one("a.yaml", configMap("x", "${a}")), buildFailed, []string{"'a-b' var name is invalid"},
		func(s *kustomizev1.KustomizationSpec) {
			s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"a-b": "1"}}
		}},
	{"variable-value", one("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  other: ${a} and ${b:=c}\n"), buildFailed, []string{"variable-value/a.yaml", "with the value of ${a}, ${b}; put quotes around it"},
		func(s *kustomizev1.KustomizationSpec) {
			s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"a": "canary: 1"}}
		}},
	{"path-file", one("a.yaml", configMap("x", "1")), meta.ArtifactFailedReason, []string{"not a directory"},
		func(s *kustomizev1.KustomizationSpec) { s.Path = "./path-file/a.yaml" }},
}

func substitutes(s *kustomizev1.KustomizationSpec) {
	s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"some": "1"}}
}

// bomb is a YAML document that grows a thousandfold when its aliases are followed.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%[3]d, *a%[3]d, *a%[3]d, *a%[3]d, *a%[3]d, *a%[3]d, *a%[3]d]\n", i, i, i-1)
	}
	return b.String()
}

// brokenObjects are built but refused by the server.
var brokenObjects = []broken{
	{"unknown-kind", one("a.yaml", "apiVersion: example.com/v1\nkind: Nothing\nmetadata: {name: x}\n"), applyFailed, []string{"Nothing", "unknown-kind/a.yaml", "install the CustomResourceDefinition"}, nil},
	{"bad-name", one("a.yaml", configMap("Not_Valid", "1")), applyFailed, []string{"Not_Valid", "bad-name/a.yaml", "correct the field metadata.name"}, nil},
	{"long-name", one("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: "+strings.Repeat("n", 64)+"}\nspec: {ports: [{port: 80}]}\n"), applyFailed, []string{"63", "long-name/a.yaml"}, nil},
	{"long-label", one("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: {a: "+strings.Repeat("v", 64)+"}}\n"), applyFailed, []string{"63", "long-label/a.yaml", "correct the field metadata.labels"}, nil},
	{"wrong-type", one("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: three}\n"), applyFailed, []string{"Deployment/", "replicas"}, nil},
	{"container-twice", one("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}, {name: c, image: j}]}}}\n"), applyFailed, []string{"Deployment/", "c"}, nil},
	{"huge", one("a.yaml", configMap("x", strings.Repeat("v", 5<<20))), applyFailed, []string{"ConfigMap/", "huge/a.yaml"}, nil},
	{"base64", one("a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: '%%canary%%'}\n"), applyFailed, []string{"Secret/"}, nil},
	{"no-namespace", one("a.yaml", configMap("x", "1")), applyFailed, []string{"nowhere-at-all", "add the Namespace"},
		func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = "nowhere-at-all" }},
	{"immutable", one("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: frozen}\nimmutable: true\ndata: {a: new}\n"), applyFailed, []string{"ConfigMap/", "frozen", "immutable"}, nil},
	{"quota", one("a.yaml", "apiVersion: v1\nkind: ReplicationController\nmetadata: {name: x}\nspec: {replicas: 0, selector: {a: b}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}\n"), applyFailed, []string{"ReplicationController/", "exceeded quota"}, nil},
	{"webhook", one("a.yaml", "apiVersion: v1\nkind: LimitRange\nmetadata: {name: x}\nspec: {limits: []}\n"), applyFailed, []string{"LimitRange/", "failed calling webhook", "down.example.com"}, nil},
	{"cr-invalid", map[string]string{"crd.yaml": brokenCRD("strict"), "cr.yaml": "apiVersion: broken.example.com/v1\nkind: Strict\nmetadata: {name: x}\nspec: {size: large}\n"}, applyFailed, []string{"Strict/", "spec.size"}, nil},
	{"ciphertext", nil, applyFailed, []string{"is SOPS encrypted, configuring decryption is required"}, nil},
}

// fineAfterAll look broken and are not.
var fineAfterAll = []broken{
	{"empty-file", map[string]string{"a.yaml": "", "b.yaml": configMap("fine-1", "1")}, "", nil, nil},
	{"comments", map[string]string{"a.yaml": "# nothing\n---\n# yet\n", "b.yaml": configMap("fine-2", "1")}, "", nil, nil},
	{"crlf", one("a.yaml", strings.ReplaceAll(configMap("fine-3", "1"), "\n", "\r\n")), "", nil, nil},
	{"other-files", map[string]string{"README.md": "{{", "script.sh": "kind: [", "b.yaml": configMap("fine-4", "1")}, "", nil, nil},
	{"crd-and-cr", map[string]string{"a-cr.yaml": "apiVersion: broken.example.com/v1\nkind: Later\nmetadata: {name: x}\nspec: {size: 1}\n", "z/crd.yaml": brokenCRD("later")}, "", nil, nil},
	{"component-ignored", one("a.yaml", configMap("fine-5", "1")), "", nil, func(s *kustomizev1.KustomizationSpec) {
		s.Components, s.IgnoreMissingComponents = []string{"no-such-component"}, true
	}},
	{"nothing", one("README.md", "no manifests here"), "", nil, nil},
}

func brokenCRD(name string) string {
	kind := strings.ToUpper(name[:1]) + name[1:]
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]ss.broken.example.com}
spec:
  group: broken.example.com
  names: {kind: %[2]s, plural: %[1]ss, singular: %[1]s, listKind: %[2]sList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
`, name, kind)
}

func TestBrokenRepositories(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	all := append(append(append([]broken{}, brokenFiles...), brokenObjects...), fineAfterAll...)
	if len(all) < 50 {
		t.Errorf("only %d kinds of broken repositories", len(all))
	}
	l.obstacles()
	files := map[string]string{"ciphertext/a.yaml": ciphertext(t)}
	for _, c := range all {
		for name, content := range c.files {
			if rest, rooted := strings.CutPrefix(name, "/"); rooted {
				files[rest] = content
			} else {
				files[c.name+"/"+name] = content
			}
		}
	}
	l.source("repo", "main@sha1:1", files)
	retry := meta.NewDuration(time.Hour)
	for _, c := range all {
		l.create(c.name, func(s *kustomizev1.KustomizationSpec) {
			s.Path, s.RetryInterval, s.Prune = "./"+c.name, &retry, true
			if c.change != nil {
				c.change(s)
			}
		})
	}
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			l := l.with(t)
			if c.reason == "" {
				l.ready(c.name, "main@sha1:1")
				return
			}
			_, message := l.failed(c.name, c.reason)
			for _, want := range c.wants {
				if !strings.Contains(message, want) {
					t.Errorf("the message does not tell %q:\n%s", want, message)
				}
			}
			if !nextStep.MatchString(message) {
				t.Errorf("the message does not tell what to do:\n%.2000s", message)
			}
			if strings.Contains(message, "canary") || len(message) > 32768 {
				t.Errorf("the message tells a secret, or too much:\n%.2000s", message)
			}
		})
	}
}

// nextStep is how advice begins, after the words of the tables.
var nextStep = regexp.MustCompile(`(?:[;:,] |\n  )(?:add|correct|encode|give|keep|leave|make|mend|put|raise|refer|remove|rename|set|split|the server has|to have|use|write|copy|configuring)\b`)

func ciphertext(t *testing.T) string {
	_, key := decrypttest.Identity(t)
	return sealedSecret(t, decrypttest.File{Groups: decrypttest.Key(key)}, "sealed", canary)
}

// obstacles puts into the namespace what objects stumble over.
func (l *lab) obstacles() {
	l.t.Helper()
	yes, never := true, admissionv1.SideEffectClassNone
	url, fail, second := "https://127.0.0.1:1/x", admissionv1.Fail, int32(1)
	frozen := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "frozen"}, Immutable: &yes, Data: map[string]string{"a": "old"}}
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "none"}}
	quota.Spec.Hard = corev1.ResourceList{"replicationcontrollers": resource.MustParse("0")}
	hook := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: l.namespace + "-down"}}
	hook.Webhooks = []admissionv1.ValidatingWebhook{{
		Name: "down.example.com", ClientConfig: admissionv1.WebhookClientConfig{URL: &url}, FailurePolicy: &fail, SideEffects: &never,
		TimeoutSeconds: &second, AdmissionReviewVersions: []string{"v1"},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": l.namespace}},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"limitranges"}},
		}},
	}}
	l.clusterObject(hook)
	for _, o := range []objectToCreate{frozen, quota} {
		if err := l.client.Create(l.t.Context(), o); err != nil {
			l.t.Fatal(err)
		}
	}
	l.t.Cleanup(func() {
		for _, name := range []string{"stricts", "laters"} {
			l.deleteCRD(name + ".broken.example.com")
		}
	})
	until := time.Now().Add(patience)
	for time.Now().Before(until) { // the quota has to be counted first
		got := &corev1.ResourceQuota{}
		if err := l.client.Get(l.t.Context(), keyOfObject(quota), got); err == nil && len(got.Status.Hard) > 0 {
			return
		}
	}
}
