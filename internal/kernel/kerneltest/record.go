package kerneltest

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// record follows the probes of the namespace from their beginning. The API server ends watches when it changes how it
// serves a definition, such as right after its creation; then the lab looks again.
func (l *Lab) record() {
	ctx, cancel := context.WithCancel(context.Background())
	l.T.Cleanup(cancel)
	w, err := l.Client.Watch(ctx, &ProbeList{}, client.InNamespace(l.Namespace))
	if err != nil {
		l.T.Fatal(err)
	}
	go func() {
		for ctx.Err() == nil {
			if w == nil {
				time.Sleep(50 * time.Millisecond)
				w = l.lookAgain(ctx)
				continue
			}
			for ev := range w.ResultChan() {
				if p, ok := ev.Object.(*Probe); ok {
					l.note(p, ev.Type == watch.Deleted)
				}
			}
			w = nil
		}
	}()
}

// lookAgain notes what is there now and what went, and returns a watch of what follows, nil when that fails.
func (l *Lab) lookAgain(ctx context.Context) watch.Interface {
	list := &ProbeList{}
	if err := l.Client.List(ctx, list, client.InNamespace(l.Namespace)); err != nil {
		return nil
	}
	gone := map[string]*Probe{}
	l.mu.Lock()
	for name, states := range l.history {
		gone[name] = states[len(states)-1]
	}
	l.mu.Unlock()
	for i := range list.Items {
		delete(gone, list.Items[i].Name)
		l.note(&list.Items[i], false)
	}
	for _, p := range gone {
		if p != nil {
			l.note(p, true)
		}
	}
	w, err := l.Client.Watch(ctx, &ProbeList{}, client.InNamespace(l.Namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		return nil
	}
	return w
}

// note adds a state to the history unless it is there already.
func (l *Lab) note(p *Probe, deleted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	states := l.history[p.Name]
	if n := len(states); n > 0 && !deleted && states[n-1] != nil && states[n-1].ResourceVersion == p.ResourceVersion {
		return
	}
	name := p.Name
	if deleted {
		p = nil
	}
	l.history[name] = append(states, p)
	close(l.changed)
	l.changed = make(chan struct{})
}
