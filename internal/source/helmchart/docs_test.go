package helmchart_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/helmtest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/internal/verify/verifytest"
)

var examples = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestExamples applies the examples of the pages of both kinds, with other hosts, and waits until they are ready.
func TestExamples(t *testing.T) {
	t.Parallel()
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	start(l)
	podinfo := helmtest.Chart(t, "podinfo", "6.1.0", nil)
	public, private := helmtest.Serve(t, false), helmtest.Serve(t, false)
	for _, s := range []*helmtest.Server{public, private} {
		s.Offer(map[string][]byte{"podinfo-6.1.0": podinfo, "podinfo-7.0.0": helmtest.Chart(t, "podinfo", "7.0.0", nil)})
	}
	private.Login("reader:hunter2")
	reg := registrytest.Start(t, registrytest.Options{})
	digest := pushChart(t, reg, "charts/podinfo", "6.1.0", podinfo)
	key := verifytest.NewKey(t)
	key.SignLegacy(t, verifytest.Target{Repository: reg.Host + "/charts/podinfo", Digest: digest})
	l.Secret("cosign-keys", "release.pub", string(key.PEM))
	git(l, "fleet", firstCommit, tree("1.0.0", "a"))
	hosts := strings.NewReplacer("https://stefanprodan.github.io/podinfo", public.RepositoryURL(), "https://charts.example.com", private.RepositoryURL(),
		"oci://ghcr.io/org/charts", "oci://"+reg.Host+"/charts", "namespace: flux-system", "namespace: "+l.Namespace)
	applied := map[string]int{}
	for _, page := range []string{"helmrepository", "helmchart"} {
		text, err := os.ReadFile("../../../docs/kinds/" + page + ".md")
		l.Must(err)
		for _, block := range examples.FindAllStringSubmatch(string(text), -1) {
			for doc := range strings.SplitSeq(hosts.Replace(block[1]), "\n---\n") {
				obj := &unstructured.Unstructured{}
				l.Must(yaml.UnmarshalStrict([]byte(doc), obj))
				l.Create(obj)
				applied[obj.GetKind()]++
			}
		}
	}
	if applied["HelmRepository"] != 3 || applied["HelmChart"] != 4 {
		t.Errorf("examples %v", applied)
	}
	sourcetest.Ready[repository](l, "podinfo", "")
	sourcetest.Ready[repository](l, "private", "")
	for name, version := range map[string]string{"podinfo": "6.1.0", "podinfo-of-registry": "6.1.0", "signed": "6.1.0", "web": "1.0.0+111111111111.1"} {
		sourcetest.Ready[helmChart](l, name, version)
	}
}
