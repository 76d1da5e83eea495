// Package apply brings a set of desired objects to a cluster with server-side apply and keeps it
// there. It knows nothing of custom resources: whoever owns objects (a Kustomization, a Helm
// release) passes plain values.
//
// The model is one way:
//
//	desired objects ─Prepare─► Set ─Apply─► Result ─► Inventory ─Prune─► survivors
//
// Prepare is pure but for scope look-ups: it normalises objects, adds owner labels and common
// metadata, refuses what must not be written, computes ids and hashes, and orders objects into
// stages. Apply takes the stages one after the other: every object of a stage is validated by a
// dry-run before the first object of that stage is written, and all refusals are reported in one
// error. An object whose desired hash the Tracker knows to be in step costs no request at all.
//
// Requests: a new object costs a dry-run and an apply, a changed one the same, an unchanged one a
// dry-run (none when in step). The answer to a dry-run carries the live resourceVersion and
// managedFields, so that a live object is read only when neither these nor the Tracker's record of
// our last write can tell whether it drifted.
//
// Cancelling the context ends an Apply after the object that is being written; what was done is
// in the Result, and the error is an InterruptedError.
package apply
