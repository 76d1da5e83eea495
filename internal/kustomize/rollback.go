package kustomize

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Rolling back: with the annotation gitops-toolkit.dev/rollback: last-healthy, a revision that fails its health checks is
// replaced by the objects of the last one that passed them. They stay, and drift of them is put back, until there is a
// newer revision or spec, or somebody asks for another attempt.

// RolledBackCondition is True while the objects of an older revision are applied.
const RolledBackCondition = "gitops-toolkit.dev/RolledBack"

const rolledBackReason = "RolledBack"

// rollsBack says that the annotation is set.
func (t *target) rollsBack() bool {
	return strings.EqualFold(t.object.Annotations[rollbackAnnotation], "last-healthy") && t.checksHealth()
}

func (t *target) rollbackKey() string { return "rollback|" + t.desire() }

// good is what was healthy last.
type good struct {
	revision string
	set      apply.Hash
	packed   []byte // the objects; nil after a restart
	key      string // names them on disk, "" when they are not there
	ref      artifact.Ref
}

// keptGood is what a restart needs of it.
type keptGood struct {
	Revision string       `json:"revision"`
	Key      string       `json:"key,omitempty"`
	Ref      artifact.Ref `json:"ref"`
}

// rollback is a revision whose place an older one took.
type rollback struct {
	// desire that failed (see target.full), to the revision that is applied instead.
	desire, to string
	// failure is the text of Healthy, and ready that of Ready.
	failure, ready string
	told           bool
}

// pack keeps objects for a rollback, in memory: they may hold Secrets.
func pack(objects []apply.Object) ([]byte, error) {
	kept := make([]keptObject, len(objects))
	for i, o := range objects {
		kept[i] = keptObject{Origin: o.Origin, Object: o.Object, Sensitive: o.Sensitive}
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if err := errors.Join(json.NewEncoder(w).Encode(kept), w.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func unpack(packed []byte) ([]apply.Object, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return restoreAll(content)
}

// packFor keeps the objects of an attempt that may prove to be healthy.
func (j *job) packFor(objects []apply.Object) {
	if !j.t.rollsBack() {
		return
	}
	packed, err := pack(objects)
	if err != nil {
		j.req.Log.Info("the objects were not kept for a rollback", "cause", err.Error())
	}
	j.result.packed = packed
}

// rememberGood notes a success as what a rollback leads to.
func (c *controller) rememberGood(t *target, mem *memory, a *applied) {
	mem.rollback = nil
	if !t.rollsBack() {
		mem.good = nil
		return
	}
	switch {
	case a.packed != nil:
		mem.good = &good{set: a.set, packed: a.packed}
		if a.built != nil && a.built.key() != "" {
			mem.good.key = a.built.key()
		}
	case mem.good == nil:
		return
	}
	mem.good.revision, mem.good.ref = t.revision(), t.ref
	c.builds.rememberGood(string(t.object.UID), keptGood{Revision: t.revision(), Key: mem.good.key, Ref: t.ref})
}

// goodFor returns what to roll back to, nil when nothing is at hand or it is what has just failed.
func (c *controller) goodFor(t *target, mem *memory, failed apply.Hash) *good {
	if mem.good == nil {
		if k := c.builds.recallGood(string(t.object.UID)); k.Revision != "" {
			mem.good = &good{revision: k.Revision, key: k.Key, ref: k.Ref}
		}
	}
	if mem.good == nil || mem.good.revision == t.revision() || mem.good.set == failed && !failed.IsZero() {
		return nil
	}
	return mem.good
}

// mayRollBack says that an attempt that proved unhealthy is to be replaced, and notes why.
func (c *controller) mayRollBack(t *target, mem *memory, d *done) bool {
	if d == nil || d.health == nil || d.health.err == nil || d.judged || !t.rollsBack() {
		return false
	}
	to := c.goodFor(t, mem, d.applied.set)
	if to == nil {
		return false
	}
	text := d.health.err.Error()
	if d.health.details != "" {
		text += "\n" + d.health.details
	}
	mem.rollback = &rollback{
		desire: t.full(), to: to.revision, failure: text,
		ready: fmt.Sprintf("health check failed after %s: %s", d.health.duration, text),
	}
	return true
}

// standsRolledBack says that an older revision holds the place of the target. After a restart the condition tells.
func (c *controller) standsRolledBack(req *request, t *target, mem *memory) bool {
	if !t.rollsBack() || req.Trigger.Has(kernel.TriggerSpec|kernel.TriggerRequested) {
		return false
	}
	if mem.rollback != nil {
		return mem.rollback.told && mem.rollback.desire == t.full()
	}
	status := &req.Object.Status
	rolled := apimeta.FindStatusCondition(status.Conditions, RolledBackCondition)
	healthy := apimeta.FindStatusCondition(status.Conditions, meta.HealthyCondition)
	ready := apimeta.FindStatusCondition(status.Conditions, meta.ReadyCondition)
	if rolled == nil || rolled.Status != metav1.ConditionTrue || rolled.ObservedGeneration != t.object.Generation || healthy == nil || ready == nil ||
		!strings.HasPrefix(rolled.Message, failedRevision(t)) {
		return false
	}
	failure, to, _ := strings.Cut(ready.Message, rolledBackTo)
	mem.rollback = &rollback{desire: t.full(), to: to, failure: healthy.Message, ready: failure, told: true}
	c.goodFor(t, mem, apply.Hash{})
	return true
}

// failedRevision is how the message of RolledBack begins.
func failedRevision(t *target) string {
	return fmt.Sprintf("Revision %s failed its health checks", t.revision())
}

// rolledBackTo stands between the failure and the revision in the message of Ready.
const rolledBackTo = "\nRolled back to revision "

// rollbackJob applies the objects of the last healthy revision, and prunes what only the failed one has.
func (c *controller) rollbackJob(req *request, t *target, mem *memory) kernel.Job {
	to := *mem.good
	j := &job{
		c: c, req: req, t: t, look: lookUnsure, previous: mem.previous(req), tracking: mem.tracking,
		result: &applied{target: t, attempted: true},
	}
	mem.drift = false
	built := mem.built
	return kernel.Job{Key: t.rollbackKey(), Run: func(ctx context.Context) (any, error) {
		defer j.release()
		j.result.built = built
		err := j.rollBack(ctx, to)
		return j.result, err
	}}
}

func (j *job) rollBack(ctx context.Context, to good) error {
	objects, err := j.goodObjects(ctx, to)
	if err != nil {
		return err
	}
	if j.result.client, err = j.c.clientFor(ctx, j.t.object); err != nil {
		return fmt.Errorf("failed to build kube client: %w", err)
	}
	defer j.tracking.begin()()
	res, err := j.apply(ctx, objects)
	if err != nil {
		return err
	}
	if err := j.prune(ctx, j.stale(res)); err != nil {
		return err
	}
	j.tracking.settle(res.Inventory(), j.look)
	return nil
}

// goodObjects returns the objects that were healthy: from memory, from disk, or built again from the artifact, as long as
// that is still served.
func (j *job) goodObjects(ctx context.Context, to good) ([]apply.Object, error) {
	if to.packed != nil {
		return unpack(to.packed)
	}
	if to.key != "" {
		if objects, ok := j.c.builds.get(to.key); ok {
			return objects, nil
		}
	}
	tree, err := j.c.Artifacts(ctx, to.ref)
	if err != nil {
		return nil, fmt.Errorf("its objects are not at hand any more: %w", err)
	}
	j.tree = tree
	b, err := j.buildNow(ctx, j.variables(ctx), "")
	if err != nil {
		return nil, err
	}
	return b.objects, nil
}

// concludeRollback reports the revision that failed, and what is applied in its place.
func (c *controller) concludeRollback(req *request, t *target, mem *memory, d *done) kernel.Outcome {
	r := mem.rollback
	req.SetCondition(meta.HealthyCondition, metav1.ConditionFalse, meta.HealthCheckFailedReason, r.failure)
	if d.err != nil {
		mem.rollback = nil
		req.RemoveCondition(RolledBackCondition)
		err := fmt.Errorf("%s\nRolling back to revision %s failed: %w", r.ready, r.to, d.err)
		return kernel.Failed(meta.HealthCheckFailedReason, err).WithMetadata(t.metadata())
	}
	message := fmt.Sprintf("%s; revision %s is applied in its place until there is a newer one", failedRevision(t), r.to)
	req.SetCondition(RolledBackCondition, metav1.ConditionTrue, rolledBackReason, message)
	err := errors.New(r.ready + rolledBackTo + r.to)
	outcome := kernel.Failed(meta.HealthCheckFailedReason, err).WithMetadata(t.metadata())
	if r.told {
		return outcome.WithMessage(err.Error()).WithoutEvent()
	}
	r.told = true
	c.snapshot(req, t, d.applied, meta.HealthCheckFailedReason, true)
	return outcome
}

// rememberGood keeps which build was healthy last, for a restart.
func (b *builds) rememberGood(uid string, k keptGood) {
	if b.dir == "" {
		return
	}
	if content, err := json.Marshal(k); err == nil {
		_ = writeFile(b.path("good-"+uid), content) // without it a restart forgets where a rollback leads to
	}
}

func (b *builds) recallGood(uid string) (k keptGood) {
	if b.dir == "" {
		return k
	}
	content, err := os.ReadFile(b.path("good-" + uid))
	if err != nil || json.Unmarshal(content, &k) != nil {
		return keptGood{}
	}
	return k
}
