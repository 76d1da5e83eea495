package build

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// whole is a spec that changes nothing but is not empty, which keeps a build from being done in parts.
func whole(namespace string) Spec {
	return Spec{TargetNamespace: namespace, BuildMetadata: []string{}}
}

// keeper is a Memo in memory.
type keeper struct{ content []byte }

func (k *keeper) Load() []byte         { return k.content }
func (k *keeper) Store(content []byte) { k.content = content }

// TestPartsEqualTheWhole builds random large sets of manifests in parts, through a series of changes with a memo, and
// as a whole, and compares every byte. The manifests are named by a generated kustomization.yaml, or by some of
// their own.
func TestPartsEqualTheWhole(t *testing.T) {
	t.Parallel()
	for seed := range uint64(9) {
		random := rand.New(rand.NewPCG(seed, 1))
		namespace := []string{"", "two"}[seed%2]
		count := 80 + random.IntN(60)
		files := randomManifests(random, count)
		memo := &keeper{}
		for step := range 3 {
			set := maps.Clone(files)
			maps.Copy(set, oddManifests)
			switch seed % 3 {
			case 1:
				listManifests(set, "", "")
			case 2:
				listManifests(set, []string{"", "three"}[seed%4/2], "d1/", "d3/")
			}
			root := write(t, set)
			parts, err := Build(t.Context(), Options{Root: root, Spec: Spec{TargetNamespace: namespace}, Memo: memo})
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			if len(memo.content) == 0 {
				t.Errorf("seed %d, step %d: the build was not made in parts", seed, step)
			}
			want, err := Build(t.Context(), Options{Root: root, Spec: whole(namespace)})
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
			if !bytes.Equal(parts.YAML, want.YAML) || parts.Digest != want.Digest {
				t.Fatalf("seed %d, step %d: %s", seed, step, firstDifference(parts.YAML, want.YAML))
			}
			if !reflect.DeepEqual(parts.Objects, want.Objects) {
				t.Fatalf("seed %d, step %d: the objects differ though their text does not", seed, step)
			}
			changeManifests(random, files, count)
		}
	}
}

// oddManifests are written in ways that people and programs have.
var oddManifests = map[string]string{
	"d2/anchors.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: &m\n  name: anchored\n  labels: &l {a: b}\n  annotations: {<<: *l, c: d}\ndata: {name: &n anchored, again: *n}\n",
	"d2/crlf.yaml":       "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: crlf\r\ndata:\r\n  text: |\r\n    one\r\n    two\r\n",
	"d2/json.yaml":       `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "json", "labels": null}, "data": {"n": "1"}, "binaryData": {}}`,
	"d2/empty.yaml":      "---\n---\n# nothing\n---\n# before\napiVersion: v1 # here\nkind: ConfigMap\nmetadata: {name: after-empty, creationTimestamp: null}\n...\n---\n\n",
	"d2/list.yaml":       "apiVersion: v1\nkind: ConfigMapList\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: listed-a}}\n- {apiVersion: v1, kind: ServiceAccount, metadata: {name: listed-b, namespace: one}}\n",
	"d2/numbers.yaml":    "apiVersion: example.com/v1\nkind: Numbers\nmetadata: {name: numbers}\nspec: {big: 9007199254740993, float: 1.0, exp: 1e21, neg: -0.0, octal: 0o17, hex: 0xff, day: 2020-01-01, yes: yes, empty: }\n",
	"d2/linked.yaml":     "-> ../elsewhere/real.txt",
	"elsewhere/real.txt": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: linked}\n",
}

// listManifests adds a kustomization.yaml at the root, with a namespace perhaps, and in each directory of manifests,
// or only in some if others are given. A directory without one has its files named by the root.
func listManifests(files map[string]string, namespace string, dirs ...string) {
	entries := map[string][]string{}
	for name := range files {
		dir, file := path.Split(name)
		if path.Ext(name) != ".yaml" {
			continue
		}
		if dirs[0] == "" || slices.Contains(dirs, dir) {
			entries[dir] = append(entries[dir], "./"+file)
		} else {
			entries[""] = append(entries[""], name)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(entries)) {
		if dir != "" {
			slices.Sort(entries[dir])
			files[dir+"kustomization.yaml"] = kustomization("resources: ['" + strings.Join(entries[dir], "', '") + "']")
			entries[""] = append(entries[""], dir)
		}
	}
	slices.Sort(entries[""])
	lines := []string{"resources: ['" + strings.Join(entries[""], "', '") + "']"}
	if namespace != "" {
		lines = append(lines, "namespace: "+namespace)
	}
	files["kustomization.yml"] = kustomization(lines...)
}

// changeManifests edits, adds and removes a few.
func changeManifests(random *rand.Rand, files map[string]string, count int) {
	names := slices.Sorted(maps.Keys(files))
	for range 3 {
		name := names[random.IntN(len(names))]
		files[name] = strings.ReplaceAll(files[name], "annotations: {}", fmt.Sprintf("annotations: {n: 'x%d'}", random.IntN(99)))
	}
	delete(files, names[random.IntN(len(names))])
	files["d1/new.yaml"] = fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: o%d, namespace: nine}\n", count+random.IntN(9))
}

func firstDifference(grouped, whole []byte) string {
	a, b := strings.Split(string(grouped), "---\n"), strings.Split(string(whole), "---\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("object %d in groups\n%s\nas a whole\n%s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d objects in groups, %d as a whole", len(a), len(b))
}

// randomManifests spreads objects that refer to each other, and scalars that are easy to change by accident, over
// files of random size.
func randomManifests(random *rand.Rand, count int) map[string]string {
	scalars := []string{
		"yes", "'yes'", "0x1F", "'0x1F'", "1e3", "\"1e3\"", "0o17", "'0o17'", "010", "1_000", "'1_000'", "~", "''", "1.10", "2001-01-01",
		"|\n    a\n    b\n", ">-\n    folded\n    text\n", "'#x'", "\"\\u00e4\\n\"", "=", "'<<'", "12345678901234567890", "!!str 5", "-0", ".5", "\"a: b\"", "on",
	}
	namespaces := []string{"", "namespace: one, ", "namespace: two, "}
	files := map[string]string{}
	for i := range count {
		ns := namespaces[random.IntN(len(namespaces))]
		meta := fmt.Sprintf("metadata: {%sname: o%d, annotations: {}} # comment\n", ns, i)
		value := scalars[random.IntN(len(scalars))]
		var object string
		switch random.IntN(13) {
		case 0:
			object = "apiVersion: v1\nkind: ServiceAccount\n" + meta
		case 1:
			object = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n" + meta +
				fmt.Sprintf("roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: o%d}\nsubjects:\n- {kind: ServiceAccount, name: o%d}\n- {kind: ServiceAccount, name: o%d, namespace: one}\n", random.IntN(count), random.IntN(count), random.IntN(count))
		case 2:
			object = "apiVersion: v1\nkind: Service\n" + meta + "spec: {ports: [{port: 80}]}\n"
		case 3:
			object = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\n" + meta +
				fmt.Sprintf("webhooks:\n- name: w\n  clientConfig: {service: {name: o%d, namespace: two}}\n", random.IntN(count))
		case 4:
			object = strings.Replace(dep, "name: web,", fmt.Sprintf("%sname: o%d,", ns, i), 1) +
				fmt.Sprintf("      volumes: [{name: v, configMap: {name: o%d}}]\n", random.IntN(count))
			object = strings.Replace(object, "spec: {containers: [{name: web, image: \"nginx:1.0\"}]}\n", "spec:\n      containers: [{name: web, image: \"nginx:1.0\"}]\n", 1)
		case 5:
			object = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, " + strings.TrimSuffix(meta, " # comment\n") + "}\n"
		case 6:
			object = "apiVersion: v1\nkind: Secret\n" + meta + "stringData: {k: v}\n"
		case 7:
			object = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n" + meta +
				fmt.Sprintf("roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: o%d}\nsubjects:\n- {kind: ServiceAccount, name: default}\n- {kind: ServiceAccount, name: o%d}\n", random.IntN(count), random.IntN(count))
		case 8:
			object = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n" + meta +
				fmt.Sprintf("spec: {conversion: {strategy: Webhook, webhook: {clientConfig: {service: {name: o%d, namespace: one}}}}}\n", random.IntN(count))
		case 9:
			object = "apiVersion: v1\nkind: ConfigMap\n" + strings.Replace(meta, "annotations: {}", "annotations: {config.kubernetes.io/local-config: 'true'}", 1)
		case 10:
			object = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\n" + meta +
				fmt.Sprintf("spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: o%d}, maxReplicas: 3}\n", random.IntN(count))
		case 11:
			object = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n" + meta +
				fmt.Sprintf("rules: [{apiGroups: [''], resources: [secrets], resourceNames: [o%d], verbs: [get]}]\n", random.IntN(count))
		default:
			object = "apiVersion: v1\nkind: ConfigMap\n" + meta + "data:\n  k: " + value + "\n"
		}
		files[fmt.Sprintf("d%d/f%d.yaml", random.IntN(5), random.IntN(40))] += "---\n" + object
	}
	return files
}

// TestPartsKeepDelicateText builds what writing and reading YAML once more would change, lose or hide, in parts and as
// a whole.
func TestPartsKeepDelicateText(t *testing.T) {
	t.Parallel()
	config := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: delicate}\ndata:\n  k: "
	for reason, text := range map[string]string{
		"folded text with deeper lines":   config + ">\n    a\n      deeper\n    b\n",
		"folded text that keeps its end":  config + ">+\n    a\n\n    b\n\n\n",
		"a block that begins with spaces": config + "|2\n      two\n     one\n",
		"comments everywhere":             "# head\n\n# more\n" + config + "[a, # one\n    b] # two\n  # foot\n\n# end\n",
		"a kind that reads as a wrapper":  config + "v\n---\napiVersion: example.org/v1\nkind: ResourceList\nmetadata: {name: r}\nfunctionConfig: {}\n",
	} {
		files := manyMaps(maxGroup - 1)
		files["y.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n"
		files["z.yaml"] = text
		if strings.Contains(text, "ResourceList") {
			delete(files, "y.yaml") // the last object then has a group of its own
		}
		root := write(t, files)
		parts, err := Build(t.Context(), Options{Root: root})
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		want, err := Build(t.Context(), Options{Root: root, Spec: whole("")})
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		if !bytes.Equal(parts.YAML, want.YAML) {
			t.Errorf("%s: %s", reason, firstDifference(parts.YAML, want.YAML))
		}
	}
}

// TestMemoLeavesNoTrace compares the inputs of a build with those of one that had less to do.
func TestMemoLeavesNoTrace(t *testing.T) {
	t.Parallel()
	root, memo := write(t, manyMaps(3*maxGroup)), &keeper{}
	var digests []string
	for range 2 {
		result, err := Build(t.Context(), Options{Root: root, Memo: memo})
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, result.Inputs.Digest())
	}
	if digests[0] != digests[1] {
		t.Error("the digest of the inputs tells how the build was divided")
	}
}

func manyMaps(count int) map[string]string {
	files := map[string]string{}
	for i := range count {
		files[fmt.Sprintf("f%04d.yaml", i)] = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: o%d}\ndata: {k: v}\n", i)
	}
	return files
}

func TestPartsLeaveErrorsToTheWhole(t *testing.T) {
	t.Parallel()
	files := manyMaps(maxGroup + 50)
	files["again.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: o7, namespace: default}\n"
	if _, err := Build(t.Context(), Options{Root: write(t, files)}); err == nil || !strings.Contains(err.Error(), "already registered id") {
		t.Errorf("error = %v, want kustomize's for an object that is there twice", err)
	}
}

// TestMemoCostsWhatChanged counts what is parsed, and that nothing but the artifact's own content is remembered.
func TestMemoCostsWhatChanged(t *testing.T) {
	t.Parallel()
	files := manyMaps(300)
	files["secret.yaml"] = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: canary-of-a-secret}\n"
	for reason, c := range map[string]struct {
		change func(map[string]string)
		spec   Spec
		parsed int
	}{
		"nothing changed but the Secret, which is never kept": {func(map[string]string) {}, Spec{}, 1},
		"a file changed":        {func(f map[string]string) { f["f0007.yaml"] += "# more\n" }, Spec{}, 2},
		"a file moved":          {func(f map[string]string) { f["z.yaml"] = f["f0007.yaml"]; delete(f, "f0007.yaml") }, Spec{}, 1},
		"the namespace changed": {func(map[string]string) {}, Spec{TargetNamespace: "other"}, 301},
	} {
		memo := &keeper{}
		if _, err := Build(t.Context(), Options{Root: write(t, files), Memo: memo}); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(memo.content, []byte("canary-of-a-secret")) {
			t.Fatal("the memo keeps a Secret")
		}
		changed := maps.Clone(files)
		c.change(changed)
		b, err := newBuilder(t.Context(), Options{Root: write(t, changed), Spec: c.spec, Memo: memo})
		if err != nil {
			t.Fatal(err)
		}
		defer b.close()
		if _, err := b.build(); err != nil {
			t.Fatal(err)
		}
		parsed := 0
		for _, m := range allFiles(b.sources) {
			for _, o := range m.objects {
				if o.parsed != nil {
					parsed++
				}
			}
		}
		if parsed != c.parsed {
			t.Errorf("%s: %d objects were parsed, want %d", reason, parsed, c.parsed)
		}
	}
}

// TestMemoOfAnythingIsHarmless gives a build a memo that is cut off or altered anywhere.
func TestMemoOfAnythingIsHarmless(t *testing.T) {
	t.Parallel()
	root := write(t, manyMaps(maxGroup+10))
	memo := &keeper{}
	want, err := Build(t.Context(), Options{Root: root, Memo: memo})
	if err != nil {
		t.Fatal(err)
	}
	for cut := 0; cut < len(memo.content); cut += 1 + len(memo.content)/40 {
		got, err := Build(t.Context(), Options{Root: root, Memo: &keeper{content: memo.content[:cut]}})
		if err != nil || got.Digest != want.Digest {
			t.Fatalf("with %d of %d bytes: %v", cut, len(memo.content), err)
		}
	}
}

// TestNotPlain lists what must not be built in parts, because a kustomization does more than name files.
func TestNotPlain(t *testing.T) {
	t.Parallel()
	var list []string
	for name := range manyMaps(maxGroup + 10) {
		list = append(list, name)
	}
	resources := "resources: [" + strings.Join(list, ", ") + "]"
	for reason, c := range map[string]struct {
		files map[string]string
		err   string
	}{
		"a prefix":                      {files: map[string]string{"kustomization.yaml": kustomization(resources, "namePrefix: p-")}},
		"a generator":                   {files: map[string]string{"kustomization.yaml": kustomization(resources, "configMapGenerator: [{name: g, literals: [a=b]}]")}},
		"a sort order":                  {files: map[string]string{"kustomization.yaml": kustomization(resources, "sortOptions: {order: legacy}")}},
		"build metadata":                {files: map[string]string{"kustomization.yaml": kustomization(resources, "buildMetadata: [managedByLabel]")}},
		"a directory with a prefix":     {files: map[string]string{"kustomization.yaml": kustomization(resources, "bases: [d]"), "d/kustomization.yaml": kustomization("resources: [a.yaml]", "namePrefix: p-"), "d/a.yaml": cmA}},
		"two kustomization files":       {files: map[string]string{"kustomization.yaml": kustomization(resources), "kustomization.yml": kustomization(resources)}, err: "Found multiple kustomization files"},
		"a circle":                      {files: map[string]string{"kustomization.yaml": kustomization(resources, "bases: [d]"), "d/kustomization.yaml": kustomization("resources: [../]")}, err: "cycle detected"},
		"a Component among the entries": {files: map[string]string{"kustomization.yaml": kustomization(resources, "bases: [d]"), "d/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [a.yaml]\n", "d/a.yaml": cmA}, err: "expected kind != 'Component'"},
		"a file that is not there":      {files: map[string]string{"kustomization.yaml": kustomization(resources, "bases: [gone.yaml]")}, err: "gone.yaml"},
		"kustomize's own annotations": {files: map[string]string{"kustomization.yaml": kustomization(resources),
			"f0001.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, annotations: {internal.config.kubernetes.io/needsHashSuffix: enabled}}\n"}},
		"kustomize's own annotations, escaped": {files: map[string]string{
			"f0001.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, annotations: {\"internal.config\\u002ekubernetes.io/needsHashSuffix\": enabled}}\n"}},
		"kustomize's own annotations of names": {files: map[string]string{
			"f0001.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n  annotations: {\"internal.config\\x2ekubernetes.io/previousNames\": other, \"internal.config\\x2ekubernetes.io/previousKinds\": ConfigMap, \"internal.config\\x2ekubernetes.io/previousNamespaces\": one}\n"}},
	} {
		files := manyMaps(maxGroup + 10)
		maps.Copy(files, c.files)
		memo := &keeper{}
		_, err := Build(t.Context(), Options{Root: write(t, files), Memo: memo})
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error = %v, want %q", reason, err, c.err)
		}
		if memo.content != nil {
			t.Errorf("%s: was built in parts", reason)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, count := range []int{4, 500, 2000, 5000} {
		files := manyMaps(count)
		root := write(b, files)
		files["f0003.yaml"] += "# changed\n"
		changed := write(b, files)
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			for b.Loop() {
				if _, err := Build(b.Context(), Options{Root: root}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d, one changed", count), func(b *testing.B) {
			memo := &keeper{}
			if _, err := Build(b.Context(), Options{Root: changed, Memo: memo}); err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				if _, err := Build(b.Context(), Options{Root: []string{root, changed}[i%2], Memo: memo}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
