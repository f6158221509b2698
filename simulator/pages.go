package simulator

import "slices"

// cursorQuery asks for a page of a newest-first list by the ids of its items.
type cursorQuery struct {
	limit         int
	after, before string // the page stands behind, or before, the item with this id
	wants         func(*entry) bool
}

// floor returns the index of the oldest event that is listed still. What stands before it is out of reach from now on. a.mu is
// held.
func (a *account) floor() int {
	if a.resources {
		return 0
	}
	n := len(a.list.entries)
	floor := 0
	if a.newest > 0 {
		floor = max(floor, n-a.newest)
	}
	if a.faults.Keep > 0 {
		floor = max(floor, n-a.faults.Keep)
	}
	if a.retain > 0 {
		floor = max(floor, a.list.since(a.now().Add(-a.retain)))
	}
	for i := floor - 1; i >= 0 && !a.list.entries[i].gone; i-- {
		a.list.entries[i].gone = true
	}
	return floor
}

// find returns the item with this id, if it is listed still.
func (a *account) find(id string) (item []byte, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.list.index(id)
	if !ok || i < a.floor() {
		return nil, false
	}
	a.stats.Retrieved++
	return a.list.entries[i].item(), true
}

// newestFirst finds the events of a page, with the faults that concern lists; ok is false when the cursor is unknown.
func (a *account) newestFirst(q cursorQuery) (page []*entry, more, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entries := a.list.entries
	floor := a.floor()
	from := len(entries)
	if cursor := q.after + q.before; cursor != "" {
		if from, ok = a.list.index(cursor); !ok || from < floor || a.strikes(&a.faults.Lost, "lost") {
			return nil, false, false
		}
	}
	switch {
	case q.before != "":
		page, more = a.list.newer(from, q.limit, q.wants)
	case q.after != "" && a.strikes(&a.faults.Loop, "loop"):
		page, more = a.list.newer(from, q.limit-1, q.wants)
		page, more = appendWanted(page, entries[from], q.wants), true
	case q.after != "" && q.limit > 1 && a.strikes(&a.faults.Repeat, "repeat"):
		again, _ := a.list.newer(from, min(2, q.limit-2), q.wants)
		again = appendWanted(again, entries[from], q.wants)
		page, more = a.list.older(from, floor, q.limit-len(again), q.wants)
		page = append(again, page...)
	default:
		page, more = a.list.older(from, floor, q.limit, q.wants)
	}
	page, ended := a.muddle(page)
	return page, more && !ended, true
}

func appendWanted(page []*entry, e *entry, wants func(*entry) bool) []*entry {
	if !wants(e) {
		return page
	}
	return append(page, e)
}

// muddle applies the faults that change any page and counts it; ended: the page says that the list ends. a.mu is held.
func (a *account) muddle(page []*entry) (muddled []*entry, ended bool) {
	if len(page) > 0 && a.strikes(&a.faults.Twice, "twice") {
		i := a.requests.IntN(len(page))
		page = slices.Insert(slices.Clone(page), min(i+1+a.requests.IntN(4), max(i+1, len(page)-1)), page[i])
	}
	if len(page) > 1 && a.strikes(&a.faults.Order, "order") {
		page = slices.Clone(page)
		slices.Reverse(page)
	}
	if len(page) > 0 && a.strikes(&a.faults.EmptyEnd, "end") {
		page, ended = nil, true
	}
	for _, e := range page {
		e.served = true
	}
	a.stats.Pages++
	a.stats.Listed += len(page)
	return page, ended
}

// numbered returns the page with this number, from 1, of what is listed, with the faults that concern lists, and whether there are
// more. It is empty behind the end. a.mu is held.
func (a *account) numbered(all []*entry, number, size int) (page []*entry, more bool) {
	pages := (len(all) + size - 1) / size
	if number > pages {
		page, _ = a.muddle(nil)
		return page, false
	}
	from, to := (number-1)*size, min(number*size, len(all))
	switch {
	case number > 1 && a.strikes(&a.faults.Loop, "loop"):
		from, to = from-size, from
	case number > 1 && a.strikes(&a.faults.Repeat, "repeat"):
		from -= min(size, 2)
	}
	page, ended := a.muddle(all[from:to])
	return page, number < pages && !ended
}
