package bucket_test

import (
	"context"
	"crypto/md5" //nolint:gosec // what S3 servers use for etags
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
)

// revisionOf is the revision of a bucket with this content, by the table: written independently of the controller.
func revisionOf(files map[string]string) string {
	var lines strings.Builder
	for _, key := range slices.Sorted(maps.Keys(files)) {
		sum := md5.Sum([]byte(files[key])) //nolint:gosec // as above
		fmt.Fprintf(&lines, "%s %s\n", key, hex.EncodeToString(sum[:]))
	}
	sum := sha256.Sum256([]byte(lines.String()))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func newS3Lab(t *testing.T) (*lab, *s3Server, *counter) {
	server := startS3(t, "", "")
	l := newLab(t)
	requests := &counter{next: insecureTransport()}
	l.transport = requests
	l.secret("s3", map[string]string{"accesskey": accessKey, "secretkey": secretKey})
	return l, server, requests
}

func TestRecordedRevisionAndArtifact(t *testing.T) {
	t.Parallel()
	l, server, _ := newS3Lab(t)
	recorded := "../../../../shared/recorded/inputs/bucket"
	if _, err := os.Stat(recorded); err != nil {
		t.Skip("the recorded run is not beside this checkout")
	}
	for _, name := range []string{".sourceignore", "manifests/cm.yaml", "one.txt"} {
		data, err := os.ReadFile(filepath.Join(recorded, name))
		l.Must(err)
		server.put(name, string(data))
	}
	l.start()
	l.create("bucket", func(b *sourcev1.BucketSpec) { b.Endpoint = server.endpoint })
	obj := l.revision("bucket", "sha256:b88a12c03ed38caa183d832a7a993193e5bae88047dea82b6fcb49c94b20224c")
	if want := "bucket/" + l.Namespace + "/bucket/b88a12c03ed38caa183d832a7a993193e5bae88047dea82b6fcb49c94b20224c.tar.gz"; obj.Status.Artifact.Path != want {
		t.Errorf("path %q, want %q", obj.Status.Artifact.Path, want)
	}
	if !strings.HasSuffix(obj.Status.URL, "/bucket/"+l.Namespace+"/bucket/latest.tar.gz") {
		t.Errorf("url %q", obj.Status.URL)
	}
	if got := l.files(obj); len(got) != 3 || got[".sourceignore"] == "" {
		t.Errorf("the artifact holds %v", got)
	}
	l.Event("bucket", "NewArtifact", "stored artifact with 2 fetched files from 'sample' bucket")
}

func TestOnlyWhatChangedIsFetched(t *testing.T) {
	t.Parallel()
	l, server, requests := newS3Lab(t)
	files := map[string]string{}
	for i := range 1200 { // more than one page of a listing
		files[fmt.Sprintf("d%d/f%d.yaml", i%7, i)] = fmt.Sprintf("value: %d\n", i)
	}
	for key, content := range files {
		server.put(key, content)
	}
	stop := l.start()
	l.create("big", func(b *sourcev1.BucketSpec) { b.Endpoint = server.endpoint })
	obj := l.revision("big", revisionOf(files))
	if got := l.files(obj); !maps.Equal(got, files) {
		t.Fatalf("the artifact holds %d files", len(got))
	}
	fetched := requests.objects.Load()
	all := requests.all.Load()
	if fetched != 1200 {
		t.Errorf("%d objects were fetched at first", fetched)
	}
	version := l.get("big").ResourceVersion
	l.request("big", "nothing new")
	if n := requests.objects.Load() - fetched; n != 0 {
		t.Errorf("%d objects were fetched although nothing is new", n)
	}
	if n := requests.all.Load() - all; n > 2 {
		t.Errorf("%d requests for a look that finds nothing new, a listing of two pages is enough", n)
	}
	if l.get("big").Status.Artifact.LastUpdateTime != obj.Status.Artifact.LastUpdateTime || version == "" {
		t.Error("the artifact was made again")
	}

	stop() // what was fetched survives a restart
	server.put("d0/f0.yaml", "value: other\n")
	server.remove("d1/f1.yaml")
	files["d0/f0.yaml"] = "value: other\n"
	delete(files, "d1/f1.yaml")
	l.start()
	l.request("big", "changed")
	if got := l.files(l.revision("big", revisionOf(files))); !maps.Equal(got, files) {
		t.Fatalf("the artifact holds %d files", len(got))
	}
	if n := requests.objects.Load() - fetched; n != 1 {
		t.Errorf("%d objects were fetched, one has changed", n)
	}
}

func TestPrefixAndIgnore(t *testing.T) {
	t.Parallel()
	l, server, _ := newS3Lab(t)
	for key, content := range map[string]string{
		".sourceignore": "*.md\n", "apps/a.yaml": "a: 1\n", "apps/readme.md": "no", "apps/.git/config": "kept", "other/b.yaml": "b: 1\n",
	} {
		server.put(key, content)
	}
	l.start()
	ignore := "other/\n"
	l.create("ignoring", func(b *sourcev1.BucketSpec) { b.Endpoint, b.Ignore = server.endpoint, &ignore })
	obj := l.revision("ignoring", revisionOf(map[string]string{"apps/a.yaml": "a: 1\n", "apps/.git/config": "kept"}))
	if got := l.files(obj); len(got) != 3 || got["apps/.git/config"] != "kept" || got[".sourceignore"] == "" {
		t.Errorf("the artifact holds %v", got)
	}
	if obj.Status.ObservedIgnore == nil || *obj.Status.ObservedIgnore != ignore {
		t.Errorf("observedIgnore is %v", obj.Status.ObservedIgnore)
	}
	l.create("prefixed", func(b *sourcev1.BucketSpec) { b.Endpoint, b.Prefix = server.endpoint, "apps/" })
	if got := l.files(l.revision("prefixed", revisionOf(map[string]string{"apps/a.yaml": "a: 1\n", "apps/.git/config": "kept"}))); len(got) != 3 {
		t.Errorf("below the prefix the artifact holds %v", got)
	}
}

func TestFailuresKeepTheArtifact(t *testing.T) {
	t.Parallel()
	l, server, _ := newS3Lab(t)
	server.put("a.yaml", "a: 1\n")
	l.secret("wrong", map[string]string{"accesskey": accessKey, "secretkey": "not-it-" + secretKey})
	l.secret("half", map[string]string{"accesskey": accessKey})
	l.start()
	point := func(change func(*sourcev1.BucketSpec)) func(*sourcev1.BucketSpec) {
		return func(b *sourcev1.BucketSpec) { b.Endpoint = server.endpoint; change(b) }
	}
	l.create("good", point(func(*sourcev1.BucketSpec) {}))
	good := l.revision("good", revisionOf(map[string]string{"a.yaml": "a: 1\n"}))
	l.update("good", func(b *sourcev1.Bucket) { b.Spec.BucketName = "absent" })
	bad := l.ready("good", metav1.ConditionFalse, "BucketOperationFailed", "bucket 'absent' not found")
	if bad.Status.Artifact == nil || bad.Status.Artifact.Digest != good.Status.Artifact.Digest {
		t.Error("the last good artifact is gone")
	}
	l.update("good", func(b *sourcev1.Bucket) { b.Spec.BucketName = "sample" })
	l.Event("good", "Succeeded", "artifact up-to-date with remote revision: '"+good.Status.Artifact.Revision+"'")

	l.create("half", point(func(b *sourcev1.BucketSpec) { b.SecretRef.Name = "half" }))
	l.ready("half", metav1.ConditionFalse, "AuthenticationFailed", "invalid 'half' secret data: required fields 'accesskey' and 'secretkey'")
	l.create("none", point(func(b *sourcev1.BucketSpec) { b.SecretRef.Name = "none" }))
	l.until("none", "told about its Secret", func(b *sourcev1.Bucket) bool {
		c := b.Status.Conditions.Get(meta.ReadyCondition)
		return c != nil && c.Reason == "AuthenticationFailed" && strings.Contains(c.Message, "create it, or correct spec.secretRef")
	})
	l.create("wrong", point(func(b *sourcev1.BucketSpec) { b.SecretRef.Name = "wrong" }))
	l.until("wrong", "told about its credentials", func(b *sourcev1.Bucket) bool {
		c := b.Status.Conditions.Get(meta.ReadyCondition)
		return c != nil && c.Reason == "BucketOperationFailed" && strings.HasPrefix(c.Message, "failed to confirm existence of 'sample' bucket: ") &&
			strings.Contains(c.Message, "check the credentials in the Secret '"+l.Namespace+"/wrong'") && !strings.Contains(c.Message, secretKey)
	})
	l.create("scheme", point(func(b *sourcev1.BucketSpec) { b.Endpoint = "http://" + server.endpoint }))
	l.until("scheme", "stalled", func(b *sourcev1.Bucket) bool {
		c := b.Status.Conditions.Get(meta.StalledCondition)
		return c != nil && c.Reason == "URLInvalid" && strings.Contains(c.Message, "without a scheme")
	})
	l.create("account", point(func(b *sourcev1.BucketSpec) {
		b.Provider, b.SecretRef, b.ServiceAccountName = "aws", nil, "default"
	}))
	l.ready("account", metav1.ConditionFalse, "FeatureGateDisabled",
		"to use spec.serviceAccountName for provider authentication please enable the ObjectLevelWorkloadIdentity feature gate in the controller")
}

func TestLostStorageAndDeletion(t *testing.T) {
	t.Parallel()
	l, server, requests := newS3Lab(t)
	server.put("a.yaml", "a: 1\n")
	l.start()
	l.create("b", func(b *sourcev1.BucketSpec) { b.Endpoint = server.endpoint })
	obj := l.revision("b", revisionOf(map[string]string{"a.yaml": "a: 1\n"}))
	file := filepath.Join(l.Data, obj.Status.Artifact.Path)
	l.Must(os.Remove(file))
	before := requests.objects.Load()
	l.request("b", "lost")
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the artifact was not made again: %v", err)
	}
	if n := requests.objects.Load() - before; n != 0 {
		t.Errorf("%d objects were fetched again although they are kept", n)
	}
	if again := l.get("b").Status.Artifact; again.Digest != obj.Status.Artifact.Digest {
		t.Errorf("the same input gives the digest %s, and %s before", again.Digest, obj.Status.Artifact.Digest)
	}
	// Kept objects that are damaged are fetched again.
	kept, err := filepath.Glob(filepath.Join(l.Data, ".buckets", l.Namespace, "b", "objects", "*"))
	l.Must(err)
	if len(kept) != 1 {
		t.Fatalf("kept: %v", kept)
	}
	l.Must(os.WriteFile(kept[0], []byte("b: 1\n"), 0o600))
	l.Must(os.Remove(file))
	l.request("b", "damaged")
	l.revision("b", obj.Status.Artifact.Revision)
	if got := l.files(l.get("b")); got["a.yaml"] != "a: 1\n" {
		t.Errorf("the artifact holds %v", got)
	}
	l.Must(l.Client.Delete(context.Background(), l.get("b")))
	l.eventually("everything is removed", func() bool {
		_, errStore := os.Stat(filepath.Dir(file))
		_, errMirror := os.Stat(filepath.Join(l.Data, ".buckets", l.Namespace, "b"))
		err := l.Client.Get(context.Background(), client.ObjectKey{Namespace: l.Namespace, Name: "b"}, &sourcev1.Bucket{})
		return os.IsNotExist(errStore) && os.IsNotExist(errMirror) && client.IgnoreNotFound(err) == nil && err != nil
	})
}

// TestLDAP holds the token service to what MinIO publishes of AssumeRoleWithLDAPIdentity: the credentials that it gives
// are those of the S3 server.
func TestLDAP(t *testing.T) {
	t.Parallel()
	l, server, _ := newS3Lab(t)
	server.put("a.yaml", "a: 1\n")
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.Form.Get("Action") != "AssumeRoleWithLDAPIdentity" ||
			r.Form.Get("Version") != "2011-06-15" || r.Form.Get("LDAPUsername") != "ada" || r.Form.Get("LDAPPassword") != "lovelace" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleWithLDAPIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithLDAPIdentityResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><Expiration>2099-01-01T00:00:00Z</Expiration><SessionToken></SessionToken></Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>`, accessKey, secretKey)
	}))
	t.Cleanup(sts.Close)
	l.secret("ldap", map[string]string{"username": "ada", "password": "lovelace"})
	l.start()
	l.create("ldap", func(b *sourcev1.BucketSpec) {
		b.Endpoint, b.SecretRef = server.endpoint, nil
		b.STS = &sourcev1.BucketSTSSpec{Provider: "ldap", Endpoint: sts.URL, SecretRef: &meta.LocalObjectReference{Name: "ldap"}}
	})
	l.revision("ldap", revisionOf(map[string]string{"a.yaml": "a: 1\n"}))
	l.create("nobody", func(b *sourcev1.BucketSpec) {
		b.Endpoint, b.SecretRef = server.endpoint+"/", nil
		b.STS = &sourcev1.BucketSTSSpec{Provider: "ldap", Endpoint: "http://127.0.0.1:1"}
	})
	l.eventually("the field of the address that nobody answers at", func() bool {
		c := l.get("nobody").Status.Conditions.Get("Ready")
		return c != nil && strings.Contains(c.Message, "check spec.sts.endpoint, and that the host can be reached")
	})
}
