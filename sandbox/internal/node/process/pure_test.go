package process

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

func TestFindImage(t *testing.T) {
	t.Parallel()
	images := []state.Image{
		{Reference: "ghcr.io/gitops-toolkit", Executable: "/any"},
		{Reference: "ghcr.io/gitops-toolkit:v2", Executable: "/two"},
		{Reference: "ghcr.io/gitops-toolkit/special", Executable: "/special"},
		{Reference: "localhost:5000/app:v1", Executable: "/app"},
	}
	tests := []struct {
		reason, image string
		want          match
	}{
		{"a parent path covers its repositories", "ghcr.io/gitops-toolkit/source-controller:v1", match{true, "/any", "source-controller"}},
		{"a tag beats none", "ghcr.io/gitops-toolkit/source-controller:v2", match{true, "/two", "source-controller"}},
		{"the longer repository beats a tag", "ghcr.io/gitops-toolkit/special:v2", match{true, "/special", "special"}},
		{"a digest does not count", "ghcr.io/gitops-toolkit/x:v2@sha256:abc", match{true, "/two", "x"}},
		{"the port of a registry is no tag", "localhost:5000/app:v1", match{true, "/app", "app"}},
		{"a known repository with another tag has no executable", "localhost:5000/app", match{true, "", "app"}},
		{"a name is not a path because it begins with one", "ghcr.io/gitops-toolkits/x", match{false, "", "x"}},
		{"anything else is unknown", "nginx", match{false, "", "nginx"}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			if got := find(images, test.image); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	variables := map[string]string{"A": "1", "B": "$(A)"}
	tests := []struct{ reason, in, want string }{
		{"a variable", "x$(A)y", "x1y"},
		{"a value is not expanded again", "$(B)", "$(A)"},
		{"an unknown name stays", "$(C)", "$(C)"},
		{"two dollars are one", "$$(A)", "$(A)"},
		{"a lone dollar stays", "5$ and $x", "5$ and $x"},
		{"an open bracket stays", "$(A", "$(A"},
		{"at the end", "a$", "a$"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			if got := expand(test.in, variables); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestMounts(t *testing.T) {
	t.Parallel()
	m := mounts{"/data": "/v/data", "/data/cache": "/v/cache", "/tmp": "/v/tmp"}
	tests := []struct{ reason, in, want string }{
		{"the mount path itself", "--storage-path=/data", "--storage-path=/v/data"},
		{"below it", "--file=/data/a/b", "--file=/v/data/a/b"},
		{"the longest mount wins", "/data/cache/x", "/v/cache/x"},
		{"a name that only begins so is another", "--x=/database", "--x=/database"},
		{"a path outside stays", "--x=/etc/passwd", "--x=/etc/passwd"},
		{"a URL stays", "--url=http://x/data", "--url=http://x/data"},
		{"a word stays", "data", "data"},
		{"an assignment without a flag is no flag", "a=/data", "a=/data"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			if got := m.argument(test.in); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if got, want := m.String(), "/data/cache=/v/cache:/data=/v/data:/tmp=/v/tmp"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "p", Namespace: "n", UID: "u",
			Labels: map[string]string{"b": "2", "a": "1"}, Annotations: map[string]string{"x.io/y": "z"},
		},
		Spec:   corev1.PodSpec{NodeName: "sandbox", ServiceAccountName: "sa"},
		Status: corev1.PodStatus{PodIP: "10.244.0.2", HostIP: "127.0.0.1"},
	}
	for path, want := range map[string]string{
		"metadata.name": "p", "metadata.namespace": "n", "metadata.uid": "u",
		"metadata.labels": "a=\"1\"\nb=\"2\"", "metadata.labels['a']": "1", "metadata.annotations['x.io/y']": "z",
		"spec.nodeName": "sandbox", "spec.serviceAccountName": "sa",
		"status.podIP": "10.244.0.2", "status.hostIP": "127.0.0.1",
	} {
		if got, err := field(pod, path); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := field(pod, "spec.secret"); err == nil {
		t.Error("a field that the downward API does not have was resolved")
	}
}

func TestResourceField(t *testing.T) {
	t.Parallel()
	c := corev1.Container{Name: "main", Resources: corev1.ResourceRequirements{
		Limits:   corev1.ResourceList{"memory": resource.MustParse("1Gi"), "cpu": resource.MustParse("1500m")},
		Requests: corev1.ResourceList{"memory": resource.MustParse("64Mi")},
	}}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
	capacity := corev1.ResourceList{"ephemeral-storage": resource.MustParse("5")}
	tests := []struct {
		reason, field, divisor, want string
	}{
		{"bytes by default", "limits.memory", "0", "1073741824"},
		{"in mebibytes", "limits.memory", "1Mi", "1024"},
		{"requests", "requests.memory", "1Mi", "64"},
		{"processors are rounded up", "limits.cpu", "0", "2"},
		{"or counted in thousandths", "limits.cpu", "1m", "1500"},
		{"no limit is the node's capacity", "limits.ephemeral-storage", "0", "5"},
		{"no request is nothing", "requests.cpu", "0", "0"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			ref := &corev1.ResourceFieldSelector{Resource: test.field, Divisor: resource.MustParse(test.divisor)}
			if got, err := resourceField(pod, &c, ref, capacity); err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
	if _, err := resourceField(pod, nil, &corev1.ResourceFieldSelector{Resource: "limits.cpu", ContainerName: "other"}, nil); err == nil {
		t.Error("a field of a container that is not there was resolved")
	}
}

func TestReplaceVolumeContent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must := func(files map[string][]byte) {
		t.Helper()
		if err := replace(dir, files); err != nil {
			t.Fatal(err)
		}
	}
	must(map[string][]byte{"a": []byte("1"), "sub/b": []byte("2")})
	must(map[string][]byte{"sub/b": []byte("3")})
	if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
		t.Error("a key that was removed is still a file")
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "sub", "b")); string(data) != "3" {
		t.Errorf("the file holds %q", data)
	}
	if info, err := os.Stat(filepath.Join(dir, "sub", "b")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others could read a secret: %v, %v", info.Mode(), err)
	}
	if err := replace(dir, map[string][]byte{"../out": nil}); err == nil {
		t.Error("a path out of the volume was written")
	}
}
