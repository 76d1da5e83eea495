package gitrepository_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

func TestLifeOfARepository(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	first, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("fleet", nil)
	obj := l.ready("fleet", "main@sha1:"+first)
	a := obj.Status.Artifact
	path := fmt.Sprintf("gitrepository/%s/fleet/%s.tar.gz", l.Namespace, first)
	if a.Path != path || a.URL != "http://"+sourcetest.Advertised+"/"+path || a.Digest != sourcetest.Golden || a.Size == nil {
		t.Errorf("artifact %+v", a)
	}
	if c := obj.Status.Conditions; len(c) != 2 || c.Get("ArtifactInStorage").Message != "stored artifact for revision 'main@sha1:"+first+"'" {
		t.Errorf("conditions %+v", c)
	}
	if got := l.files(obj); !maps.Equal(got, map[string]string{"app/deploy.yaml": "replicas: 1\n", "README.md": "hello\n"}) {
		t.Errorf("files %v", got)
	}
	e := l.Event("fleet", "NewArtifact", "stored artifact for commit 'Begin'")
	if e.Severity != "info" || e.Metadata["source.toolkit.fluxcd.io/revision"] != a.Revision || e.Metadata["source.toolkit.fluxcd.io/digest"] != a.Digest {
		t.Errorf("event %+v", e)
	}

	second := l.commit(map[string]string{"app/deploy.yaml": "replicas: 2\n"}, "A subject that is much longer than the fifty characters that fit")
	obj = l.request("fleet", "two")
	if got := l.files(obj)["app/deploy.yaml"]; obj.Status.Artifact.Revision != "main@sha1:"+second || got != "replicas: 2\n" {
		t.Errorf("after the second commit: %+v, %q", obj.Status.Artifact, got)
	}
	l.Event("fleet", "NewArtifact", "stored artifact for commit 'A subject that is much longer than the fifty chara...'")
	if _, err := os.Stat(filepath.Join(l.Data, path)); err != nil {
		t.Errorf("the artifact of before is gone while its consumers may still fetch it: %v", err)
	}

	l.Must(l.Client.Delete(context.Background(), obj))
	l.untilGone("fleet")
	if left, err := filepath.Glob(filepath.Join(l.Data, "gitrepository", l.Namespace, "fleet", "*")); err != nil || len(left) != 0 {
		t.Errorf("files of the deleted object: %v, %v", left, err)
	}
}

func (l *lab) untilGone(name string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sourcetest.Limit)
	defer cancel()
	list := &sourcev1.GitRepositoryList{}
	w, err := l.Client.Watch(ctx, list, client.InNamespace(l.Namespace), client.MatchingFields{"metadata.name": name})
	l.Must(err)
	defer w.Stop()
	for {
		l.Must(l.Client.List(ctx, list, client.InNamespace(l.Namespace), client.MatchingFields{"metadata.name": name}))
		if len(list.Items) == 0 {
			return
		}
		select {
		case <-w.ResultChan():
		case <-ctx.Done():
			l.Fatalf("%s is still there", name)
		}
	}
}

// TestIdlePollsCostOneListing is a budget: nothing new is one listing of refs, no object and no write.
func TestIdlePollsCostOneListing(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1000)
	l := newLab(t, git.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			asked <- struct{}{}
		})
	}})
	l.start()
	l.create("fleet", func(o *sourcev1.GitRepository) { o.Spec.Interval = meta.NewDuration(100 * time.Millisecond) })
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	before := l.ready("fleet", "main@sha1:"+tip)
	for len(asked) > 0 {
		<-asked
	}
	l.server.ResetRequests()
	for range 10 {
		<-asked
	}
	for _, r := range l.server.Requests() {
		if r.Advertise || r.Sent > 200 {
			t.Errorf("a poll cost %+v", r)
		}
	}
	if after := l.get("fleet"); after.ResourceVersion != before.ResourceVersion {
		t.Errorf("the object was written by an idle poll: %+v", after.Status)
	}
}

func TestMissingBranchRecovers(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	l.create("fleet", func(o *sourcev1.GitRepository) { o.Spec.Reference.Branch = "missing" })
	obj, message := l.failed("fleet", "GitOperationFailed")
	want := "failed to checkout and determine revision: unable to clone '" + l.server.HTTPURL("fleet") + "': couldn't find remote ref \"refs/heads/missing\""
	if message != want {
		t.Errorf("message %q, want %q", message, want)
	}
	failed, reconciling := obj.Status.Conditions.Get("FetchFailed"), obj.Status.Conditions.Get("Reconciling")
	if failed == nil || failed.Status != metav1.ConditionTrue || failed.Message != want {
		t.Errorf("FetchFailed %+v", failed)
	}
	if reconciling == nil || reconciling.Reason != "ProgressingWithRetry" || reconciling.Message != "building artifact" {
		t.Errorf("Reconciling %+v", reconciling)
	}
	if obj.Status.ObservedGeneration == obj.Generation {
		t.Error("a failure observed the generation")
	}
	if e := l.Event("fleet", "GitOperationFailed", want); e.Severity != "error" {
		t.Errorf("event %+v", e)
	}
	hash, err := l.repo.Apply(git.Change{Branch: "missing", Message: "Now", Files: map[string]string{"a": "a"}})
	l.Must(err)
	obj = l.ready("fleet", "missing@sha1:"+hash)
	if len(obj.Status.Conditions) != 2 {
		t.Errorf("conditions after the recovery: %+v", obj.Status.Conditions)
	}
}

// TestFailureKeepsArtifact lets a branch vanish: consumers go on with the last good artifact, and the return of the
// branch is one event.
func TestFailureKeepsArtifact(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("fleet", nil)
	l.ready("fleet", "main@sha1:"+tip)
	l.Must(l.repo.SetRef("refs/heads/aside", "main"))
	l.Must(l.repo.DeleteRef("refs/heads/main"))
	l.patch("fleet", `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"x"}}}`)
	obj, _ := l.failed("fleet", "GitOperationFailed")
	if obj.Status.Artifact == nil || obj.Status.Conditions.Get("ArtifactInStorage").Status != metav1.ConditionTrue {
		t.Errorf("the artifact went with the branch: %+v", obj.Status)
	}
	l.Must(l.repo.SetRef("refs/heads/main", "aside"))
	l.ready("fleet", "main@sha1:"+tip)
	l.Event("fleet", "Succeeded", "stored artifact for commit 'main@sha1:"+tip+"'")
	if n := l.Count("fleet", "NewArtifact"); n != 1 {
		t.Errorf("%d NewArtifact events, want 1", n)
	}
}

func TestEmptyRepository(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	_, err := l.server.Create("empty", "main")
	l.Must(err)
	l.create("empty", func(o *sourcev1.GitRepository) { o.Spec.URL = l.server.HTTPURL("empty") })
	if _, message := l.failed("empty", "EmptyGitRepository"); message != "git repository is empty; push a commit to '"+l.server.HTTPURL("empty")+"'" {
		t.Errorf("message %q", message)
	}
}

// TestLabelledSecretWakes has no credentials, then wrong ones, then right ones; the interval is an hour, and back-off
// is not waited for.
func TestLabelledSecretWakes(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{Users: map[string]string{"jo": "s3cret"}})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("fleet", func(o *sourcev1.GitRepository) { o.Spec.SecretRef = &meta.LocalObjectReference{Name: "git"} })
	_, message := l.failed("fleet", "AuthenticationFailed")
	if want := fmt.Sprintf("failed to get secret '%s/git': secrets \"git\" not found; create it, or correct spec.secretRef", l.Namespace); message != want {
		t.Errorf("message %q, want %q", message, want)
	}
	labels := map[string]string{meta.WatchLabel: "Enabled"}
	l.secret("git", labels, map[string]string{"username": "jo", "password": "wrong"})
	_, message = l.failed("fleet", "GitOperationFailed")
	for _, part := range []string{l.server.HTTPURL("fleet"), "authentication required", "check the credentials in the Secret '" + l.Namespace + "/git'"} {
		if !strings.Contains(message, part) {
			t.Errorf("message %q does not say %q", message, part)
		}
	}
	l.Must(l.Client.Update(context.Background(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "git", Namespace: l.Namespace, Labels: labels},
		StringData: map[string]string{"username": "jo", "password": "s3cret"},
	}))
	l.ready("fleet", "main@sha1:"+tip)
}

func TestSSH(t *testing.T) {
	t.Parallel()
	private, public, err := git.NewSSHKey("ed25519", "open sesame")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, git.Options{SSH: git.AnyPort, AuthorizedKeys: public})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	secret := map[string]string{"identity": string(private), "known_hosts": string(l.server.KnownHosts()), "password": "open sesame"}
	l.secret("good", nil, secret)
	delete(secret, "password")
	l.secret("locked", nil, secret)
	secret["known_hosts"] = "example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKcr9WnBHsZLzBJyRTjlm2TDxyd+r3SDOMpFVsu4xMaU\n"
	secret["password"] = "open sesame"
	l.secret("stranger", nil, secret)
	l.secret("empty", nil, map[string]string{"identity": "x"})
	for _, name := range []string{"good", "locked", "stranger", "empty", "none"} {
		l.create(name, func(o *sourcev1.GitRepository) {
			o.Spec.URL = l.server.SSHURL("fleet")
			if name != "none" {
				o.Spec.SecretRef = &meta.LocalObjectReference{Name: name}
			}
		})
	}
	l.ready("good", "main@sha1:"+tip)
	for name, want := range map[string]struct{ reason, text string }{
		"locked":   {"AuthenticationFailed", "SSH identity key is encrypted but no 'password' field was provided in the secret '" + l.Namespace + "/locked'"},
		"stranger": {"GitOperationFailed", "host key verification failed: known_hosts has no key of"},
		"empty":    {"AuthenticationFailed", "invalid '" + l.Namespace + "/empty' secret data: required fields 'identity' and 'known_hosts'"},
		"none":     {"AuthenticationFailed", "authentication over SSH needs spec.secretRef"},
	} {
		if _, message := l.failed(name, want.reason); !strings.Contains(message, want.text) {
			t.Errorf("%s: message %q does not say %q", name, message, want.text)
		}
	}
}

// TestUnreachable names the host that does not answer, and what to look at.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	url := l.server.HTTPURL("fleet")
	_ = l.server.Close()
	l.create("fleet", nil)
	_, message := l.failed("fleet", "GitOperationFailed")
	for _, part := range []string{"unable to clone '" + url + "'", "connection refused", "check spec.url"} {
		if !strings.Contains(message, part) {
			t.Errorf("message %q does not say %q", message, part)
		}
	}
}

// TestCloudIdentities shows what keeps a cloud's identity from being used where it must not be.
func TestCloudIdentities(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("host", func(o *sourcev1.GitRepository) { o.Spec.Provider = "azure" })
	want := "failed to get credential from azure: invalid Azure DevOps URL: '" + l.server.HTTPURL("fleet") +
		"'. must match https://dev.azure.com/{organization}/{project}/_git/{repository}; correct spec.url"
	if _, message := l.failed("host", "AuthenticationFailed"); message != want {
		t.Errorf("another host: %q, want %q", message, want)
	}
	l.create("gate", func(o *sourcev1.GitRepository) {
		o.Spec.Provider, o.Spec.ServiceAccountName = "azure", "robot"
	})
	obj, message := l.failed("gate", "FeatureGateDisabled")
	if message != "to use spec.serviceAccountName for provider authentication please enable the ObjectLevelWorkloadIdentity feature gate in the controller" ||
		obj.Status.Conditions.Get("Stalled") == nil {
		t.Errorf("the gate is off: %q, %+v", message, obj.Status)
	}
	l.patch("gate", `{"spec":{"provider":null,"serviceAccountName":null}}`)
	l.ready("gate", "main@sha1:"+tip)
}

func TestIgnoreRebuildsAtTheSameRevision(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("fleet", nil)
	before := l.ready("fleet", "main@sha1:"+tip)
	l.patch("fleet", `{"spec":{"ignore":"/*\n!/app\n"}}`)
	after := l.until("fleet", "rebuilt", func(o *sourcev1.GitRepository) bool { return o.Status.ObservedIgnore != nil })
	if after.Status.Artifact.Digest == before.Status.Artifact.Digest || after.Status.Artifact.Revision != before.Status.Artifact.Revision {
		t.Errorf("artifact %+v", after.Status.Artifact)
	}
	if got := l.files(after); !maps.Equal(got, map[string]string{"app/deploy.yaml": "replicas: 1\n"}) {
		t.Errorf("files %v", got)
	}
	l.patch("fleet", `{"spec":{"ignore":null}}`)
	l.until("fleet", "rebuilt", func(o *sourcev1.GitRepository) bool {
		return o.Status.ObservedIgnore == nil && o.Status.Artifact.Digest == before.Status.Artifact.Digest
	})
}

func TestSuspended(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	l.create("fleet", func(o *sourcev1.GitRepository) { o.Spec.Suspend = true })
	if obj := l.request("fleet", "x"); obj.Status.Artifact != nil || len(l.server.Requests()) != 0 {
		t.Errorf("a suspended object was reconciled: %+v", obj.Status)
	}
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.patch("fleet", `{"spec":{"suspend":false}}`)
	l.ready("fleet", "main@sha1:"+tip)
}

// TestRestart keeps the volume, then loses the artifacts, then loses everything: the first costs a listing, the
// others rebuild, and none of them is news to anybody.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	stop := l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("fleet", nil)
	first := l.ready("fleet", "main@sha1:"+tip)
	stored := filepath.Join(l.Data, filepath.FromSlash(first.Status.Artifact.Path))
	l.AwaitCount("fleet", "NewArtifact", 1) // The event follows the status.

	stop()
	l.server.ResetRequests()
	stop = l.start()
	l.request("fleet", "kept")
	if n := git.Sent(l.server.Requests()); n > 1<<10 {
		t.Errorf("a restart with the volume kept moved %d bytes", n)
	}
	for i, lose := range []func() error{
		func() error { return os.Remove(stored) },
		func() error { return os.WriteFile(stored, []byte("spoilt"), 0o600) },
		func() error { return removeContent(l.Data) },
	} {
		stop()
		l.Must(lose())
		stop = l.start()
		l.request("fleet", fmt.Sprint("lost ", i))
		again := l.ready("fleet", "main@sha1:"+tip)
		if again.Status.Artifact.Digest != first.Status.Artifact.Digest || !equality.Semantic.DeepEqual(l.files(again), l.files(first)) {
			t.Errorf("after loss %d: %+v, want %+v", i, again.Status.Artifact, first.Status.Artifact)
		}
	}
	if n := l.Count("fleet", "NewArtifact"); n != 1 {
		t.Errorf("%d NewArtifact events, want 1", n)
	}
	if n := l.Count("fleet", "ArtifactVerificationFailed"); n != 1 {
		t.Errorf("%d events of the spoilt file, want 1", n)
	}
}

func removeContent(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err == nil {
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	return err
}

// TestLostArtifactOfUnreachableRemote stops advertising what is not there.
func TestLostArtifactOfUnreachableRemote(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	stop := l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.create("fleet", nil)
	l.ready("fleet", "main@sha1:"+tip)
	stop()
	l.Must(removeContent(l.Data))
	_ = l.server.Close()
	l.start()
	obj, _ := l.failed("fleet", "GitOperationFailed")
	if obj.Status.Artifact != nil || obj.Status.Conditions.Get("ArtifactInStorage") != nil {
		t.Errorf("status %+v", obj.Status)
	}
}

// TestHangingServer gives up at spec.timeout, says what to do, and leaves a server that still hangs as soon as the spec
// names another.
func TestHangingServer(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{}, 100)
	l := newLab(t, git.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/hanging") {
				reached <- struct{}{}
				<-r.Context().Done()
				return
			}
			h.ServeHTTP(w, r)
		})
	}})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	hanging := l.server.HTTPURL("hanging")
	l.create("short", func(o *sourcev1.GitRepository) {
		o.Spec.URL, o.Spec.Timeout = hanging, meta.DurationPtr(time.Second)
	})
	_, message := l.failed("short", "GitOperationFailed")
	for _, part := range []string{"unable to clone '" + hanging + "'", "no answer within the time allowed", "raise spec.timeout (1s)"} {
		if !strings.Contains(message, part) {
			t.Errorf("message %q does not say %q", message, part)
		}
	}
	l.patch("short", `{"spec":{"suspend":true}}`)
	l.create("long", func(o *sourcev1.GitRepository) {
		o.Spec.URL, o.Spec.Timeout = hanging, meta.DurationPtr(10*time.Minute)
	})
	<-reached
	l.patch("long", `{"spec":{"url":"`+l.server.HTTPURL("fleet")+`"}}`)
	l.ready("long", "main@sha1:"+tip)
}

// TestURLThatIsNone stalls. The pattern of the API lets it through.
func TestURLThatIsNone(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	l.create("fleet", func(o *sourcev1.GitRepository) { o.Spec.URL = "https://jo:s3cret@host:port/path" })
	obj, message := l.failed("fleet", "URLInvalid")
	if obj.Status.Conditions.Get("Stalled") == nil || !strings.HasPrefix(message, "spec.url ") || strings.Contains(message, "s3cret") {
		t.Errorf("message %q, %+v", message, obj.Status.Conditions)
	}
}

// TestManyObjectsOneMirror follows five references of one repository: one clone feeds them all.
func TestManyObjectsOneMirror(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.Must(l.repo.Tag("v1.0.0", "main", "One"))
	l.Must(l.repo.SetRef("refs/pull/1/head", "main"))
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	l.start()
	for name, c := range map[string]struct {
		ref  sourcev1.GitRepositoryRef
		want string
	}{
		"branch": {sourcev1.GitRepositoryRef{Branch: "main"}, "main@sha1:"},
		"tag":    {sourcev1.GitRepositoryRef{Tag: "v1.0.0"}, "v1.0.0@sha1:"},
		"semver": {sourcev1.GitRepositoryRef{SemVer: "1.x"}, "v1.0.0@sha1:"},
		"name":   {sourcev1.GitRepositoryRef{Name: "refs/pull/1/head"}, "refs/pull/1/head@sha1:"},
		"commit": {sourcev1.GitRepositoryRef{Commit: tip}, "sha1:"},
	} {
		l.create(name, func(o *sourcev1.GitRepository) { o.Spec.Reference = &c.ref })
		l.ready(name, c.want+tip)
	}
	if mirrors, err := filepath.Glob(filepath.Join(l.Data, ".git", "*", "*", "HEAD")); err != nil || len(mirrors) != 1 {
		t.Errorf("%d mirrors, want 1: %v", len(mirrors), err)
	}
}
