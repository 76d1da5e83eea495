package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// poll is one look at the bucket, with what follows from it. It is a background job.
type poll struct {
	*controller
	req    *request
	obj    *sourcev1.Bucket
	mirror *mirror
}

// found is what a poll came to; it is filled as far as the poll got.
type found struct {
	// artifact is to be advertised: the one of before, a new one, or none.
	artifact *meta.Artifact
	// url is the stable address of the artifact.
	url string
	// revision of the bucket, "" if that is not known.
	revision string
	// objects of which the artifact was made by this poll.
	objects int
	// outdated says that the bucket has another revision than the artifact of before.
	outdated bool
	// stored says that artifact was made by this poll.
	stored bool
}

func (c *controller) newPoll(req *request) *poll {
	return &poll{controller: c, req: req, obj: req.Object}
}

// lane is the host that the poll may have to wait for: one that hangs stops no poll of another.
func (p *poll) lane() string { return host(p.obj) }

// key names the desire: other credentials overtake a poll that hangs on the old ones.
func (p *poll) key() string {
	versions, _ := p.versions(p.obj)
	return "poll/" + versions
}

// run is the job. The value is always a *found, the error a *failure.
func (p *poll) run(ctx context.Context) (any, error) {
	f := &found{url: p.obj.Status.URL}
	if fail := p.look(ctx, f); fail != nil {
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), kernel.ErrSuperseded) {
			return f, context.Cause(ctx)
		}
		return f, fail
	}
	return f, nil
}

func (p *poll) look(ctx context.Context, f *found) *failure {
	progress, fail := p.checkStored(ctx, f)
	if fail != nil {
		return fail
	}
	if f.artifact == nil {
		p.req.Progress(kernel.Progress{Message: progress, Ready: progress})
	}
	remote, fail := p.storage(ctx, p.req)
	if fail != nil {
		return fail
	}
	if p.mirror, fail = p.openMirror(); fail != nil {
		return fail
	}
	objects, file, fail := p.list(ctx, remote)
	if fail != nil {
		return fail
	}
	f.revision = revisionOf(p.algorithm(), objects)
	if f.artifact != nil && p.same(objects) {
		f.revision = f.artifact.Revision
		return p.offer(ctx, f)
	}
	f.outdated = !current(p.obj, f.revision)
	p.announce(f)
	if fail := p.take(ctx, remote, objects, file, f); fail != nil {
		return fail
	}
	return p.offer(ctx, f)
}

func (p *poll) algorithm() artifact.Algorithm {
	if p.Algorithm == "" {
		return artifact.SHA256
	}
	return p.Algorithm
}

// same tells whether the artifact is of these objects, by the algorithm that it was made with.
func (p *poll) same(objects []object) bool {
	have, err := artifact.ParseDigest(p.obj.Status.Artifact.Revision)
	return err == nil && current(p.obj, revisionOf(have.Algorithm(), objects))
}

// announce tells that an artifact is on its way, for the case that it takes long.
func (p *poll) announce(f *found) {
	if !f.outdated {
		return
	}
	message := building(f)
	p.req.Progress(kernel.Progress{Message: message, Ready: message, Conditions: outdatedConditions(f)})
}

// checkStored looks whether the artifact that the status advertises is still what it says. It returns what to tell of the
// progress if it is not.
func (p *poll) checkStored(ctx context.Context, f *found) (progress string, fail *failure) {
	if p.obj.Status.Artifact == nil {
		return "building artifact", nil
	}
	ref, err := p.Artifacts.Check(ctx, refOf(p.obj.Status.Artifact))
	var damage *store.IntegrityError
	switch {
	case err == nil:
		f.artifact = p.obj.Status.Artifact.DeepCopy()
		f.artifact.URL = ref.URL
		return "", nil
	case errors.As(err, &damage):
		p.req.Event(kernel.Warning("ArtifactVerificationFailed", fmt.Sprintf("failed to verify integrity of artifact: %s", err), nil))
		return "building artifact: disappeared from storage", nil
	case errors.Is(err, store.ErrMissing), errors.Is(err, store.ErrName):
		return "building artifact: disappeared from storage", nil
	}
	f.artifact = p.obj.Status.Artifact
	return "", storageFailed(sourcev1.StatOperationFailedReason, fmt.Errorf("unable to check the stored artifact: %w", err))
}

// list returns the objects that become files, and the file with the patterns if there is one. It is the operation that
// spec.timeout limits, as is fetching.
func (p *poll) list(ctx context.Context, remote storage) ([]object, *patterns, *failure) {
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	var all []object
	var own *object // the file with the patterns as the listing has it
	err := remote.list(ctx, p.obj.Spec.Prefix, func(o object) error {
		if len(all) == maxObjects {
			return fmt.Errorf("the bucket has more than %d objects; narrow spec.prefix", maxObjects)
		}
		if o.Key == ignore.FileName {
			own = &o
		}
		all = append(all, o)
		return nil
	})
	if err != nil {
		return nil, nil, p.listFailed(err, len(all) > 0)
	}
	file, err := p.patterns(ctx, remote, own)
	if err != nil {
		return nil, nil, p.fetchFailed(err)
	}
	var body io.Reader
	if file != nil {
		body = bytes.NewReader(file.text)
	}
	rules, err := rulesOf(body, p.obj.Spec.Ignore)
	if err != nil {
		return nil, nil, fetchFailed(sourcev1.SourceIgnoreErrorReason, err)
	}
	kept := all[:0]
	for _, o := range all {
		if wanted(o.Key, rules) {
			kept = append(kept, o)
		}
	}
	return kept, file, nil
}

// patterns are the bucket's own ignore rules.
type patterns struct {
	text []byte
	kept kept
}

// patterns fetches the file with the patterns at the root of the bucket. A listing of the whole bucket says whether there
// is one, and whether it is the one that was fetched; below a prefix it has to be asked for.
func (p *poll) patterns(ctx context.Context, remote storage, listed *object) (*patterns, error) {
	o := object{Key: ignore.FileName}
	if listed != nil {
		o = *listed
		if k, found := p.mirror.have(o.Key, o.ETag); found {
			if text, err := p.readKept(k); err == nil {
				return &patterns{text: text, kept: k}, nil
			}
		}
	} else if p.obj.Spec.Prefix == "" {
		return nil, nil
	}
	body, etag, err := remote.open(ctx, o)
	switch {
	case errors.Is(err, errGone), listed == nil && isDenied(err):
		return nil, nil // A storage that may not be listed answers so for what is not there.
	case err != nil:
		return nil, fmt.Errorf("failed to get Etag for '%s' object: %w", o.Key, err)
	}
	text, err := io.ReadAll(io.LimitReader(body, ignore.MaxFileBytes+1))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	k, err := p.mirror.put(o.Key, etag, bytes.NewReader(text))
	return &patterns{text: text, kept: k}, err
}

func (p *poll) readKept(k kept) (text []byte, err error) {
	f, err := p.mirror.open(k)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, ignore.MaxFileBytes+1))
}

// listFailed is the failure of a listing: before its first answer nobody knows whether the bucket is there.
func (p *poll) listFailed(err error, begun bool) *failure {
	name := p.obj.Spec.BucketName
	switch {
	case errors.Is(err, errNoBucket):
		p.req.Remember(nil)
		return fetchFailed(sourcev1.BucketOperationFailedReason, fmt.Errorf("bucket '%s' not found", name))
	case begun:
		return p.fetchFailed(err)
	}
	p.req.Remember(nil)
	return fetchFailed(sourcev1.BucketOperationFailedReason,
		fmt.Errorf("failed to confirm existence of '%s' bucket: %w", name, explain(p.obj, err)))
}

func (p *poll) fetchFailed(err error) *failure {
	var own localError
	if errors.As(err, &own) {
		return storageFailed(sourcev1.DirectoryCreationFailedReason, explainArchive(own.error))
	}
	p.req.Remember(nil)
	return fetchFailed(sourcev1.BucketOperationFailedReason,
		fmt.Errorf("fetch from bucket '%s' failed: %w", p.obj.Spec.BucketName, explain(p.obj, err)))
}
