package test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const source = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: podinfo}
spec: {interval: 3s, timeout: 20s, url: %s, ref: {branch: %s}}
`

// A source that cannot be fetched says which host, branch or credential, and recovers by itself.
func TestSourceThatFails(t *testing.T) {
	cases := []struct {
		reason      string
		url, branch string
		secret      string
		says        string
	}{
		{"an unreachable host is named", "http://127.0.0.1:1/podinfo.git", "master", "", "127.0.0.1:1"},
		{"a branch that does not exist is named", "$URL", "absent", "", "absent"},
		{"a repository that does not exist is named", "$URL-absent", "master", "", "absent"},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			s := begin(t)
			rev := s.commit(map[string]string{"kustomize/a.yaml": configMap("a", "one")})
			s.apply(fmt.Sprintf(source, c.url, c.branch))
			s.failing("GitRepository", "podinfo", "GitOperationFailed", c.says)
			s.event("GitRepository", "podinfo", "Warning", c.says)

			s.apply(fmt.Sprintf(source, "$URL", "master"))
			s.ready("GitRepository", "podinfo", rev)
		})
	}
}

// Wrong credentials are said to be wrong, without showing them; mending the labelled Secret acts at once.
func TestUnauthorisedSource(t *testing.T) {
	s := begin(t)
	rev := s.commit(map[string]string{"kustomize/a.yaml": configMap("a", "one")})
	secret := `
apiVersion: v1
kind: Secret
metadata: {name: login, labels: {reconcile.fluxcd.io/watch: Enabled}}
stringData: {username: dev, password: %s}
`
	s.apply(fmt.Sprintf(secret, "canary-wrong-password"))
	s.apply(`
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: podinfo}
spec: {interval: 10m, url: $URL, secretRef: {name: login}}
`)
	s.failing("GitRepository", "podinfo", "GitOperationFailed", "authentication")
	s.apply(fmt.Sprintf(secret, "dev-password"))
	s.ready("GitRepository", "podinfo", rev)
	for _, p := range []string{world.source.Tail(100000), world.kustomize.Tail(100000)} {
		if strings.Contains(p, "canary-wrong-password") {
			t.Error("the password stands in a log")
		}
	}
}

// A commit that cannot be applied names each object and why, keeps what was applied, and the next
// commit mends it.
func TestCommitThatFails(t *testing.T) {
	cases := []struct {
		name   string
		files  map[string]string
		reason string
		says   []string
	}{
		{"invalid YAML", map[string]string{"kustomize/bad.yaml": "kind: ConfigMap\n  name: x\n : y"}, "BuildFailed", []string{"bad.yaml"}},
		{"unknown field", map[string]string{"kustomize/bad.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: typo}\nspec: {prots: [{port: 80}]}\n"},
			"ReconciliationFailed", []string{"Service/", "typo", "prots"}},
		{"several rejected objects", map[string]string{
			"kustomize/bad1.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: BAD_NAME}\n",
			"kustomize/bad2.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: bad2}\nspec: {ports: [{port: 99999999}]}\n",
		}, "ReconciliationFailed", []string{"BAD_NAME", "bad2", "99999999"}},
		{"missing namespace", map[string]string{"kustomize/bad.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: no-such-namespace}\n"},
			"ReconciliationFailed", []string{"no-such-namespace"}},
		{"no such kind", map[string]string{"kustomize/bad.yaml": "apiVersion: nothing.example.com/v1\nkind: Nothing\nmetadata: {name: x}\n"},
			"ReconciliationFailed", []string{"Nothing", "nothing.example.com/v1"}},
		{"cyclic bases", map[string]string{
			"kustomize/kustomization.yaml": "resources: [../other, a.yaml]\n", "other/kustomization.yaml": "resources: [../kustomize]\n"},
			"BuildFailed", []string{"cycle"}},
		{"a base outside the artifact", map[string]string{"kustomize/kustomization.yaml": "resources: [a.yaml, ../../../etc]\n"},
			"BuildFailed", []string{"../../../etc"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := begin(t)
			good := s.commit(map[string]string{"kustomize/a.yaml": configMap("a", "one")})
			manifest := podinfo
			if c.name == "missing namespace" {
				manifest = strings.Replace(manifest, "  targetNamespace: $NS\n", "", 1)
				good = s.commit(map[string]string{"kustomize/a.yaml": strings.Replace(configMap("a", "one"), "name: a\n", "name: a\n  namespace: "+s.ns+"\n", 1)})
			}
			s.apply(manifest)
			s.ready("Kustomization", "podinfo", good)

			s.commit(c.files)
			s.failing("Kustomization", "podinfo", c.reason, c.says...)
			s.event("Kustomization", "podinfo", "Warning", c.says[0])
			if s.get("ConfigMap", "a") == nil {
				t.Error("what was applied before is lost")
			}

			var bad []string
			for path := range c.files {
				bad = append(bad, path)
			}
			s.ready("Kustomization", "podinfo", s.remove(bad...))
		})
	}
}

// A path that does not exist is named, and is found when it appears.
func TestPathThatDoesNotExist(t *testing.T) {
	s := begin(t)
	s.commit(map[string]string{"README.md": "nothing yet"})
	s.apply(podinfo)
	s.failing("Kustomization", "podinfo", "ArtifactFailed", "kustomization path not found", "kustomize")
	s.ready("Kustomization", "podinfo", s.commit(map[string]string{"kustomize/a.yaml": configMap("a", "one")}))
}

// A cycle is Stalled and its path is named; breaking it wakes all members.
func TestCycle(t *testing.T) {
	s := begin(t)
	rev := s.commit(map[string]string{"kustomize/a.yaml": configMap("a", "one")})
	member := `
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: %s}
spec:
  interval: 5m
  path: kustomize
  prune: false
  targetNamespace: $NS
  sourceRef: {kind: GitRepository, name: podinfo}
  dependsOn: [%s]
`
	s.apply(podinfo)
	s.apply(fmt.Sprintf(member, "red", "{name: green}"))
	s.apply(fmt.Sprintf(member, "green", "{name: blue}"))
	s.apply(fmt.Sprintf(member, "blue", "{name: red}"))
	for _, name := range []string{"red", "green", "blue"} {
		s.failing("Kustomization", name, "DependencyNotReady", "red", "green", "blue", "->")
		if c := conditionOf(s.get("Kustomization", name), "Stalled"); c.status != "True" {
			t.Errorf("%s in a cycle is not Stalled: %+v", name, c)
		}
	}
	s.apply(fmt.Sprintf(member, "blue", ""))
	for _, name := range []string{"blue", "green", "red"} {
		s.ready("Kustomization", name, rev)
	}
}

// One object with a field that does not parse is reported; the others of its kind go on.
func TestPoisonObject(t *testing.T) {
	s := begin(t)
	rev := s.commit(map[string]string{"kustomize/a.yaml": configMap("a", "one")})
	s.apply(`
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: poison}
spec: {interval: 9999999999999h, url: $URL}
`)
	s.apply(podinfo)
	s.ready("Kustomization", "podinfo", rev)
	s.await("GitRepository", "poison", "Stalled, naming spec.interval", func(o *unstructured.Unstructured) bool {
		c := conditionOf(o, "Stalled")
		return c.status == "True" && strings.Contains(c.message, "interval")
	})
}
