package poller

import (
	"context"
	"slices"
	"time"

	"tidings/event"
)

// quietTime is how often a position is stored at most that changed without an event.
const quietTime = time.Minute

// commitShort commits a walk that is in memory: oldest page first, the position with the last.
func (p *Poller) commitShort(ctx context.Context, w *walk, told *event.Polled) error {
	var all []item
	for _, s := range w.pages {
		all = append(all, s.items...)
	}
	p.pick(w, all, time.Time{}, told)

	var batches [][]event.Event
	seen := map[string]bool{}
	end := len(all)
	for _, s := range slices.Backward(w.pages) {
		begin := end - len(s.items)
		if batch := oldestFirst(all[begin:end], seen); len(batch) > 0 {
			batches = append(batches, batch)
		}
		end = begin
	}

	pos := w.pos.moved(all, w.Head)
	gap := p.gap(w, &pos)
	if len(batches) == 0 {
		if !p.worthStoring(w, pos, all, gap) {
			return nil
		}
		batches = [][]event.Event{nil}
	}
	for i, batch := range batches {
		c := event.Commit{Generation: w.gen, Events: batch}
		if i == len(batches)-1 {
			c.Position, c.Gap = pos.encode(), gap
		}
		if _, err := p.commit(ctx, c, told); err != nil {
			return err
		}
	}
	return nil
}

// worthStoring reports whether a position is to be stored though there is no event to store with it.
func (p *Poller) worthStoring(w *walk, pos position, all []item, gap *event.Gap) bool {
	if !w.pos.CaughtUp || gap != nil || pos.Hidden != w.pos.Hidden {
		return true
	}
	// The head of the list is another one than we knew and yet holds nothing new: all is known (the position was set back), or
	// before the start. Without the new boundary each poll would walk the same way.
	if len(all) == 0 || w.judge.boundary[all[0].ID] || time.Since(p.quiet) < quietTime {
		return false
	}
	p.quiet = time.Now()
	return true
}

// pick judges items and counts history.
func (p *Poller) pick(w *walk, items []item, below time.Time, told *event.Polled) {
	old := w.judge.pick(items, below)
	if w.judge.first {
		told.History += old
	}
}

// oldestFirst returns what is fresh of items, turned round, each id once.
func oldestFirst(items []item, seen map[string]bool) []event.Event {
	var events []event.Event
	for _, it := range slices.Backward(items) {
		if it.fresh && !seen[it.ID] {
			seen[it.ID] = true
			events = append(events, it.Event)
		}
	}
	return events
}

// gap returns a gap if the walk found one, and notes in pos that it was told.
//
// A list can't prove a loss: an event of ours that it lists no more may have been the last before the oldest that it does
// list. So a gap of a walk is a possible one: we had seen ids in this list, and it lists none of them and nothing else that
// we know. A walk that ended at the start's floor proves nothing while all that was seen lies before that floor.
func (p *Poller) gap(w *walk, pos *position) *event.Gap {
	if w.Met || len(w.pos.IDs) == 0 || w.pos.Hidden {
		return nil
	}
	atFloor := !w.Edge.IsZero() && w.Edge.Before(w.judge.start)
	if atFloor && w.pos.Time.Before(w.judge.start) {
		return nil
	}
	pos.Hidden = !w.long && !slices.ContainsFunc(w.pages, func(s stretch) bool { return len(s.items) > 0 })
	why := "the list ends before any event that was seen earlier; what was listed in between, if anything, is gone from it"
	switch {
	case pos.Hidden:
		why = "the list is empty, though events were seen in it earlier; what was listed since, if anything, is gone from it"
	case !w.Edge.IsZero() && !w.Edge.After(w.pos.Time):
		why = "the list shows none of the events that were seen in it earlier; it may be filtered otherwise than before"
	}
	return &event.Gap{Source: p.Source, From: w.pos.Time, To: w.Edge, Found: time.Now().Round(0), Why: why}
}

// commitLong fetches the marks of a long walk again, oldest first, and commits each. The walk ends where its first page
// began; another round is due at once.
func (p *Poller) commitLong(ctx context.Context, w *walk, told *event.Polled) (again bool, err error) {
	for {
		var s stretch
		if len(w.Marks) > 0 {
			parts, err := p.refetch(ctx, w, &s, told)
			if err != nil {
				return false, err
			}
			if parts != nil {
				w.pop()
				for _, m := range parts {
					w.add(m)
				}
				continue
			}
			w.pop()
		}
		p.pick(w, s.items, w.oldest, told)
		c := event.Commit{Generation: w.gen, Events: oldestFirst(s.items, map[string]bool{})}
		for _, e := range c.Events {
			w.since += len(e.Data) + len(e.ID)
		}
		last := len(w.Marks) == 0
		switch {
		case last:
			pos := w.pos.moved(s.items, w.Head)
			c.Gap = p.gap(w, &pos)
			c.Position = pos.encode()
		case w.since >= 8*w.record:
			pos := w.pos
			pos.Trail = &w.trail
			c.Position = pos.encode()
			w.since, w.record = 0, len(c.Position)
		}
		if len(c.Events) > 0 || c.Position != nil {
			done, err := p.commit(ctx, c, told)
			if err != nil {
				return false, err
			}
			again = again || done.New+done.Filtered > 0
		}
		w.below = s
		for _, it := range s.items {
			if !it.at.IsZero() {
				w.oldest = it.at
				break
			}
		}
		if last {
			p.walk = nil
			return again || w.resumed, nil
		}
	}
}

// refetch fetches the oldest mark into s. What was listed late in the meantime shifts pages, so it follows the list until
// the mark's last event, or one that was committed just before, was listed again; else an event that was pushed over a
// page's edge would be missed. Where all that is too much to hold, it returns the mark in parts.
func (p *Poller) refetch(ctx context.Context, w *walk, s *stretch, told *event.Polled) (parts []mark, err error) {
	n := len(w.Marks) - 1
	m, last := w.Marks[n], w.last(n)
	stop := map[string]bool{last: true}
	for _, it := range w.below.items {
		stop[it.ID] = true
	}
	s.cursor, s.behind = m.Cursor, m.Behind
	var bytes int
	var edge edge
	guard := newGuard()
	behind, split := m.Behind, false
	var pages []mark // of what is unseen
	for cursor := m.Cursor; ; {
		page, err := p.fetch(ctx, cursor, told)
		if err != nil {
			return nil, err
		}
		if guard.repeats(cursor, page) {
			return nil, p.repeated()
		}
		part := stretch{cursor: cursor, behind: behind}
		if part.items, err = p.look(w.judge, page, &behind, told); err != nil {
			return nil, err
		}
		edge.pass(part.items)
		end := page.Next == "" || !page.More
		if n := len(part.items); n > 0 {
			end = end || w.judge.settled(part.items[n-1], edge)
		}
		end = end || slices.ContainsFunc(part.items, func(it item) bool { return stop[it.ID] })
		size, any := part.unseen(w.judge)
		if any {
			pages = append(pages, part.mark())
		} else {
			part.trim()
		}
		bytes += size
		s.items = append(s.items, part.items...)
		if split = split || len(pages) > 1 && bytes > p.memory(); split {
			s.items = nil
		}
		switch {
		case end && split:
			return pages, nil
		case end:
			return nil, nil
		}
		cursor = page.Next
	}
}
