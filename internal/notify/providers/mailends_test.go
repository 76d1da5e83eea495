package providers

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
)

// What a mail has told is remembered for the Provider and the Alert that were there, not for others of the same names; and
// what nobody can be told of any more is not looked for.
func TestMailsOfOthers(t *testing.T) {
	t.Parallel()
	r := startRelay(t, "none")
	c, s := r.sender(t, "smtp", nil, true)
	for _, name := range []string{"a", "b"} {
		if err := s.Send(t.Context(), about(name, "error", "UpgradeFailed", "no", "main@sha1:"+hash)); err != nil {
			t.Fatal(err)
		}
	}
	m, all := c.Mails, types.NamespacedName{Namespace: "apps", Name: "all"}
	const a, b = "Kustomization/apps/a", "Kustomization/apps/b"
	if !m.Told("provider", "alert-uid", a) || m.Told("another", "alert-uid", a) || m.Told("provider", "another", a) || m.Told("provider", "alert-uid", "Kustomization/apps/c") {
		t.Error("it is not known who was told")
	}
	m.Ending("provider", "alert-uid", b)
	m.Changed()
	m.Settle(all, a)
	m.Settle(all, b)
	if len(m.Failing()) != 0 || m.Told("provider", "alert-uid", a) || m.Told("provider", "alert-uid", b) || !m.Changed() {
		t.Errorf("after all is settled these are looked for: %+v", m.Failing())
	}
	healed := about("b", "info", "UpgradeSucceeded", "well", "main@sha1:"+hash)
	healed.Event.Metadata[alert.KeyTransition] = alert.Resolved
	before := len(r.mails)
	if err := s.Send(t.Context(), healed); err != nil || len(r.mails) != before+1 {
		t.Fatalf("%d mails, %v", len(r.mails), err)
	}
	header, _, _ := parts(t, r.mails[before].data)
	if got := header.Get("Subject"); got != "[Flux] Kustomization/apps/b works again at main@sha1:41c0484d5932" {
		t.Errorf("what was on its way came as %q", got)
	}
}

// An Alert that sends to another Provider, or that was made anew, has told of nothing.
func TestMailsForget(t *testing.T) {
	t.Parallel()
	r := startRelay(t, "none")
	c, s := r.sender(t, "smtp", nil, true)
	if err := s.Send(t.Context(), about("a", "error", "UpgradeFailed", "no", "main@sha1:"+hash)); err != nil {
		t.Fatal(err)
	}
	forget := func(provider, alert types.UID) int {
		c.Mails.Forget(func(p, a types.UID) bool { return p == provider && a == alert })
		return len(c.Mails.Failing())
	}
	if left := forget("provider", "alert-uid"); left != 1 {
		t.Errorf("%d are left of what holds", left)
	}
	if left := forget("provider", "new"); left != 0 {
		t.Errorf("%d are left of an Alert that was made anew", left)
	}
	if err := s.Send(t.Context(), about("a", "error", "UpgradeFailed", "no", "main@sha1:"+hash)); err != nil {
		t.Fatal(err)
	}
	if left := forget("new", "alert-uid"); left != 0 {
		t.Errorf("%d are left of another Provider", left)
	}
}
