package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
)

func TestTimes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason                   string
		obj                      meta.Object
		spec                     string
		interval, retry, timeout time.Duration
	}{
		"KustomizationDefaults": {
			"the timeout leaves 30 s of the interval", &kustomizev1.Kustomization{}, `{"interval":"10m"}`,
			10 * time.Minute, 10 * time.Minute, 9*time.Minute + 30*time.Second,
		},
		"KustomizationShort": {
			"and is never below 30 s, also when it is asked for", &kustomizev1.Kustomization{}, `{"interval":"10s","timeout":"5s","retryInterval":"2s"}`,
			10 * time.Second, 2 * time.Second, 30 * time.Second,
		},
		"GitRepository": {
			"a source has a minute", &sourcev1.GitRepository{}, `{"interval":"1m"}`, time.Minute, time.Minute, time.Minute,
		},
		"GitRepositoryPoisoned": {
			"what makes no sense reads as absent", &sourcev1.GitRepository{}, `{"interval":"often","timeout":"1d"}`, 0, 0, time.Minute,
		},
		"HelmRepositoryWithoutInterval": {
			"a registry needs none", &sourcev1.HelmRepository{}, `{}`, time.Minute, time.Minute, time.Minute,
		},
		"HelmRelease": {
			"a Helm action has five minutes", &helmv2.HelmRelease{}, `{"interval":"1h"}`, time.Hour, time.Hour, 5 * time.Minute,
		},
		"ImageRepository": {
			"a scan has the interval", &imagev1.ImageRepository{}, `{"interval":"2m"}`, 2 * time.Minute, 2 * time.Minute, 2 * time.Minute,
		},
		"ImageRepositoryShort": {
			"and at least a second", &imagev1.ImageRepository{}, `{"interval":"1ms"}`, time.Millisecond, time.Millisecond, time.Second,
		},
		"Receiver": {
			"ten minutes where the definition's default is missing", &notificationv1.Receiver{}, `{}`, 10 * time.Minute, 10 * time.Minute, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := json.Unmarshal([]byte(`{"spec":`+tc.spec+`}`), tc.obj); err != nil {
				t.Fatal(err)
			}
			got := []time.Duration{tc.obj.GetInterval(), tc.obj.GetRetryInterval(), tc.obj.GetTimeout()}
			if got[0] != tc.interval || got[1] != tc.retry || got[2] != tc.timeout {
				t.Errorf("%s: got interval, retry and timeout %v", tc.reason, got)
			}
		})
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	type normalizer interface {
		meta.Object
		Normalize()
	}
	for name, tc := range map[string]struct {
		reason     string
		empty      func() normalizer
		old, today string
	}{
		"GitRepository": {
			"the mode was written in lower case, the artifact had a checksum",
			func() normalizer { return &sourcev1.GitRepository{} },
			`{"spec":{"gitImplementation":"libgit2","accessFrom":{"namespaceSelectors":[{}]},"verify":{"mode":"head","secretRef":{"name":"k"}}},
			  "status":{"url":"u","artifact":{"checksum":"0123456789012345678901234567890123456789"},"includedArtifacts":[{"checksum":"ab"}]}}`,
			`{"spec":{"verify":{"mode":"HEAD","secretRef":{"name":"k"}}},
			  "status":{"artifact":{"digest":"sha1:0123456789012345678901234567890123456789"},"includedArtifacts":[{"digest":"sha256:ab"}]}}`,
		},
		"HelmChart": {
			"the one values file is merged first",
			func() normalizer { return &sourcev1.HelmChart{} },
			`{"spec":{"valuesFile":"a.yaml","valuesFiles":["b.yaml"]}}`, `{"spec":{"valuesFiles":["a.yaml","b.yaml"]}}`,
		},
		"Kustomization": {
			"strategic merges run before the patches, JSON 6902 lists after them",
			func() normalizer { return &kustomizev1.Kustomization{} },
			`{"spec":{"validation":"client","patchesStrategicMerge":[{"kind":"A"}],"patches":[{"patch":"b"}],
			  "patchesJson6902":[{"patch":[{"op":"remove","path":"/x"}],"target":{"kind":"C"}}]},"status":{"snapshot":{"checksum":"x","entries":[]}}}`,
			`{"spec":{"patches":[{"patch":"{\"kind\":\"A\"}"},{"patch":"b"},{"patch":"[{\"op\":\"remove\",\"path\":\"/x\"}]","target":{"kind":"C"}}]}}`,
		},
		"HelmRelease": {
			"both in the chart and in the post-renderers",
			func() normalizer { return &helmv2.HelmRelease{} },
			`{"spec":{"chart":{"spec":{"valuesFile":"a.yaml"}},"postRenderers":[{},{"kustomize":{"patchesStrategicMerge":[{"kind":"A"}]}}]},"status":{"lastAppliedRevision":"1"}}`,
			`{"spec":{"chart":{"spec":{"valuesFiles":["a.yaml"]}},"postRenderers":[{},{"kustomize":{"patches":[{"patch":"{\"kind\":\"A\"}"}]}}]}}`,
		},
		"Receiver": {
			"the path had another name", func() normalizer { return &notificationv1.Receiver{} },
			`{"status":{"url":"/hook/a"}}`, `{"status":{"webhookPath":"/hook/a"}}`,
		},
		"ImagePolicy": {
			"the image was one text, its name may have a port", func() normalizer { return &imagev1.ImagePolicy{} },
			`{"status":{"latestImage":"host:5000/app:v1"}}`, `{"status":{"latestRef":{"name":"host:5000/app","tag":"v1"}}}`,
		},
		"ImagePolicyWithoutTag": {
			"a port is no tag", func() normalizer { return &imagev1.ImagePolicy{} },
			`{"status":{"latestImage":"host:5000/app"}}`, `{}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, want := tc.empty(), tc.empty()
			for doc, obj := range map[string]normalizer{tc.old: got, tc.today: want} {
				if err := json.Unmarshal([]byte(doc), obj); err != nil {
					t.Fatal(err)
				}
			}
			got.Normalize()
			got.Normalize() // once or twice is the same
			if !equality.Semantic.DeepEqual(got, want) {
				out, _ := json.Marshal(got)
				t.Errorf("%s: got %s", tc.reason, out)
			}
		})
	}
}
