package helmchart_test

import (
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/helmtest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/internal/verify/verifytest"
)

// TestVerifiedChart is offered only with a signature that passes; the last good one stays.
func TestVerifiedChart(t *testing.T) {
	t.Parallel()
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	start(l)
	reg := registrytest.Start(t, registrytest.Options{})
	key, other := verifytest.NewKey(t), verifytest.NewKey(t)
	target := func(digest string) verifytest.Target {
		return verifytest.Target{Repository: reg.Host + "/charts/demo", Digest: digest}
	}
	first := pushChart(t, reg, "charts/demo", "1.0.0", demo(l, "1.0.0"))
	helmtest.Repository(l, "charts", "oci://"+reg.Host+"/charts", func(o repository) { o.Spec.Type = "oci" })
	l.Secret("keys", "release.pub", string(key.PEM))
	create(l, "demo", func(o helmChart) {
		o.Spec.Version = "1.x"
		o.Spec.Verify = &sourcev1.HelmChartVerification{Provider: "cosign", SecretRef: &meta.LocalObjectReference{Name: "keys"}}
	})
	obj, message := sourcetest.Failed[helmChart](l, "demo", "ChartVerificationError")
	if !strings.HasPrefix(message, "chart verification error: failed to verify the signature using provider 'cosign': no matching signatures were found") ||
		obj.Status.Artifact != nil || verified(obj) != "False ChartVerificationError "+message || obj.Status.Conditions.Get("BuildFailed") == nil {
		t.Errorf("unsigned: %s, %+v", message, obj.Status)
	}
	key.SignLegacy(t, target(first))
	obj = sourcetest.Ready[helmChart](l, "demo", "1.0.0")
	if got := verified(obj); got != "True Succeeded verified signature of version 1.0.0" {
		t.Errorf("signed: %s", got)
	}

	// What was verified is not verified again: a look is the list of tags and a HEAD.
	reg.Reset()
	sourcetest.Request[helmChart](l, "demo", "again")
	for _, r := range reg.Requests() {
		if strings.Contains(r.Path, ".sig") || strings.Contains(r.Path, "/blobs/") || strings.Contains(r.Path, "/referrers/") {
			t.Errorf("a verified chart cost %+v", r)
		}
	}

	second := pushChart(t, reg, "charts/demo", "1.1.0", demo(l, "1.1.0"))
	other.SignLegacy(t, target(second))
	l.Patch(&sourcev1.HelmChart{}, "demo", `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"second"}}}`)
	obj, message = sourcetest.Failed[helmChart](l, "demo", "ChartVerificationError")
	if obj.Status.Artifact == nil || obj.Status.Artifact.Revision != "1.0.0" || !strings.Contains(message, "trust its signer in the Secret '"+l.Namespace+"/keys'") {
		t.Errorf("foreign signature: %s, %+v", message, obj.Status.Artifact)
	}
	l.Patch(&sourcev1.HelmChart{}, "demo", `{"spec":{"verify":null}}`)
	if obj = sourcetest.Ready[helmChart](l, "demo", "1.1.0"); verified(obj) != "" {
		t.Errorf("without verify: %s", verified(obj))
	}
}

// verified is the condition in a few words, "" if there is none.
func verified(o helmChart) string {
	c := o.Status.Conditions.Get("SourceVerified")
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason + " " + c.Message
}
