package pack

import (
	"container/list"
	"sync"
)

// baseCache keeps recently rebuilt objects, which are likely to be the bases of the next ones, up to a
// number of bytes.
type baseCache struct {
	mu    sync.Mutex
	left  int64
	max   int64
	order *list.List // front is the newest
	items map[baseKey]*list.Element
}

type baseKey struct {
	file *file
	off  int64
}

type baseItem struct {
	key  baseKey
	typ  Type
	data []byte
}

func newBaseCache(max int64) *baseCache {
	return &baseCache{left: max, max: max, order: list.New(), items: map[baseKey]*list.Element{}}
}

func (c *baseCache) get(f *file, off int64) (Type, []byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[baseKey{f, off}]
	if !ok {
		return 0, nil, false
	}
	c.order.MoveToFront(e)
	item := e.Value.(*baseItem)
	return item.typ, item.data, true
}

// itemCost is what an entry of the cache takes beside its data.
const itemCost = 160

func (c *baseCache) put(f *file, off int64, t Type, data []byte) {
	cost := int64(len(data)) + itemCost
	if cost > c.max/2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := baseKey{f, off}
	if _, ok := c.items[key]; ok {
		return
	}
	c.items[key] = c.order.PushFront(&baseItem{key: key, typ: t, data: data})
	c.left -= cost
	for c.left < 0 {
		oldest := c.order.Back()
		item := c.order.Remove(oldest).(*baseItem)
		delete(c.items, item.key)
		c.left += int64(len(item.data)) + itemCost
	}
}
