package dispatch

// fairShare of bytes is what a line may hold however much others do.
const fairShare = 64 << 10

// Size is about what an item takes in memory, in bytes.
func (i *Item) Size() int {
	const structure, entry = 512, 48
	e := i.Event
	n := structure + len(e.Message) + len(e.Reason) + len(e.ReportingController) + len(e.ReportingInstance)
	for k, v := range e.Metadata {
		n += entry + len(k) + len(v)
	}
	return n
}

func (d *Dispatcher) append(l *line, ln *lane, item Item) {
	item.bytes = item.Size()
	ln.items = append(ln.items, item)
	l.bytes += item.bytes
	l.waiting += item.bytes
	d.bytes += item.bytes
}

// first takes the oldest item out of a lane; it is on its way until release.
func (ln *lane) first(l *line) Item {
	item := ln.items[0]
	ln.items[0] = Item{}
	ln.items = ln.items[1:]
	l.waiting -= item.bytes
	return item
}

// drop gives up the oldest item of a lane.
func (d *Dispatcher) drop(l *line, ln *lane) Item {
	item := ln.first(l)
	l.bytes -= item.bytes
	d.bytes -= item.bytes
	return item
}

// release forgets items that are not on their way any more.
func (d *Dispatcher) release(l *line, items []Item) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, item := range items {
		l.bytes -= item.bytes
		d.bytes -= item.bytes
		depth(item, -1)
	}
}

// makeRoom drops what is too much after an item was put into a line: the oldest of that line, and if all lines hold
// too much, of the longest.
func (d *Dispatcher) makeRoom(l *line) (dropped []Item) {
	for l.waiting > d.options.LineBytes {
		dropped = append(dropped, d.drop(l, l.oldest()))
	}
	for d.bytes > d.options.Bytes {
		longest := d.longest()
		if longest == nil {
			break
		}
		dropped = append(dropped, d.drop(longest, longest.oldest()))
	}
	return dropped
}

// oldest is the lane whose first item waits the longest; nil: none waits.
func (l *line) oldest() (out *lane) {
	for i := range l.lanes {
		ln := &l.lanes[i]
		if len(ln.items) > 0 && (out == nil || ln.items[0].Received.Before(out.items[0].Received)) {
			out = ln
		}
	}
	return out
}

// longest is the line with the most bytes that has something to drop; nil: none has more than its share.
func (d *Dispatcher) longest() (out *line) {
	for _, l := range d.lines {
		if l.waiting > 0 && l.bytes > fairShare && (out == nil || l.bytes > out.bytes) {
			out = l
		}
	}
	return out
}
