// Package health waits until objects are healthy and says why those that are not are not.
//
// An object's status comes, in this order, from a CEL expression for its kind, from the rules for
// Jobs (which must complete), and from kstatus. Wait reads each object once, then only those that
// are not Current, when a metadata watch says that they changed; where no watch is to be had it
// polls. Whole objects are read with the rights of whoever owns them, the watch only decides when.
//
// Wait blocks until the verdict, the timeout or the end of its context: run it in the background.
package health
