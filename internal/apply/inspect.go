package apply

import (
	"context"
	"reflect"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// decision is what is to be done with one object.
type decision int

const (
	decideUnchanged decision = iota
	decideSkip
	decideCreate
	decideConfigure
	decideRecreate
	decideDone // written already, as the prerequisite of another object
)

// writes says that carrying the decision out is a request.
func (d decision) writes() bool {
	return d == decideCreate || d == decideConfigure || d == decideRecreate
}

// atRest is what a decision that writes nothing is noted as.
func (d decision) atRest() Action {
	if d == decideSkip {
		return Skipped
	}
	return Unchanged
}

// verdict is what the validation of one object found.
type verdict struct {
	item     *item
	decision decision
	mapping  Mapping
	// payload is what will be written: the desired object but for ignored fields.
	payload *unstructured.Unstructured
	// dry is the answer to the dry-run, live the object where it had to be read.
	dry, live *unstructured.Unstructured
	// answer is the latest known state: the dry-run's or the write's. It is dropped where nothing
	// waits for it, as a stage may hold thousands of objects.
	answer *unstructured.Unstructured
	// version is the live resourceVersion at the dry-run.
	version string
	// reclaim says that the tracker asked for the write, bySight that it did without a dry-run: version is then what
	// the tracker saw.
	reclaim, bySight bool
	// watchable says that no policy lets live values be.
	watchable bool
	// healthy says that the last answer shows the object to be current.
	healthy bool
	// fixed says that the server refuses to change what it would take in a new object.
	fixed bool
	// cleanup are the managers to take over, nil when there are none.
	cleanup *cleanup
	// err is the server's refusal, phase when it came, where that is not plain.
	err   error
	phase string
}

// inspectAll validates objects side by side. The error is about the way to the server; refusals are
// in the verdicts.
func (p *pass) inspectAll(ctx context.Context, items []*item) ([]*verdict, error) {
	verdicts := make([]*verdict, len(items))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.Concurrency)
	for i, it := range items {
		if v := p.known(it); v != nil {
			verdicts[i] = v
			continue
		}
		g.Go(func() error {
			v := &verdict{item: it, payload: it.obj}
			verdicts[i] = v
			err := p.inspect(ctx, v)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			v.err = err
			v.digest()
			return nil
		})
	}
	return verdicts, g.Wait()
}

// digest keeps of the answers what later steps need.
func (v *verdict) digest() {
	v.healthy = current(v)
	if v.dry != nil {
		v.version = v.dry.GetResourceVersion()
	}
	v.dry = nil
	if v.decision != decideRecreate && v.err == nil {
		v.live = nil
	}
	if k := v.item.ref.Kind; k != "CustomResourceDefinition" && !strings.HasSuffix(k, "Class") && k != "Namespace" && k != "ClusterRole" {
		v.answer = nil
	}
}

// known answers without a request where policy or the tracker can.
func (p *pass) known(it *item) *verdict {
	if p.policies.Untouched(it.obj) {
		return &verdict{item: it, decision: decideSkip}
	}
	// What the inventory does not name may have been pruned since the tracker last saw it.
	if p.Full || p.Tracker == nil || !p.previous[it.id] || p.Tracker.Reclaim(it.id) || !p.Tracker.InStep(it.id, it.hash) {
		return nil
	}
	if p.policies.CreateOnly(it.obj) {
		return &verdict{item: it, decision: decideSkip}
	}
	return &verdict{item: it, decision: decideUnchanged}
}

// inspect validates one object and decides what to do with it.
func (p *pass) inspect(ctx context.Context, v *verdict) error {
	var err error
	if v.mapping, err = p.mappingOf(ctx, v.item.ref); err != nil {
		return err
	}
	if v.mapping.Namespaced && v.item.ref.Namespace == "" {
		return noNamespace(v.item.ref)
	}
	v.watchable, v.reclaim = p.watchable(v.item), p.Tracker != nil && p.Tracker.Reclaim(v.item.id)
	if p.correctable(v) {
		v.decision = decideConfigure
		return nil
	}
	return p.ask(ctx, v)
}

// correctable decides without a request about an object of which the tracker has seen all that a dry-run would tell.
func (p *pass) correctable(v *verdict) bool {
	c, ok := p.Tracker.(Corrector)
	if !ok || p.Full || !v.reclaim || !v.watchable {
		return false
	}
	v.version, v.bySight = c.Correctable(v.item.id, v.item.hash)
	return v.bySight
}

// ask decides by a dry-run.
func (p *pass) ask(ctx context.Context, v *verdict) error {
	v.bySight = false
	dry, err := p.dryRun(ctx, v)
	if err != nil && p.migrate(ctx, v, err) {
		dry, err = p.dryRun(ctx, v)
	}
	if err != nil {
		return p.refused(ctx, v, err)
	}
	v.dry, v.answer = dry, dry
	if dry.GetResourceVersion() == "" {
		v.decision = decideCreate
		return nil
	}
	if p.policies.Untouched(dry) || p.policies.CreateOnly(v.item.obj) {
		v.decision = decideSkip
		p.noteThere(v)
		return nil
	}
	if !p.policies.merge(v.item.obj) && !p.policies.merge(dry) {
		v.cleanup = p.takeOver(dry)
	}
	return p.decide(ctx, v)
}

// watchable reports whether the owner's policies for an object leave no live value alone.
func (p *pass) watchable(it *item) bool {
	return len(p.rulesFor(it.obj)) == 0 && !p.policies.merge(it.obj) && !p.policies.CreateOnly(it.obj)
}

// mappingOf finds where the server keeps a kind. One whose CRD came with the set may not be in the
// server's discovery yet.
func (p *pass) mappingOf(ctx context.Context, ref Ref) (Mapping, error) {
	deadline := time.Now().Add(servedWithin)
	var w pause
	for {
		m, err := p.Client.mapper.For(ctx, ref.GroupVersionKind)
		if !meta.IsNoMatchError(err) || !p.crds[ref.GroupKind()] || time.Now().After(deadline) || !w.wait(ctx) {
			return m, err
		}
	}
}

// servedWithin is how long a kind may take to be served after its CRD is established.
const servedWithin = 10 * time.Second

// dryRun asks the server what an apply would give. A kind whose CRD came with the set may need a
// moment to be served.
func (p *pass) dryRun(ctx context.Context, v *verdict) (*unstructured.Unstructured, error) {
	deadline := time.Now().Add(servedWithin)
	var w pause
	for {
		dry, err := p.send(ctx, v.mapping, v.item.obj, true)
		if !notServed(err) || !p.crds[v.item.ref.GroupKind()] || time.Now().After(deadline) || !w.wait(ctx) {
			return dry, err
		}
	}
}

// decide tells a drifted or changed object from one that is as desired, reading the live object
// only where the record of our last write leaves it open.
func (p *pass) decide(ctx context.Context, v *verdict) error {
	rules := p.rulesFor(v.item.obj)
	v.watchable = v.watchable && !p.policies.merge(v.dry)
	record, have := p.record(v.item.id)
	if len(rules) == 0 {
		if d, sure := p.compareRecord(v, record, have); sure {
			v.decision = d
			p.noteUnchanged(v)
			return nil
		}
	}
	live, err := p.Client.resource(v.mapping, v.item.ref.Namespace).Get(ctx, v.item.ref.Name, getOptions)
	if apierrors.IsNotFound(err) {
		v.decision = decideCreate // deleted since the dry-run
		return nil
	}
	if err != nil {
		return err
	}
	v.live = live
	if p.policies.Untouched(live) {
		v.decision = decideSkip
		return nil
	}
	if p.mustClean(v) || v.reclaim || drifted(v.dry, live, rules) {
		v.decision = decideConfigure
		v.payload = adopt(v.item.obj, live, rules, p.FieldManager)
	}
	p.noteUnchanged(v)
	return nil
}

// compareRecord decides from what is remembered of the last write; sure is false when it cannot.
func (p *pass) compareRecord(v *verdict, r Record, have bool) (d decision, sure bool) {
	if p.mustClean(v) || v.reclaim {
		return decideConfigure, true
	}
	if !have || r.UID != v.dry.GetUID() {
		return 0, false
	}
	if !r.Desired.IsZero() && r.Desired != v.item.hash {
		return decideConfigure, true
	}
	if r.ResourceVersion == v.dry.GetResourceVersion() && !r.Content.IsZero() {
		if r.Content == contentHash(v.dry) {
			return decideUnchanged, true
		}
		return decideConfigure, true
	}
	// The server stamps our entry when an apply would change anything. Its clock has a resolution
	// of a second, so an entry that is younger than two proves nothing.
	if !r.Entry.IsZero() && r.Entry == EntryHash(v.dry, p.FieldManager) && time.Since(r.At) > 2*time.Second {
		return decideUnchanged, true
	}
	return 0, false
}

// drifted reports whether live differs from the dry-run's result in anything but ignored fields,
// status and metadata other than labels and annotations.
func drifted(dry, live *unstructured.Unstructured, rules []ignoreRule) bool {
	if len(rules) > 0 {
		dry, live = strip(dry, rules), strip(live, rules)
	}
	return !reflect.DeepEqual(comparable(dry), comparable(live))
}

// refused looks at why a dry-run failed: a live object may be exempt, or may be recreated.
func (p *pass) refused(ctx context.Context, v *verdict, refusal error) error {
	if transient(refusal) || apierrors.IsNotFound(refusal) || meta.IsNoMatchError(refusal) {
		if notServed(refusal) {
			p.Client.mapper.Forget() // the kind went away: the next pass looks again
		}
		return refusal
	}
	live, err := p.Client.resource(v.mapping, v.item.ref.Namespace).Get(ctx, v.item.ref.Name, getOptions)
	if err != nil {
		return refusal
	}
	v.live = live
	if p.policies.Untouched(live) || p.policies.CreateOnly(v.item.obj) {
		v.decision = decideSkip
		return nil
	}
	if !p.mayForce(v) {
		v.fixed = p.fixedFields(ctx, v, refusal)
		return refusal
	}
	if !immutable(refusal) {
		return refusal
	}
	if err := p.probe(ctx, v); err != nil {
		return refusal
	}
	v.decision = decideRecreate
	return nil
}

func (p *pass) mayForce(v *verdict) bool {
	return p.Force || p.policies.Force(v.item.obj) || p.policies.Force(v.live)
}

func (p *pass) record(id ID) (Record, bool) {
	if p.Tracker == nil {
		return Record{}, false
	}
	return p.Tracker.Record(id)
}
