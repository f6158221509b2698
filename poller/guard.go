package poller

import (
	"errors"
	"hash/maphash"

	"tidings/event"
)

var errRepeats = errors.New("its list repeats a page")

// guard finds a list that goes round in circles. It remembers hashes of the cursors and ids of a walk, a bounded number of
// them: a longer circle is found in a later round.
type guard struct {
	seed maphash.Seed
	seen map[uint64]struct{}
}

const maxSeen = 1 << 17

func newGuard() guard { return guard{seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}} }

// repeats reports whether page, asked for with cursor, was listed before in this walk. A single item that is listed twice
// is no repeated page, nor is the last page of a list: no circle goes through it.
func (g guard) repeats(cursor string, page event.Page) bool {
	before := 0
	for _, e := range page.Events {
		if g.add("i" + e.ID) {
			before++
		}
	}
	again := g.add("c" + cursor)
	if page.Next == "" || !page.More {
		return false
	}
	return again || page.Next == cursor || 2*before > len(page.Events)
}

// add reports whether s was there already.
func (g guard) add(s string) bool {
	h := maphash.String(g.seed, s)
	if _, ok := g.seen[h]; ok {
		return true
	}
	if len(g.seen) >= maxSeen {
		clear(g.seen)
	}
	g.seen[h] = struct{}{}
	return false
}
