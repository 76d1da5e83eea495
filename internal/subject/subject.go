// Package subject tells for which object work is done, through a context: so that what is shared by all objects, such as a
// cache, can count by object, and knows nothing of custom resources.
package subject

import (
	"context"
	"sync"
)

// Subject is an object, and what is being done for it.
type Subject struct {
	Kind, Namespace, Name string
	// Operation is "reconcile" unless somebody says otherwise.
	Operation string
}

type key struct{}

// With returns a context for work on an object.
func With(ctx context.Context, kind, namespace, name string) context.Context {
	return context.WithValue(ctx, key{}, Subject{kind, namespace, name, "reconcile"})
}

// Doing names the operation that the work is part of.
func Doing(ctx context.Context, operation string) context.Context {
	s, ok := Of(ctx)
	if !ok {
		return ctx
	}
	s.Operation = operation
	return context.WithValue(ctx, key{}, s)
}

// Of returns the object of a context; ok is false if it has none.
func Of(ctx context.Context) (s Subject, ok bool) {
	s, ok = ctx.Value(key{}).(Subject)
	return s, ok
}

var (
	mu        sync.Mutex
	listeners []func(kind, namespace, name string)
)

// OnGone calls f for each object that is no more.
func OnGone(f func(kind, namespace, name string)) {
	mu.Lock()
	defer mu.Unlock()
	listeners = append(listeners, f)
}

// Gone says that an object is no more.
func Gone(kind, namespace, name string) {
	mu.Lock()
	defer mu.Unlock()
	for _, f := range listeners {
		f(kind, namespace, name)
	}
}
