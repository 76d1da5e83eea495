package helm_test

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
)

// What a failed upgrade made is removed with cleanupOnFail, and stays without.
func TestCleanupOnFail(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", choices())
	for name, cleanup := range map[string]bool{"cleaned": true, "kept": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.with(t)
			l.create(name, func(s *spec) { s.Upgrade = &helmv2.Upgrade{CleanupOnFail: cleanup} })
			l.ready(name, 1)
			l.update(name, func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"fresh":true,"invalid":true}`) })
			l.failed(name, "UpgradeFailed")
			present("-fresh", !cleanup)(t, l, name)
		})
	}
}

// undoing is a rollback with an option.
type undoing struct {
	// values are those of the first revision, then those of the upgrade that fails.
	values, then string
	set          helmv2.Rollback
	client       bool // the first revision is applied from the client's side
	// fails is part of the message with which the rollback fails; it succeeds where empty.
	fails string
	check func(*testing.T, *lab, string)
}

// The options of a rollback, after an upgrade that fails; beside each stands the same without it.
func TestRollbackOptions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", choices())
	foreign := func(want bool) func(*testing.T, *lab, string) {
		return func(t *testing.T, l *lab, name string) {
			if got := l.configMap(name)["foreign"] == "yes"; got != want {
				t.Errorf("what others wrote is kept: %t, want %t", got, want)
			}
		}
	}
	method := func(want string) func(*testing.T, *lab, string) {
		return func(t *testing.T, l *lab, name string) {
			if got := l.readRevision(t, name, 3).ApplyMethod; got != want {
				t.Errorf("applied by %q, want %q", got, want)
			}
		}
	}
	made := func(want bool) func(*testing.T, *lab, string) {
		return func(t *testing.T, l *lab, name string) {
			// The rollback is tried again and again, and makes the object anew each time.
			l.waitFor("the rollback to leave what it made, or not", func(context.Context) bool { return (l.configMap(name+"-fresh") != nil) == want })
		}
	}
	const bad = `{"invalid":true}`
	for name, c := range map[string]undoing{
		"hooks":       {values: `{"hooks":"pre-rollback"}`, then: bad, check: present("-hook", true)},
		"nohooks":     {values: `{"hooks":"pre-rollback"}`, then: bad, set: helmv2.Rollback{DisableHooks: true}, check: present("-hook", false)},
		"timeout":     {values: `{"deployment":1}`, then: bad, set: helmv2.Rollback{Timeout: shortly()}, fails: "timeout"},
		"nowait":      {values: `{"deployment":1}`, then: bad, set: helmv2.Rollback{DisableWait: true}},
		"jobs":        {values: `{"job":"plain"}`, then: bad, set: helmv2.Rollback{Timeout: shortly()}, fails: "Job"},
		"nojobs":      {values: `{"job":"plain"}`, then: bad, set: helmv2.Rollback{DisableWaitForJobs: true}},
		"force":       {values: `{}`, then: bad, client: true, set: helmv2.Rollback{Force: true}, check: foreign(false)},
		"noforce":     {values: `{}`, then: bad, client: true, check: foreign(true)},
		"as-released": {values: `{}`, then: bad, client: true, check: method("csa")},
		"server":      {values: `{}`, then: bad, client: true, set: helmv2.Rollback{ServerSideApply: "enabled"}, check: method("ssa")},
		"client":      {values: `{}`, then: bad, set: helmv2.Rollback{ServerSideApply: "disabled"}, check: method("csa")},
		// The hook leaves a Deployment that the rollback cannot change.
		"cleaned": {
			values: `{"deployment":1,"app":"first","fresh":true}`, then: `{"rival":"post-upgrade"}`,
			set: helmv2.Rollback{CleanupOnFail: true}, fails: "field is immutable", check: made(false),
		},
		"left": {values: `{"deployment":1,"app":"first","fresh":true}`, then: `{"rival":"post-upgrade"}`, fails: "field is immutable", check: made(true)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.run(t, l.with(t), name)
		})
	}
}

func (c *undoing) run(t *testing.T, l *lab, name string) {
	l.create(name, func(s *spec) {
		s.Timeout, s.Values, s.Rollback = patient(), values(t, c.values), &c.set
		s.Install = &helmv2.Install{DisableWait: true, DisableWaitForJobs: true, ServerSideApply: new(!c.client)}
		s.Upgrade = &helmv2.Upgrade{DisableWait: true, DisableWaitForJobs: true, Remediation: &helmv2.UpgradeRemediation{RemediateLastFailure: new(true)}}
	})
	l.ready(name, 1)
	l.edit(name, "foreign", "yes")
	l.update(name, func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, c.then) })
	want := metav1.ConditionTrue
	if c.fails != "" {
		want = metav1.ConditionFalse
	}
	hr := l.until(name, "remediated", func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, helmv2.RemediatedCondition)
		return c != nil && c.Status == want
	})
	if got := condition(hr, helmv2.RemediatedCondition); !strings.HasPrefix(got.Reason, "Rollback") || !strings.Contains(got.Message, c.fails) {
		t.Errorf("Remediated is %+v, want %q in it", got, c.fails)
	}
	if c.check != nil {
		c.check(t, l, name)
	}
}

// The options of an uninstall.
func TestUninstallOptions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", choices())
	for name, c := range map[string]struct {
		set   helmv2.Uninstall
		check func(*testing.T, *lab, string)
	}{
		"hooks":   {helmv2.Uninstall{}, present("-hook", true)},
		"nohooks": {helmv2.Uninstall{DisableHooks: true}, present("-hook", false)},
		"keep": {helmv2.Uninstall{KeepHistory: true}, func(t *testing.T, l *lab, name string) {
			if got := l.storedRevisions(name); got["1"] != "uninstalled" {
				t.Errorf("storage holds %v", got)
			}
		}},
		"orphan": {helmv2.Uninstall{DeletionPropagation: new("orphan"), DisableWait: true}, func(t *testing.T, l *lab, name string) {
			sets := &appsv1.ReplicaSetList{}
			if err := l.client.List(t.Context(), sets, client.InNamespace(l.namespace), client.MatchingLabels{"app": name}); err != nil || len(sets.Items) != 1 {
				t.Errorf("the ReplicaSet is gone: %v", err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.with(t)
			l.create(name, func(s *spec) {
				s.Uninstall = &c.set
				s.Install = &helmv2.Install{DisableWait: true}
				s.Values = values(t, `{"hooks":"pre-delete","deployment":1,"app":"`+name+`"}`)
			})
			l.ready(name, 1)
			l.waitFor("the ReplicaSet of "+name, func(ctx context.Context) bool {
				sets := &appsv1.ReplicaSetList{}
				return l.client.List(ctx, sets, client.InNamespace(l.namespace), client.MatchingLabels{"app": name}) == nil && len(sets.Items) == 1
			})
			l.delete(name)
			l.gone(name)
			present("", false)(t, l, name)
			c.check(t, l, name)
		})
	}
}

// An object that does not go keeps an uninstall waiting for its own timeout, or not at all.
func TestUninstallWaits(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", choices())
	for name, set := range map[string]helmv2.Uninstall{"timeout": {Timeout: shortly()}, "nowait": {DisableWait: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.with(t)
			l.create(name, func(s *spec) { s.Timeout, s.Uninstall, s.Values = patient(), &set, values(t, `{"held":true}`) })
			l.ready(name, 1)
			l.delete(name)
			free := func() {
				held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name + "-held"}}
				_ = l.client.Patch(context.Background(), held, mergePatch(`{"metadata":{"finalizers":null}}`))
			}
			t.Cleanup(free)
			if !set.DisableWait {
				if _, message := l.failed(name, "UninstallFailed"); !strings.Contains(message, "ConfigMap/"+l.namespace+"/"+name+"-held") {
					t.Errorf("Ready says %q", message)
				}
				free()
			}
			l.gone(name)
			present("-held", set.DisableWait)(t, l, name)
		})
	}
}

// An object that the account may not even see keeps its release, which is uninstalled once it may; upstream forgets both.
func TestUninstallOfWhatCannotBeSeen(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "tenant"}}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "tenant"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, Verbs: []string{"*"}},
	}}
	binding := &rbacv1.RoleBinding{ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: l.namespace, Name: "tenant"}}}
	for _, o := range []client.Object{account, role, binding} {
		if err := l.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	l.create("app", func(s *helmv2.HelmReleaseSpec) { s.ServiceAccountName = "tenant" })
	l.ready("app", 1)
	allow := func(resources ...string) {
		t.Helper()
		role.Rules[0].Resources = resources
		if err := l.client.Update(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}
	allow("secrets")
	l.delete("app")
	if _, message := l.failed("app", "UninstallFailed"); !strings.Contains(message, "see whose ConfigMap/"+l.namespace+"/app is: ") || !strings.Contains(message, "forbidden") {
		t.Errorf("Ready says %q", message)
	}
	if len(l.storedRevisions("app")) == 0 {
		t.Error("the release is forgotten while its object stands")
	}
	allow("secrets", "configmaps")
	l.gone("app")
	if l.configMap("app") != nil {
		t.Error("the object is still there")
	}
}

// The options of remediation: what is done after the last failure, how an upgrade is undone, and whether tests count.
func TestRemediationOptions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", choices())
	for name, c := range map[string]struct {
		set      func(*spec)
		values   string
		then     string
		released string // status of the first revision at the end, "" when there is none
		reason   string // of Ready at the end
	}{
		"install-left": {values: `{"invalid":true}`, released: "failed", reason: "InstallFailed"},
		"install-last": {
			values: `{"invalid":true}`, reason: "UninstallSucceeded",
			set: func(s *spec) {
				s.Install = &helmv2.Install{Remediation: &helmv2.InstallRemediation{RemediateLastFailure: new(true)}}
			},
		},
		"upgrade-left": {
			values: `{}`, then: `{"invalid":true}`, released: "superseded", reason: "RollbackSucceeded",
			set: func(s *spec) {
				s.Upgrade = &helmv2.Upgrade{Remediation: &helmv2.UpgradeRemediation{Retries: 1}}
			},
		},
		"upgrade-last-not": {
			values: `{}`, then: `{"invalid":true}`, released: "superseded", reason: "UpgradeFailed",
			set: func(s *spec) {
				s.Upgrade = &helmv2.Upgrade{Remediation: &helmv2.UpgradeRemediation{Retries: 1, RemediateLastFailure: new(false)}}
			},
		},
		"test-counts": {values: `{"job":"test"}`, released: "deployed", reason: "TestFailed", set: func(s *spec) {
			s.Test = &helmv2.Test{Enable: true, Timeout: shortly(), IgnoreFailures: true}
			s.Install = &helmv2.Install{Remediation: &helmv2.InstallRemediation{IgnoreTestFailures: new(false)}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.with(t)
			l.create(name, func(s *spec) {
				s.Values = values(t, c.values)
				if c.set != nil {
					c.set(s)
				}
			})
			if c.then != "" {
				l.ready(name, 1)
				l.update(name, func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, c.then) })
			}
			hr, _ := l.stalled(name, "RetriesExceeded")
			if got := condition(hr, "Ready").Reason; got != c.reason {
				t.Errorf("Ready for %s, want %s", got, c.reason)
			}
			if got := l.storedRevisions(name)["1"]; got != c.released {
				t.Errorf("the first revision is %q, want %q", got, c.released)
			}
		})
	}
	// An upgrade that is undone by an uninstall is followed by an install of what is wanted.
	t.Run("upgrade-uninstall", func(t *testing.T) {
		t.Parallel()
		l, name := l.with(t), "upgrade-uninstall"
		l.create(name, func(s *spec) {
			s.Values = values(t, `{"deployment":1,"app":"first"}`)
			s.Install = &helmv2.Install{DisableWait: true}
			s.Upgrade = &helmv2.Upgrade{DisableWait: true, Remediation: &helmv2.UpgradeRemediation{Retries: 1, Strategy: "uninstall"}}
		})
		l.ready(name, 1)
		l.update(name, func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"deployment":1,"app":"second"}`) })
		l.event(name, "UninstallSucceeded")
		hr := l.ready(name, 1)
		if got := hr.Status.LastAttemptedReleaseAction; got != "install" {
			t.Errorf("the last action was %s", got)
		}
	})
}
