package simulator

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// entry is an event in a list.
type entry struct {
	Event
	seq      uint64   // order of insertion; events of one second are listed by it
	objects  []string // ids of the objects that the event is about
	body     []byte   // what a webhook's body holds, where it is not the item
	resource string   // what the event is a version of
	key      string   // what Fact.Key says, where it is not the id
	acked    bool     // the client said that it has taken it in
	served   bool     // was on a page
	gone     bool     // was out of the client's reach
	shown    []byte   // the item as it is listed now; nil: Raw
	earlier  [][]byte // shown before that, Raw aside
}

// show changes the item as it is listed, without anything having happened.
func (e *entry) show(item []byte) {
	if e.shown != nil {
		e.earlier = append(e.earlier, e.shown)
	}
	e.shown = item
}

// item returns the item as it is listed now.
func (e *entry) item() []byte {
	if e.shown != nil {
		return e.shown
	}
	return e.Raw
}

// list is an event list ordered by time and insertion. An entry's index is found by its key, not stored, so a late arrival
// costs one move of pointers.
type list struct {
	entries []*entry // oldest first: new ones are appended
	byID    map[string]*entry
	arrival bool // ordered by insertion alone
}

func (l *list) compare(a, b *entry) int {
	if l.arrival {
		return cmp.Compare(a.seq, b.seq)
	}
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.seq, b.seq))
}

// insert puts entries at their places.
func (l *list) insert(added ...*entry) {
	for _, e := range added {
		l.byID[e.ID] = e
	}
	if len(added) == 1 {
		at, _ := slices.BinarySearchFunc(l.entries, added[0], l.compare)
		l.entries = slices.Insert(l.entries, at, added[0])
		return
	}
	sorted := slices.IsSortedFunc(added, l.compare)
	if n := len(l.entries); sorted && (n == 0 || len(added) == 0 || l.compare(l.entries[n-1], added[0]) < 0) {
		l.entries = append(l.entries, added...)
		return
	}
	l.entries = append(l.entries, added...)
	slices.SortFunc(l.entries, l.compare)
}

// index returns where the entry with this id stands.
func (l *list) index(id string) (int, bool) {
	e, ok := l.byID[id]
	if !ok {
		return 0, false
	}
	return slices.BinarySearchFunc(l.entries, e, l.compare)
}

// since returns the index of the first entry that is not older than t; in a list by arrival, none before it is younger.
func (l *list) since(t time.Time) int {
	old := func(e *entry) bool { return e.Time.Before(t) }
	if l.arrival {
		if i := slices.IndexFunc(l.entries, func(e *entry) bool { return !old(e) }); i >= 0 {
			return i
		}
		return len(l.entries)
	}
	return sort.Search(len(l.entries), func(i int) bool { return !old(l.entries[i]) })
}

// older returns up to n wanted entries with indexes in [floor, before), newest first, and whether there are more.
func (l *list) older(before, floor, n int, wanted func(*entry) bool) (page []*entry, more bool) {
	for i := before - 1; i >= floor; i-- {
		if !wanted(l.entries[i]) {
			continue
		}
		if len(page) == n {
			return page, true
		}
		page = append(page, l.entries[i])
	}
	return page, false
}

// newer returns the n wanted entries that stand next after index from, newest first, and whether there are more.
func (l *list) newer(from, n int, wanted func(*entry) bool) (page []*entry, more bool) {
	for _, e := range l.entries[from+1:] {
		if !wanted(e) {
			continue
		}
		if len(page) == n {
			more = true
			break
		}
		page = append(page, e)
	}
	slices.Reverse(page)
	return page, more
}
