package poller

import (
	"context"
	"time"

	"tidings/event"
)

// commitLong fetches the marks of a long walk again, oldest first, and commits each. The walk ends where its first page
// began; another round is due at once.
func (h *headWalk) commitLong(ctx context.Context, w *walk, told *event.Polled) (again bool, err error) {
	for {
		var s stretch
		if len(w.Marks) > 0 {
			parts, err := h.refetch(ctx, w, &s, told)
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
		newest := newestOf(s.items)
		if w.Gone && w.GoneTo.IsZero() {
			w.GoneTo = newest
		}
		h.pick(w, s.items, w.oldest, told)
		if !newest.IsZero() {
			w.oldest = newest
		}
		c := event.Commit{Generation: w.gen, Events: oldestFirst(s.items, map[string]bool{})}
		for _, e := range c.Events {
			w.since += len(e.Data) + len(e.ID)
		}
		last := len(w.Marks) == 0
		switch {
		case last:
			pos := w.pos.moved(s.items, w.Head, true)
			if c.Gap, err = h.gap(w, &pos); err != nil {
				return false, err
			}
			c.Position = pos.encode()
		case w.since >= 8*w.record:
			pos := w.pos
			pos.Trail = &w.trail
			c.Position = pos.encode()
			w.since, w.record = 0, len(c.Position)
		}
		if len(c.Events) > 0 || c.Position != nil {
			done, err := h.commit(ctx, c, told)
			if err != nil {
				return false, err
			}
			again = again || done.New+done.Filtered > 0
		}
		w.below = s
		if last {
			h.walk, h.sought = nil, ""
			h.askWhole() // this walk has not taken in the first page
			return again || w.resumed, nil
		}
		if h.turnOver() {
			return true, nil
		}
	}
}

// refetch fetches the oldest mark into s. What was listed late in the meantime shifts pages, so it follows the list until
// the mark's last event, or one that was committed just before, was listed again; else an event that was pushed over a
// page's edge would be missed. Where all that is too much to hold, it returns the mark in parts.
func (h *headWalk) refetch(ctx context.Context, w *walk, s *stretch, told *event.Polled) (parts []mark, err error) {
	n := len(w.Marks) - 1
	m, last := w.Marks[n], w.last(n)
	stop := map[string]bool{last: true}
	for _, it := range w.below.items {
		stop[it.ID] = true
	}
	s.cursor, s.behind = m.Cursor, m.Behind
	var (
		pages  []mark // of what is unseen
		bytes  int
		split  bool
		found  bool
		edge   edge
		behind = m.Behind
		guard  = newGuard()
	)
	for cursor := m.Cursor; ; {
		page, err := h.ask(ctx, cursor, told)
		if err != nil {
			return nil, err
		}
		if err := guard.pass(cursor, page); err != nil {
			return nil, h.circling(err)
		}
		part := stretch{cursor: cursor, behind: behind}
		if part.items, err = h.look(w.judge, page, &behind, told); err != nil {
			return nil, err
		}
		end := page.Next == ""
		for _, it := range part.items {
			found = found || it.ID == last
			end = end || stop[it.ID]
		}
		edge.pass(part.items)
		settled := len(part.items) > 0 && w.judge.settled(part.items[len(part.items)-1], edge)

		size, unseen := part.unseen(w.judge)
		if unseen != "" {
			pages = append(pages, part.mark(unseen))
		} else {
			part.trim()
		}
		bytes += size
		s.items = append(s.items, part.items...)
		if split = split || len(pages) > 1 && bytes > h.poller.memory(); split {
			s.items = nil
		}
		if !end && !settled {
			cursor = page.Next
			continue
		}
		if end && !found {
			known, err := h.known(last)
			if err != nil {
				return nil, err
			}
			if !known[0] && len(page.Events) == 0 && w.doubt() {
				return nil, h.cutShort()
			}
			if !known[0] {
				w.Gone, w.GoneTo = true, time.Time{}
			}
		}
		if !split {
			pages = nil
		}
		return pages, nil
	}
}

// newestOf returns the time of the first item that bears one, newest first; zero where none does.
func newestOf(items []item) time.Time {
	for _, it := range items {
		if !it.at.IsZero() {
			return it.at
		}
	}
	return time.Time{}
}
