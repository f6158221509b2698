package store

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

const (
	maxDepth  = 32        // of pages above one another, far more than there can be
	readAhead = 256 << 10 // bytes, where pages are read one after another
	maxDamage = 20        // what a walk tells
)

// tree walks the tree of one header with pread. No page is visited twice and none outside the file, so a walk ends whatever the
// file holds.
type tree struct {
	f         io.ReaderAt
	h         header
	firstOnly bool // end at the first damage
	damage    []error
	broken    map[string]bool // buckets that damage was found in; "" is the list of buckets
	visited   []uint64        // a bit a page
	there     uint64          // pages that the file has; a file that is cut off has fewer than its header says
	record    func(bucket string, e element)
	bucket    func(name string, sequence uint64)
	inside    string // the bucket that the walk is in

	window   []byte // the pages read last
	windowAt uint64
	next     uint64 // the page after the one asked for last
}

func newTree(f io.ReaderAt, h header, size int64) *tree {
	there := min(h.pages, uint64(size/h.pageSize))
	return &tree{f: f, h: h, broken: map[string]bool{}, visited: make([]uint64, there/64+1), there: there}
}

// walk visits everything; record is told each record of a bucket, with bytes that are valid only during the call.
func (t *tree) walk(record func(bucket string, e element)) {
	t.record = record
	t.page(t.h.root, nil, nil, 0)
}

func (t *tree) done() bool { return t.firstOnly && len(t.damage) > 0 }

func (t *tree) wrong(page uint64, format string, args ...any) {
	t.broken[t.inside] = true
	if len(t.damage) < maxDamage {
		t.damage = append(t.damage, fmt.Errorf("page %d: %s", page, fmt.Sprintf(format, args...)))
	}
}

// read returns a page with its overflow, valid until the next read; nil after telling what is wrong.
func (t *tree) read(id uint64) []byte {
	if id < 2 || id >= t.h.pages {
		t.wrong(id, "it is referred to, and the store has only pages 2 to %d", t.h.pages-1)
		return nil
	}
	if id >= t.there {
		t.wrong(id, "the file ends before it")
		return nil
	}
	size := uint64(t.h.pageSize)
	if id < t.windowAt || id >= t.windowAt+uint64(len(t.window))/size {
		n := uint64(1)
		if id == t.next {
			n = max(1, readAhead/size)
		}
		if !t.load(id, min(n, t.there-id)) {
			return nil
		}
	}
	p := t.window[(id-t.windowAt)*size:]
	if got := order.Uint64(p); got != id {
		t.wrong(id, "something else stands in its place")
		return nil
	}
	n := uint64(order.Uint32(p[12:])) + 1
	if n > t.there-id {
		t.wrong(id, "it is longer than the file")
		return nil
	}
	if uint64(len(p)) < n*size && !t.load(id, n) {
		return nil
	}
	for i := id; i < id+n; i++ {
		if t.visited[i/64]&(1<<(i%64)) != 0 {
			t.wrong(i, "it is referred to twice")
			return nil
		}
		t.visited[i/64] |= 1 << (i % 64)
	}
	t.next = id + n
	return t.window[(id-t.windowAt)*size:][:n*size]
}

func (t *tree) load(id, n uint64) bool {
	size := int(t.h.pageSize)
	t.window = slices.Grow(t.window[:0], int(n)*size)[:int(n)*size]
	t.windowAt = id
	if _, err := t.f.ReadAt(t.window, int64(id)*t.h.pageSize); err != nil {
		t.window = t.window[:0]
		t.wrong(id, "reading it: %v", err)
		return false
	}
	return true
}

// page visits a page and all below it; its keys must lie in [low, high), where nil is no bound.
func (t *tree) page(id uint64, low, high []byte, depth int) {
	if t.done() {
		return
	}
	if depth > maxDepth {
		t.wrong(id, "the tree is deeper than it can be")
		return
	}
	p := t.read(id)
	if p == nil {
		return
	}
	switch order.Uint16(p[8:]) {
	case flagLeaf:
		t.leaf(id, p, int64(id)*t.h.pageSize, low, high, depth)
	case flagBranch:
		p = bytes.Clone(p) // the window moves on
		var keys [][]byte
		var children []uint64
		for i := range int(order.Uint16(p[10:])) {
			key, ok := branchKey(p, i)
			if !ok {
				t.wrong(id, "its entry %d leads out of it", i)
				return
			}
			keys = append(keys, key)
			children = append(children, order.Uint64(p[pageHead+i*elementLen+8:]))
		}
		if len(keys) == 0 || !inOrder(keys, low, high) {
			t.wrong(id, "its keys are not in order")
			return
		}
		for i, child := range children {
			end := high
			if i+1 < len(keys) {
				end = keys[i+1]
			}
			t.page(child, keys[i], end, depth+1)
		}
	default:
		t.wrong(id, "it is of a kind that can't be there")
	}
}

func branchKey(p []byte, i int) ([]byte, bool) {
	at := pageHead + i*elementLen
	if at+elementLen > len(p) {
		return nil, false
	}
	return part(p, uint64(at)+uint64(order.Uint32(p[at:])), uint64(order.Uint32(p[at+4:])))
}

func part(p []byte, from, n uint64) ([]byte, bool) {
	if from+n > uint64(len(p)) {
		return nil, false
	}
	return p[from : from+n : from+n], true
}

func inOrder(keys [][]byte, low, high []byte) bool {
	if len(keys) == 0 {
		return true
	}
	if low != nil && bytes.Compare(keys[0], low) < 0 || high != nil && bytes.Compare(keys[len(keys)-1], high) >= 0 {
		return false
	}
	for i := range keys[1:] {
		if bytes.Compare(keys[i], keys[i+1]) >= 0 {
			return false
		}
	}
	return true
}

// element is one entry of a leaf.
type element struct {
	isBucket   bool
	key, value []byte
	at         int64 // of the value in the file
}

// elements cuts the leaf that stands at base in the file into its entries. When it is not as it should be ok is false, and the
// entries are those that may be good all the same: a record's own checksum tells.
func elements(p []byte, base int64) (all []element, ok bool) {
	n := int(order.Uint16(p[10:]))
	ok = true
	if len(p) >= pageHead+elementLen {
		// The content of the first begins where the last entry ends: that says how many there are, too.
		if first := order.Uint32(p[pageHead+4:]); int(first) != n*elementLen {
			ok = false
			n = max(n, int(min(first, 1<<20)/elementLen))
		}
	}
	expected := uint64(pageHead + n*elementLen)
	all = make([]element, 0, min(n, len(p)/elementLen))
	for i := range n {
		at := pageHead + i*elementLen
		if at+elementLen > len(p) {
			return all, false
		}
		from := uint64(at) + uint64(order.Uint32(p[at+4:]))
		ksize, vsize := uint64(order.Uint32(p[at+8:])), uint64(order.Uint32(p[at+12:]))
		key, okKey := part(p, from, ksize)
		value, okValue := part(p, from+ksize, vsize)
		flags := order.Uint32(p[at:])
		ok = ok && okKey && okValue && flags <= 1 && from == expected // one after the other, without gaps
		expected += ksize + vsize
		if okKey && okValue {
			all = append(all, element{isBucket: flags == 1, key: key, value: value, at: base + int64(from+ksize)})
		}
	}
	return all, ok
}

func (t *tree) leaf(id uint64, p []byte, base int64, low, high []byte, depth int) {
	all, ok := elements(p, base)
	if !ok {
		t.wrong(id, "its entries can't be")
		t.recover(all)
		return
	}
	keys := make([][]byte, len(all))
	hasBuckets := false
	for i, e := range all {
		keys[i] = e.key
		hasBuckets = hasBuckets || e.isBucket
	}
	if !inOrder(keys, low, high) {
		t.wrong(id, "its keys are not in order")
		t.recover(all)
		return
	}
	if hasBuckets {
		p = bytes.Clone(p)
		all, _ = elements(p, base)
	}
	for _, e := range all {
		if t.done() {
			return
		}
		if e.isBucket {
			t.enter(id, e, depth)
		} else if t.record != nil {
			t.record(t.inside, e)
		}
	}
}

// recover tells those records of a damaged leaf whose own checksum is right.
func (t *tree) recover(all []element) {
	for _, e := range all {
		if t.record != nil && !e.isBucket && intact(e.key, e.value) {
			t.record(t.inside, e)
		}
	}
}

// enter visits a bucket: a tree of its own, or, when it is small, a leaf within the entry.
func (t *tree) enter(id uint64, e element, depth int) {
	outside := t.inside
	defer func() { t.inside = outside }()
	t.inside = string(e.key)
	if outside != "" {
		t.inside = outside + "/" + t.inside
	}
	if len(e.value) < bucketHead {
		t.wrong(id, "the bucket %q is cut off", e.key)
		return
	}
	if t.bucket != nil {
		t.bucket(t.inside, order.Uint64(e.value[8:]))
	}
	if root := order.Uint64(e.value); root != 0 {
		t.page(root, nil, nil, depth+1)
		return
	}
	inline := e.value[bucketHead:]
	if len(inline) < pageHead || order.Uint16(inline[8:]) != flagLeaf {
		t.wrong(id, "the bucket %q within it is damaged", e.key)
		return
	}
	t.leaf(id, inline, e.at+bucketHead, nil, nil, depth+1)
}
