package image_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/test/servers/git"
	"github.com/gitops-toolkit/flux/test/servers/stock"
)

// TestRefusedPushes has a protected branch, a token that may only read, and a server that takes no strangers over SSH.
func TestRefusedPushes(t *testing.T) {
	t.Parallel()
	private, public, err := git.NewSSHKey("ed25519", "")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, registrytest.Options{}, git.Options{Users: map[string]string{"jo": "secret-pw"}, AnonymousRead: true, SSH: git.AnyPort, AuthorizedKeys: public})
	l.start()
	first := l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1")}, "Begin")
	l.hook("while read old new ref; do test $ref != refs/heads/main || { echo 'main is protected' >&2; exit 1; }; done")
	l.ready("1.0.0") // without credentials
	l.Create(&corev1.Secret{ObjectMeta: l.meta("jo"), StringData: map[string]string{"username": "jo", "password": "secret-pw"}})
	l.Create(&corev1.Secret{ObjectMeta: l.meta("key"), Data: map[string][]byte{"identity": private, "known_hosts": l.git.KnownHosts()}})
	l.createSource("protected", func(o *sourcev1.GitRepository) { o.Spec.SecretRef = &meta.LocalObjectReference{Name: "jo"} })
	l.createSource("ssh", func(o *sourcev1.GitRepository) {
		o.Spec.URL, o.Spec.SecretRef = l.git.SSHURL("fleet"), &meta.LocalObjectReference{Name: "key"}
	})
	for source, want := range map[string]string{"fleet": "; set spec.secretRef of the GitRepository '" + l.Namespace + "/fleet' to a Secret whose login may write", "protected": "pre-receive hook declined (it says: main is protected); ", "ssh": "(it says: main is protected); "} {
		l.createUpdate(source, func(o *imagev1.ImageUpdateAutomation) { o.Spec.SourceRef.Name = source })
		o := l.update(source, "refused", func(o *imagev1.ImageUpdateAutomation) bool { return failed(o, "GitOperationFailed") })
		if m := readyOf(o).Message; !strings.HasPrefix(m, "failed to update source: ") || !strings.Contains(m, want) || strings.Contains(m, "secret-pw") {
			t.Errorf("%s: %q, want %q", source, m, want)
		}
		if o.Status.LastPushCommit != "" || o.Status.ObservedSourceRevision != "" {
			t.Errorf("%s: status %+v", source, o.Status)
		}
	}
	if got := l.gitCmd("rev-parse", "main"); got != first {
		t.Errorf("main moved to %s", got)
	}
	// Over SSH, to a branch that is not protected.
	l.patch(automation(l, "ssh"), `{"spec":{"git":{"push":{"branch":"auto"}}}}`)
	l.update("ssh", "pushed", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) && o.Status.LastPushCommit != "" })
	if got := l.gitCmd("rev-parse", "auto^"); got != first {
		t.Errorf("auto builds on %s", got)
	}
}

// TestLoginsThatMayOnlyRead has the servers of Git and OpenSSH themselves, which know the login and let it fetch. Attempts
// become rare, and the first after the login got the right to write is the last.
func TestLoginsThatMayOnlyRead(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	first := l.commit(map[string]string{"http/dep.yaml": l.marked("app", "old:1"), "ssh/dep.yaml": l.marked("app", "old:1")}, "Begin")
	l.gitCmd("config", "http.receivepack", "false")
	tries := make(chan time.Time, 100)
	url := stock.HTTPBackend(t, filepath.Dir(l.repo.Dir), "jo", "secret-pw", func(r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "git-receive-pack") {
			tries <- time.Now()
		}
	})
	private, public, err := git.NewSSHKey("ed25519", "")
	l.Must(err)
	script := filepath.Join(t.TempDir(), "only-read")
	l.Must(os.WriteFile(script, []byte("#!/bin/sh\ncd "+l.repo.Dir+"\ncase \"$SSH_ORIGINAL_COMMAND\" in git-upload-pack*) ;; *) test -e write || { echo 'ERROR: This deploy key does not have write access to this project.' >&2; exit 1; };; esac\nexec git shell -c \"$SSH_ORIGINAL_COMMAND\"\n"), 0o700))
	sshd := stock.StartSSHD(t, append([]byte(`command="`+script+`",restrict `), public...))
	l.start()
	l.ready("1.0.0")
	l.Create(&corev1.Secret{ObjectMeta: l.meta("http"), StringData: map[string]string{"username": "jo", "password": "secret-pw"}})
	l.Create(&corev1.Secret{ObjectMeta: l.meta("ssh"), Data: map[string][]byte{"identity": private, "known_hosts": sshd.KnownHosts}})
	for name, tc := range map[string]struct{ url, says string }{
		"http": {url + "/fleet.git", "authorization failed: the server answers 403 Forbidden"},
		"ssh":  {sshd.URL(l.repo.Dir), "authorization failed: the remote says: ERROR: This deploy key does not have write access to this project."},
	} {
		l.createSource(name, func(o *sourcev1.GitRepository) {
			o.Spec.URL, o.Spec.SecretRef = tc.url, &meta.LocalObjectReference{Name: name}
		})
		l.createUpdate(name, func(o *imagev1.ImageUpdateAutomation) {
			o.Spec.SourceRef.Name, o.Spec.Update = name, &imagev1.UpdateStrategy{Path: name}
		})
		o := l.says(name, tc.says)
		m, want := readyOf(o).Message, fmt.Sprintf("; check that the credentials in the Secret '%[1]s/%[2]s' of the GitRepository '%[1]s/%[2]s' allow to write", l.Namespace, name)
		if !strings.HasPrefix(m, "failed to update source: unable to push to '") || !strings.HasSuffix(m, want) || strings.Contains(m, "secret-pw") {
			t.Errorf("%s: %q, want %q", name, m, want)
		}
	}
	at := make([]time.Time, 6)
	for i := range at {
		select {
		case at[i] = <-tries:
		case <-time.After(limit):
			t.Fatalf("no attempt after the first %d", i)
		}
	}
	if gap := at[5].Sub(at[4]); gap < 500*time.Millisecond { // 50 ms, doubled each time
		t.Errorf("the sixth attempt came %s after the fifth", gap)
	}
	if got := l.gitCmd("rev-parse", "main"); got != first {
		t.Errorf("main moved to %s", got)
	}
	l.gitCmd("config", "http.receivepack", "true")
	l.open("write")
	l.wrote("http", "1.0.0")
	l.wrote("ssh", "1.0.0")
	if got := l.gitCmd("rev-list", "--count", first+"..main"); got != "2" {
		t.Errorf("%s commits", got)
	}
}
