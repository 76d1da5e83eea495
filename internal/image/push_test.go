package image_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/image/update"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

func TestPushBranchRefspecAndOptions(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	first := l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1")}, "Begin")
	l.hook("echo \"$GIT_PUSH_OPTION_0 $GIT_PUSH_OPTION_1\" >> options")
	l.ready("1.0.0")
	l.createUpdate("auto", func(o *imagev1.ImageUpdateAutomation) {
		o.Spec.GitSpec.Push = &imagev1.PushSpec{Branch: "auto/images", Refspec: "refs/heads/auto/images:refs/review/main", Options: map[string]string{"topic": "x", "a": "b c\n"}}
	})
	l.update("auto", "told that the server takes no options", func(o *imagev1.ImageUpdateAutomation) bool {
		return failed(o, "GitOperationFailed") && strings.Contains(readyOf(o).Message, "receive.advertisePushOptions true), or remove spec.git.push.options")
	})
	if refs := l.gitCmd("for-each-ref", "--format=%(refname)"); refs != "refs/heads/main" {
		t.Errorf("half a push: %s", refs)
	}
	l.gitCmd("config", "receive.advertisePushOptions", "true")
	o := l.update("auto", "pushed", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) && o.Status.LastPushCommit != "" })
	if main := l.gitCmd("rev-parse", "main"); main != first || o.Status.ObservedSourceRevision != "main@sha1:"+first {
		t.Errorf("main is at %s, the status says %s", main, o.Status.ObservedSourceRevision)
	}
	for _, ref := range []string{"refs/heads/auto/images", "refs/review/main"} {
		if got := l.gitCmd("rev-parse", ref); got != o.Status.LastPushCommit {
			t.Errorf("%s is at %s", ref, got)
		}
	}
	if got, err := os.ReadFile(filepath.Join(l.repo.Dir, "options")); err != nil || string(got) != "a=b c topic=x\na=b c topic=x\n" {
		t.Errorf("options %q, %v", got, err)
	}
	l.AwaitEvent("of the push", func(e event) bool {
		return strings.HasPrefix(e.Message, fmt.Sprintf("pushed commit '%s' to branch 'auto/images' and refspecs 'refs/heads/auto/images:refs/review/main'\n", o.Status.LastPushCommit[:7]))
	})
	// The next image goes on top of the branch; running again makes no commit.
	l.push("app", "1.1.0")
	l.rescan("app", "one")
	l.update("auto", "pushed 1.1.0", func(o *imagev1.ImageUpdateAutomation) bool { return o.Status.ObservedPolicies["app"].Tag == "1.1.0" })
	sourcetest.Request[*imagev1.ImageUpdateAutomation](l.Lab, "auto", "idle")
	if got := l.gitCmd("rev-list", "--count", "auto/images"); got != "3" {
		t.Errorf("%s commits", got)
	}
}

// hook lets the server ask a script about each push.
func (l *lab) hook(script string) {
	l.Helper()
	dir := filepath.Join(l.repo.Dir, "hooks")
	l.Must(os.MkdirAll(dir, 0o755))
	l.Must(os.WriteFile(filepath.Join(dir, "pre-receive"), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

// TestPushBranchBegunAnew has the gate GitAllBranchReferences off.
func TestPushBranchBegunAnew(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{true, false} {
		t.Run(fmt.Sprintf("force %v", force), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, registrytest.Options{}, git.Options{})
			l.updates = func(o *update.Options) { o.AllBranches, o.ForcePush = false, force }
			l.start()
			l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1")}, "Begin")
			l.ready("1.0.0")
			l.createUpdate("auto", func(o *imagev1.ImageUpdateAutomation) { o.Spec.GitSpec.Push = &imagev1.PushSpec{Branch: "auto"} })
			l.update("auto", "pushed", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) && o.Status.LastPushCommit != "" })
			tip := l.gitCmd("rev-parse", "auto")
			sourcetest.Request[*imagev1.ImageUpdateAutomation](l.Lab, "auto", "same")
			if got := l.gitCmd("rev-parse", "auto"); got != tip {
				t.Errorf("the same files were committed again")
			}
			next := l.commit(map[string]string{"new.yaml": "a: b\n"}, "Go on")
			l.push("app", "1.1.0")
			l.rescan("app", "one")
			if !force {
				l.update("auto", "stale", func(o *imagev1.ImageUpdateAutomation) bool {
					return failed(o, "GitOperationFailed") && strings.Contains(readyOf(o).Message, "non-fast-forward: branch 'auto' is at "+tip)
				})
				return
			}
			l.update("auto", "pushed 1.1.0", func(o *imagev1.ImageUpdateAutomation) bool { return o.Status.ObservedPolicies["app"].Tag == "1.1.0" })
			if got := l.gitCmd("rev-parse", "auto^"); got != next {
				t.Errorf("it builds on %s, want %s", got, next)
			}
		})
	}
}

// tagged pushes a tag and waits until the policy has chosen it.
func (l *lab) tagged(tag string) {
	l.Helper()
	l.push("app", tag)
	l.rescan("app", tag)
	l.picked("app", tag)
}

// wrote waits until an automation has gone by a tag.
func (l *lab) wrote(name, tag string) *imagev1.ImageUpdateAutomation {
	l.Helper()
	return l.update(name, "wrote "+tag, func(o *imagev1.ImageUpdateAutomation) bool {
		return isReady(o) && o.Status.ObservedPolicies["app"].Tag == tag
	})
}

// says waits until an automation has failed at Git with a text in its message.
func (l *lab) says(name, text string) *imagev1.ImageUpdateAutomation {
	l.Helper()
	return l.update(name, "says "+text, func(o *imagev1.ImageUpdateAutomation) bool {
		return failed(o, "GitOperationFailed") && strings.Contains(readyOf(o).Message, text)
	})
}

// onlyWith lets the server refuse pushes to a ref as long as a file is not there.
func (l *lab) onlyWith(ref, file string) {
	l.Helper()
	l.hook("while read old new ref; do case $ref in " + ref + ") test -e " + file + " || { echo '" + file + " is shut' >&2; exit 1; };; esac; done")
}

func (l *lab) open(file string) {
	l.Helper()
	l.Must(os.WriteFile(filepath.Join(l.repo.Dir, file), nil, 0o600))
}

func (l *lab) shut(file string) {
	l.Helper()
	l.Must(os.Remove(filepath.Join(l.repo.Dir, file)))
}

// TestRefspecAfterARestart has a server that takes the branch but not the review; before it does, the controller is
// another one.
func TestRefspecAfterARestart(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	stop := l.start()
	l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1")}, "Begin")
	l.onlyWith("refs/review/*", "reviews")
	l.ready("1.0.0")
	l.createUpdate("auto", func(o *imagev1.ImageUpdateAutomation) {
		o.Spec.GitSpec.Push = &imagev1.PushSpec{Branch: "auto", Refspec: "refs/heads/auto:refs/review/main"}
	})
	o := l.says("auto", "reviews is shut")
	tip := l.gitCmd("rev-parse", "auto")
	if o.Status.PendingCommit != tip || o.Status.LastPushCommit != tip || o.Status.ObservedPolicies != nil {
		t.Errorf("auto is at %s, the status is %+v", tip, o.Status)
	}
	l.AwaitEvent("of the branch alone", func(e event) bool {
		return strings.HasPrefix(e.Message, "pushed commit '"+tip[:7]+"' to branch 'auto'\n")
	})
	stop()
	l.open("reviews")
	stop = l.start()
	o = l.wrote("auto", "1.0.0")
	if got := l.gitCmd("rev-parse", "refs/review/main"); got != tip || o.Status.PendingCommit != "" {
		t.Errorf("the review is at %s, want %s; status %+v", got, tip, o.Status)
	}
	l.AwaitEvent("of the refspec", func(e event) bool {
		return e.Message == "pushed commit '"+tip[:7]+"' to refspecs 'refs/heads/auto:refs/review/main'"
	})
	// A crash before the first push leaves a note about a commit that nobody has.
	stop()
	l.Must(l.Client.Status().Patch(context.Background(), automation(l, "auto"), client.RawPatch(types.MergePatchType, []byte(`{"status":{"pendingCommit":"`+strings.Repeat("ab", 20)+`"}}`))))
	l.start()
	l.update("auto", "without the note", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) && o.Status.PendingCommit == "" })
	if got := l.gitCmd("rev-list", "--count", "auto"); got != "2" {
		t.Errorf("%s commits", got)
	}
}

// TestRefspecToTheCheckoutBranch is how people use servers where a push to the branch opens a review: what the branch
// was not given at once it gets with the next commit, as long as that builds on it.
func TestRefspecToTheCheckoutBranch(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1")}, "Begin")
	l.onlyWith("refs/heads/main", "main")
	l.open("main")
	l.ready("1.0.0")
	l.createUpdate("auto", func(o *imagev1.ImageUpdateAutomation) {
		o.Spec.GitSpec.Push = &imagev1.PushSpec{Branch: "auto", Refspec: "refs/heads/auto:refs/heads/main"}
	})
	same := func(commits string) {
		t.Helper()
		if main, auto := l.gitCmd("rev-parse", "main"), l.gitCmd("rev-parse", "auto"); main != auto {
			t.Errorf("main is at %s, auto at %s", main, auto)
		}
		if got := l.gitCmd("rev-list", "--count", "main"); got != commits {
			t.Errorf("%s commits, want %s", got, commits)
		}
	}
	l.wrote("auto", "1.0.0")
	same("2")
	l.shut("main")
	l.tagged("1.1.0")
	first := l.says("auto", "main is shut").Status.LastPushCommit
	l.tagged("1.2.0")
	l.update("auto", "pushed the next to its branch", func(o *imagev1.ImageUpdateAutomation) bool {
		return failed(o, "GitOperationFailed") && o.Status.LastPushCommit != first
	})
	l.open("main")
	l.wrote("auto", "1.2.0")
	same("4")
	// A commit of somebody else is not pushed over.
	theirs := l.commit(map[string]string{"theirs.yaml": "a: b\n"}, "Theirs")
	l.tagged("1.3.0")
	l.says("auto", "'refs/heads/main' is at "+theirs+", which the new commit does not build on; bring branch 'auto' up to date or delete it")
	l.gitCmd("update-ref", "-d", "refs/heads/auto")
	l.wrote("auto", "1.3.0")
	same("6")
}

// TestReviewByBranch is a branch that people merge, delete and reset.
func TestReviewByBranch(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	l.commit(map[string]string{"dep.yaml": l.marked("app", "old:1")}, "Begin")
	l.ready("1.0.0")
	l.createUpdate("auto", func(o *imagev1.ImageUpdateAutomation) { o.Spec.GitSpec.Push = &imagev1.PushSpec{Branch: "auto"} })
	l.wrote("auto", "1.0.0")
	run := func(token string) {
		t.Helper()
		sourcetest.Request[*imagev1.ImageUpdateAutomation](l.Lab, "auto", token)
	}
	// Merged and deleted: there is nothing to do, and no branch.
	l.gitCmd("update-ref", "refs/heads/main", "auto")
	l.gitCmd("update-ref", "-d", "refs/heads/auto")
	run("merged")
	if refs := l.gitCmd("for-each-ref", "--format=%(refname)"); refs != "refs/heads/main" {
		t.Errorf("after the merge: %s", refs)
	}
	// The next image makes the branch anew.
	l.tagged("1.1.0")
	l.wrote("auto", "1.1.0")
	main, tip := l.gitCmd("rev-parse", "main"), l.gitCmd("rev-parse", "auto")
	if got := l.gitCmd("rev-parse", "auto^"); got != main {
		t.Errorf("it builds on %s, want %s", got, main)
	}
	// Somebody resets the branch: what was in it is written again, on top of what is there now.
	other, err := l.repo.Apply(git.Change{Branch: "other", From: main, Message: "Other", Files: map[string]string{"other.yaml": "a: b\n"}})
	l.Must(err)
	l.gitCmd("update-ref", "refs/heads/auto", other)
	run("reset")
	if got := l.gitCmd("rev-parse", "auto^"); got != other || l.gitCmd("rev-parse", "auto:dep.yaml") != l.gitCmd("rev-parse", tip+":dep.yaml") {
		t.Errorf("the branch builds on %s, want %s", got, other)
	}
	// Without the branch to check out nothing is done, and all is well when it is back.
	l.gitCmd("symbolic-ref", "HEAD", "refs/heads/none")
	l.gitCmd("update-ref", "-d", "refs/heads/main")
	l.patch(automation(l, "auto"), `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"gone"}}}`)
	l.says("auto", "couldn't find remote ref \"refs/heads/main\"; correct spec.git.checkout.ref or spec.ref of the GitRepository")
	l.gitCmd("update-ref", "refs/heads/main", main)
	l.update("auto", "ready again", func(o *imagev1.ImageUpdateAutomation) bool { return isReady(o) })
}
