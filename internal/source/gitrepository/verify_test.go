package gitrepository_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/test/servers/git"
	"github.com/gitops-toolkit/flux/test/servers/signing"
)

func verify(mode string, ref *sourcev1.GitRepositoryRef) func(*sourcev1.GitRepository) {
	return func(o *sourcev1.GitRepository) {
		o.Spec.Verification = &sourcev1.GitRepositoryVerification{Mode: mode, SecretRef: meta.LocalObjectReference{Name: "keys"}}
		if ref != nil {
			o.Spec.Reference = ref
		}
	}
}

// TestVerification signs with the real programs, by OpenPGP and by SSH, and takes signatures away again.
func TestVerification(t *testing.T) {
	t.Parallel()
	jo := signing.New(t, "ed25519")
	l := newLab(t, git.Options{})
	l.start()
	clone := filepath.Join(t.TempDir(), "clone")
	jo.Run("git", "clone", "--quiet", l.repo.Dir, clone)
	run := func(withSSH bool, args ...string) string { return jo.Git(clone, withSSH, args...) }
	run(false, "commit", "--quiet", "--allow-empty", "-S", "-m", "Signed by OpenPGP")
	run(false, "tag", "-s", "-m", "One", "v1.0.0")
	run(false, "tag", "light")
	run(false, "tag", "-a", "-m", "Unsigned", "v0.1.0")
	first := run(false, "rev-parse", "HEAD")
	run(false, "push", "--quiet", "origin", "main", "--tags")
	tag := run(false, "rev-parse", "v1.0.0")

	l.create("head", verify("head", nil))
	_, message := l.failed("head", "VerificationError")
	if want := fmt.Sprintf("public keys secret error: failed to get secret '%s/keys': secrets \"keys\" not found; create it, or correct spec.verify.secretRef", l.Namespace); message != want {
		t.Errorf("message %q, want %q", message, want)
	}
	l.secret("keys", map[string]string{meta.WatchLabel: "Enabled"}, map[string]string{"jo.asc": string(jo.PGP), "jo.sshpub": string(jo.SSH)})
	obj := l.ready("head", "main@sha1:"+first)
	commitLine := fmt.Sprintf("\n\t- commit '%s' with key '%s'", first, jo.KeyID)
	tagLine := fmt.Sprintf("\n\t- tag 'v1.0.0@%s' with key '%s'", tag, jo.KeyID)
	l.verified(obj, "HEAD", commitLine)

	for name, tc := range map[string]struct {
		mode  string
		ref   sourcev1.GitRepositoryRef
		lines string
	}{
		"tag":    {"Tag", sourcev1.GitRepositoryRef{Tag: "v1.0.0"}, tagLine},
		"semver": {"TagAndHEAD", sourcev1.GitRepositoryRef{SemVer: ">=1.0.0"}, tagLine + commitLine},
	} {
		l.create(name, verify(tc.mode, &tc.ref))
		l.verified(l.ready(name, "v1.0.0@sha1:"+first), tc.mode, tc.lines)
	}
	l.patch("tag", `{"spec":{"verify":{"mode":"TagAndHEAD"}}}`)
	obj = l.until("tag", "verified again", func(o *sourcev1.GitRepository) bool {
		return o.Status.ObservedGeneration == o.Generation && *o.Status.SourceVerificationMode == "TagAndHEAD"
	})
	l.verified(obj, "TagAndHEAD", tagLine+commitLine)

	eve := signing.New(t, "ed25519")
	l.secret("others", map[string]string{meta.WatchLabel: "Enabled"}, map[string]string{"eve.asc": string(eve.PGP)})
	l.patch("tag", `{"spec":{"verify":{"secretRef":{"name":"others"}}}}`)
	obj, message = l.failed("tag", "InvalidTagSignature")
	if !strings.Contains(message, "no trusted key made the signature") || obj.Status.Artifact == nil {
		t.Errorf("keys of somebody else took the place of those that were trusted: %q, %+v", message, obj.Status)
	}
	l.secret("changing", map[string]string{meta.WatchLabel: "Enabled"}, map[string]string{"jo.asc": string(jo.PGP)})
	l.patch("tag", `{"spec":{"verify":{"secretRef":{"name":"changing"}}}}`)
	l.ready("tag", "v1.0.0@sha1:"+first)
	l.Patch(&corev1.Secret{}, "changing", `{"data":{"jo.asc":null}}`)
	if obj, _ := l.failed("tag", "InvalidTagSignature"); obj.Status.Artifact == nil {
		t.Errorf("the last good artifact is not served any more: %+v", obj.Status)
	}

	for name, tc := range map[string]struct{ reason, message, tag string }{
		"light":    {"InvalidGitObject", "cannot verify tag 'light': it has no tag object", "light"},
		"unsigned": {"InvalidGitObject", "cannot verify tag 'v0.1.0@", "v0.1.0"},
	} {
		l.create(name, verify("Tag", &sourcev1.GitRepositoryRef{Tag: tc.tag}))
		obj, message := l.failed(name, tc.reason)
		if c := obj.Status.Conditions.Get("SourceVerified"); !strings.HasPrefix(message, tc.message) || c.Status != metav1.ConditionFalse || obj.Status.Artifact != nil {
			t.Errorf("%s: %q, %+v", name, message, obj.Status)
		}
	}
	// The signed tag of one version, shown under the name of another.
	l.Must(l.repo.SetRef("refs/tags/v9.9.9", tag))
	l.create("renamed", verify("Tag", &sourcev1.GitRepositoryRef{SemVer: "*"}))
	if _, message := l.failed("renamed", "InvalidTagSignature"); !strings.Contains(message, "it was made as 'v1.0.0', not as 'v9.9.9'") {
		t.Errorf("a renamed tag: %q", message)
	}
	l.create("branch", verify("Tag", nil))
	obj, message = l.failed("branch", "InvalidVerificationMode")
	if message != "cannot verify tag object's signature if a tag reference is not specified; set spec.ref.tag or spec.ref.semver, or spec.verify.mode 'HEAD'" || obj.Status.Conditions.Get("Stalled") == nil {
		t.Errorf("Tag without a tag: %q, %+v", message, obj.Status.Conditions)
	}

	run(true, "commit", "--quiet", "--allow-empty", "-S", "-m", "Signed by SSH")
	second := run(true, "rev-parse", "HEAD")
	run(true, "push", "--quiet", "origin", "main")
	l.verified(l.request("head", "ssh"), "HEAD", fmt.Sprintf("\n\t- commit '%s' with key '%s'", second, jo.Fingerprint))

	third := l.commit(map[string]string{"evil": "x"}, "Not signed")
	l.patch("head", `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"evil"}}}`)
	obj, message = l.failed("head", "InvalidCommitSignature")
	if message != fmt.Sprintf("signature verification of commit '%s' failed: it is not signed; sign it with a key of the Secret '%s/keys'", third, l.Namespace) ||
		obj.Status.Artifact.Revision != "main@sha1:"+second || obj.Status.Conditions.Get("SourceVerified").Status != metav1.ConditionFalse {
		t.Errorf("an unsigned commit: %q, %+v", message, obj.Status)
	}
	l.patch("head", `{"spec":{"verify":null}}`)
	obj = l.ready("head", "main@sha1:"+third)
	if obj.Status.SourceVerificationMode != nil || obj.Status.Conditions.Get("SourceVerified") != nil {
		t.Errorf("verification was taken away: %+v", obj.Status)
	}
}

func (l *lab) verified(obj *sourcev1.GitRepository, mode, lines string) {
	l.Helper()
	c := obj.Status.Conditions.Get("SourceVerified")
	if c == nil || c.Status != metav1.ConditionTrue || c.Reason != "Succeeded" || c.Message != "verified signature of"+lines {
		l.Errorf("%s: SourceVerified %+v, want %q", obj.Name, c, lines)
	}
	if m := obj.Status.SourceVerificationMode; m == nil || *m != mode {
		l.Errorf("%s: mode %v, want %s", obj.Name, m, mode)
	}
}
