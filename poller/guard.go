package poller

import (
	"errors"
	"fmt"
	"hash/maphash"

	"tidings/event"
)

var (
	errRepeats = errors.New("its list repeats a page")
	errEmpty   = errors.New("page after page of its list has nothing on it and names another")
	errShifted = errors.New("its list has moved on under an interrupted walk")
)

// guard finds a list that goes round in circles, or on for ever without an item. It remembers hashes of the cursors and ids of a
// walk, a bounded number of them; of a circle that is longer it meets, in a later round, the one cursor that it holds on to, which
// it changes after twice as many pages each time (Brent's algorithm).
type guard struct {
	seed  maphash.Seed
	seen  map[uint64]struct{}
	pages int
	held  string // the cursor of page number turn
	turn  int
	empty int             // pages in a row without an item
	most  int             // of these
	again map[string]bool // ids of the last page that were listed before
}

const (
	maxSeen      = 1 << 17
	maxEmpty     = 1000 // where nothing of the walk is kept
	maxEmptyTail = 100  // where the place is behind them, and the next poll goes on from there
)

func newGuard() guard {
	return guard{most: maxEmpty, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}, again: map[string]bool{}}
}

// pass returns an error where page, asked for with cursor, was listed before in this walk, or where the list goes on without an item.
// A single item that is listed twice is no repeated page, nor is the last page of a list: no circle goes through it.
func (g *guard) pass(cursor string, page event.Page) error {
	before := 0
	clear(g.again)
	for _, e := range page.Events {
		if g.add("i" + e.ID) {
			g.again[e.ID] = true
			before++
		}
	}
	again := g.add("c"+cursor) || g.turn > 0 && cursor == g.held
	if g.pages++; g.pages >= 2*g.turn {
		g.held, g.turn = cursor, g.pages
	}
	if g.empty++; len(page.Events) > 0 {
		g.empty = 0
	}
	switch {
	case page.Next == "":
		return nil
	case again || page.Next == cursor || 2*before > len(page.Events):
		return errRepeats
	case g.empty >= g.most:
		return errEmpty
	}
	return nil
}

// endless is the error of a list that the guard doesn't let go on; so says what is done about it.
func (f *feed) endless(err error, so string) error {
	return fmt.Errorf("%s: %w, so %s; if it goes on, look at the paging that is configured, whose more, done and size say where a list ends, "+
		"and at id, which has to tell each event from all others",
		f.label(), err, so)
}

// add reports whether s was there already.
func (g *guard) add(s string) bool {
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
