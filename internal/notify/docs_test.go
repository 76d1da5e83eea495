package notify

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	notificationv1beta3 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
	"github.com/gitops-toolkit/flux/internal/notify/receivers"
)

var examples = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Every example of the documentation is one that the controller accepts.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../docs/notifications/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		for _, block := range examples.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(block[1], "kind: Secret") {
				continue // a part of an object
			}
			checked += example(t, file, strings.Split(block[1], "\n---\n"))
		}
		if checked == 0 {
			t.Errorf("%s has no example", file)
		}
	}
}

// example checks the Providers and Receivers among documents.
func example(t *testing.T, file string, documents []string) (checked int) {
	t.Helper()
	secrets := map[string]map[string][]byte{}
	for _, doc := range documents {
		var kind metav1.TypeMeta
		read := func(into any) {
			t.Helper()
			if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		switch kind.Kind {
		case "Secret":
			s := &corev1.Secret{}
			read(s)
			secrets[s.Name] = map[string][]byte{}
			for k, v := range s.StringData {
				secrets[s.Name][k] = []byte(v)
			}
		case notificationv1beta3.ProviderKind:
			p := &notificationv1beta3.Provider{}
			read(p)
			c, err := providers.Read(p, func(name string) (map[string][]byte, error) { return secrets[name], nil })
			if err == nil {
				_, err = c.Open()
			}
			if err != nil {
				t.Errorf("%s: %v", file, err)
			}
			checked++
		case notificationv1beta3.AlertKind:
			read(&notificationv1beta3.Alert{})
		case notificationv1.ReceiverKind:
			r := &notificationv1.Receiver{}
			read(r)
			if err := receivers.Check(r); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			checked++
		}
	}
	return checked
}
