package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
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
	attempt.Found
	// revision of the bucket, "" if that is not known.
	revision string
	// objects of which the artifact was made by this poll.
	objects int
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

// run is the job. The value is always a *found, the error a *attempt.Failure.
func (p *poll) run(ctx context.Context) (any, error) {
	f := &found{Found: attempt.Found{URL: p.obj.Status.URL}}
	return attempt.Result(ctx, f, p.look(ctx, f))
}

func (p *poll) look(ctx context.Context, f *found) *attempt.Failure {
	if fail := p.shelf(p.obj).Check(ctx, p.req, p.obj.Status.Artifact, &f.Found); fail != nil {
		return fail
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
	if f.Artifact != nil && p.same(objects) {
		f.revision = f.Artifact.Revision
		return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
	}
	if !current(p.obj, f.revision) {
		f.Outdate(p.req, sourcev1.NewRevisionReason, fmt.Sprintf("new upstream revision '%s'", f.revision))
	}
	if fail := p.take(ctx, remote, objects, file, f); fail != nil {
		return fail
	}
	return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
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

// list returns the objects that become files, and the file with the patterns if there is one. It is the operation that
// spec.timeout limits, as is fetching.
func (p *poll) list(ctx context.Context, remote storage) ([]object, *patterns, *attempt.Failure) {
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
		return nil, nil, attempt.Fetch(sourcev1.SourceIgnoreErrorReason, err)
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
func (p *poll) listFailed(err error, begun bool) *attempt.Failure {
	name := p.obj.Spec.BucketName
	switch {
	case errors.Is(err, errNoBucket):
		p.req.Remember(nil)
		return attempt.Fetch(sourcev1.BucketOperationFailedReason, fmt.Errorf("bucket '%s' not found", name))
	case begun:
		return p.fetchFailed(err)
	}
	p.req.Remember(nil)
	return attempt.Fetch(sourcev1.BucketOperationFailedReason,
		fmt.Errorf("failed to confirm existence of '%s' bucket: %w", name, explain(p.obj, err)))
}

func (p *poll) fetchFailed(err error) *attempt.Failure {
	var own localError
	if errors.As(err, &own) {
		return unstored("failed to keep the fetched objects", own.error)
	}
	p.req.Remember(nil)
	return attempt.Fetch(sourcev1.BucketOperationFailedReason,
		fmt.Errorf("fetch from bucket '%s' failed: %w", p.obj.Spec.BucketName, explain(p.obj, err)))
}
