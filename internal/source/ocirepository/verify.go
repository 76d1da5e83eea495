package ocirepository

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/source/trust"
	"github.com/gitops-toolkit/flux/internal/verify"
)

// trusted is spec.verify, nil if there is none.
func trusted(obj *sourcev1.OCIRepository) *trust.Spec { return trust.OfRepository(obj.Spec.Verify) }

// verdict is a verification that found nothing wrong.
type verdict struct {
	result  verify.Result
	message string
}

func unverified(err error) *attempt.Failure {
	return &attempt.Failure{
		Condition: sourcev1.SourceVerifiedCondition, Status: metav1.ConditionFalse,
		Reason: sourcev1.VerificationErrorReason, Err: err,
	}
}

// trustVersion names the Secrets with keys, "" if the kernel cannot tell.
func (p *poll) trustVersion() string {
	text, _ := access.State(p.registries.Cluster, p.obj.Namespace, "", trusted(p.obj).Secrets())
	return text
}

// question is what a verification answers.
func (p *poll) question(revision string) string {
	return fmt.Sprintf("%d %s%s", p.obj.Generation, revision, p.trustVersion())
}

// proven tells whether the artifact of this revision is known to be signed as the spec asks. After a restart the
// condition is believed: a Secret that changed meanwhile acts with the next revision.
func (p *poll) proven(revision string) bool {
	if trusted(p.obj) == nil {
		return true
	}
	question, k := p.question(revision), remembered(p.req)
	if k.accepted != "" {
		return k.accepted == question
	}
	c := p.obj.Status.Conditions.Get(sourcev1.SourceVerifiedCondition)
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != p.obj.Generation || !current(p.obj, revision) {
		return false
	}
	p.accept(question)
	return true
}

// accept remembers that a question was answered well, or that none is.
func (p *poll) accept(question string) {
	k := remembered(p.req)
	k.accepted = question
	p.req.Remember(&k)
}

// verify looks for a signature of the revision, if the spec wants one.
func (p *poll) verify(ctx context.Context, repo *registry.Repository, revision registry.Revision, f *found) *attempt.Failure {
	spec := trusted(p.obj)
	if spec == nil {
		return nil
	}
	question := p.question(revision.String()) // Before the Secret is read, so that it is never newer than what was read.
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	result, err := p.decide(ctx, spec, repo, revision.Digest)
	if err != nil {
		p.accept("")
		return p.unverified(spec, err)
	}
	p.accept(question)
	f.verified = &verdict{result, "verified signature of revision " + revision.String()}
	return nil
}

func (p *poll) decide(ctx context.Context, spec *trust.Spec, repo *registry.Repository, digest string) (verify.Result, error) {
	verifier, err := spec.Verifier(ctx, p.obj.Namespace, p.Public, func(ctx context.Context, field, name string) (map[string][]byte, error) {
		read := access.Reader{Secrets: p.registries.Cluster, Namespace: p.obj.Namespace}
		secret, err := read.Secret(ctx, field, &meta.LocalObjectReference{Name: name})
		if err != nil {
			return nil, err
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
	case errors.Is(err, verify.ErrTrust):
	case errors.Is(err, verify.ErrUnsigned) && len(spec.Secrets()) > 0:
		err = fmt.Errorf("%w; sign the artifact, or trust its signer in the Secret '%s'", err, p.obj.Namespace+"/"+spec.Secrets()[0])
	case errors.Is(err, verify.ErrUnsigned):
		err = fmt.Errorf("%w; sign the artifact, or trust its signer in spec.verify.matchOIDCIdentity", err)
	default:
		err = explain(p.obj, err)
	}
	return unverified(spec.Failed(err))
}

// settleVerification writes what is known of the signature. A failure writes its own condition.
func settleVerification(req *request, f *found) {
	switch v := f.verified; {
	case trusted(req.Object) == nil, v != nil && v.result == verify.Ignored:
		req.RemoveCondition(sourcev1.SourceVerifiedCondition)
	case v != nil:
		req.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, v.message)
	}
}
