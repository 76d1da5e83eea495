// Package kernel is the life of one reconciliation, written once for every kind.
//
// A kind supplies its type and three functions (see [Reconciler]): what an object reads, one
// reconciliation, and the clean-up at deletion. A reconciliation returns an [Outcome], a plain
// value. The kernel does the rest in the same way for all: suspend, finalizer, requests by
// annotation, observedGeneration, interval with jitter, timeouts, priorities, back-off,
// background jobs, the index of references, conditions, events, metrics, logs, traces, leader
// election, sharding, probes and a graceful stop.
//
// # One pass
//
// A pass begins when an object is taken from the queue. The kernel takes a private copy of the
// object, handles suspend and deletion, adds the finalizer, records what the object refers to,
// and calls Reconcile. Reconcile changes Status of the copy and returns an Outcome; one table
// (table.go) maps it to conditions, events, log line and the time of the next pass. When
// anything changed, one merge patch of /status is written at the end, and only then do
// observedGeneration and lastHandledReconcileAt move: they never precede the verdict.
//
// # Work that blocks
//
// Workers never wait. Whatever blocks (network, disk, waiting for health) is a [Job]: Reconcile
// returns [Working] with it and ends; a bounded pool runs the job, one for each object; its end
// wakes the object, and the next Reconcile finds the result in Request.Job. While a job runs
// every wake-up calls Reconcile again: returning Working with the same key lets the job run on,
// another key says that the desire has changed: the running job's context is cancelled, and the
// new job starts when the old one has returned. Suspending or deleting the object cancels too.
//
// # References
//
// What an object reads it declares with References. The kernel watches the referents and wakes
// the object when one changes in a way that matters: it appeared, went away, has a new
// revision, a new spec, or became ready. ConfigMaps and Secrets are followed by their
// resourceVersion only; one that appears wakes at once, and so does a change of one with the watch
// label; a change of any other is seen at the next interval through Request.Version.
package kernel
