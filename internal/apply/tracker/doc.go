// Package tracker finds drift of owned objects without a request.
//
// One Tracker serves a process and a cluster. For every kind of which somebody owns objects it
// holds one metadata-only watch, selected by the owner label; for every object that the watch
// shows, it keeps a few hashes. An Owner holds a Record of each of its objects, made from the
// server's answer to our last write. Comparing the two (judge) tells one of these verdicts:
//
//	in step    nothing is to be done, at the interval neither
//	taken      somebody took, changed or removed a field of ours, or the object: apply at once
//	moved      only the generation moved, or something in the same second: one dry-run, damped
//	foreign    a manager that we take over is on the object: mended at the interval
//	elsewhere  another owner has the object now: looked at at the interval
//	leaving    the object is being deleted: looked at when it is gone, or at the interval
//
// Server-side apply makes this work: it rewrites our managedFields entry when somebody else changes
// or removes a field that we own, and leaves it alone when others add fields of theirs, write status
// or apply what is there already.
//
// The watch runs as the controller and decides only when to look; what is found out about an object
// and what is written is done as its owner. Where a watch is not allowed, or is cut for long,
// objects are not in step, and the owner looks with a dry-run at its interval.
package tracker
