package helmchart

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/source/trust"
	"github.com/gitops-toolkit/flux/internal/verify"
)

// verdict is a verification that found nothing wrong.
type verdict struct {
	result  verify.Result
	message string
}

// trustVersion names the Secrets with what signatures are verified by, "" if the kernel cannot tell.
func (p *poll) trustVersion() string {
	text, _ := access.State(p.cluster, p.obj.Namespace, "", trust.OfChart(p.obj.Spec.Verify).Secrets())
	return text
}

// verify looks for a signature of the chart if the spec wants one. The same chart is not looked at again while this
// process knows that nothing has changed.
func (p *poll) verify(ctx context.Context, repo *registry.Repository, digest, version string, f *found) *attempt.Failure {
	spec := trust.OfChart(p.obj.Spec.Verify)
	if spec == nil {
		return nil
	}
	secrets := p.trustVersion() // Before they are read, so that it is never newer than what was read.
	question := fmt.Sprintf("%d %s %s", p.obj.Generation, digest, secrets)
	m := p.memory()
	if m.accepted == question && (secrets != "" || len(spec.Secrets()) == 0) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	result, err := p.decide(ctx, spec, repo, digest)
	m.accepted = question
	if err != nil {
		m.accepted = ""
	}
	p.req.Remember(m)
	if err != nil {
		return p.unverified(spec, err)
	}
	f.verified = &verdict{result, "verified signature of version " + version}
	return nil
}

func (p *poll) decide(ctx context.Context, spec *trust.Spec, repo *registry.Repository, digest string) (verify.Result, error) {
	verifier, err := spec.Verifier(ctx, p.obj.Namespace, p.Public, func(ctx context.Context, field, name string) (map[string][]byte, error) {
		key := types.NamespacedName{Namespace: p.obj.Namespace, Name: name}
		secret, err := p.cluster.GetSecret(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("failed to get secret '%s': %w; create it, or correct %s", key, err, field)
		}
		return secret.Data, nil
	})
	if err != nil {
		return 0, err
	}
	return verifier.Verify(ctx, repo, digest)
}

// unverified words a failure, with what to do next.
func (p *poll) unverified(spec *trust.Spec, err error) *attempt.Failure {
	switch {
	case errors.Is(err, verify.ErrUnsigned) && len(spec.Secrets()) > 0:
		err = fmt.Errorf("%w; sign the chart, or trust its signer in the Secret '%s/%s'", err, p.obj.Namespace, spec.Secrets()[0])
	case errors.Is(err, verify.ErrUnsigned):
		err = fmt.Errorf("%w; sign the chart, or trust its signer in spec.verify.matchOIDCIdentity", err)
	}
	return buildFailed(chartVerification, spec.Failed(err))
}
