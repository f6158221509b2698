package poller

import (
	"context"
	"slices"
	"time"

	"tidings/event"
)

// commitShort commits a walk that is in memory: oldest page first, the position with the last.
func (h *headWalk) commitShort(ctx context.Context, w *walk, told *event.Polled) error {
	var all []item
	for _, s := range w.pages {
		all = append(all, s.items...)
	}
	h.pick(w, all, time.Time{}, told)

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

	pos := w.pos.moved(all, w.Head, false)
	if len(w.pages) > 1 && w.Head.Before(pos.Time.Add(h.poller.Overlap)) {
		h.askWhole() // what is listed late may stand behind the first page, which has not changed then
	}
	gap, err := h.gap(w, &pos)
	if err != nil {
		return err
	}
	if len(batches) == 0 {
		if !h.worthStoring(w, pos, all, gap) {
			return nil
		}
		batches = [][]event.Event{nil}
	}
	for i, batch := range batches {
		c := event.Commit{Generation: w.gen, Events: batch}
		if i == len(batches)-1 {
			c.Position, c.Gap = pos.encode(), gap
		}
		if _, err := h.commit(ctx, c, told); err != nil {
			return err
		}
	}
	h.sought = ""
	return nil
}

// worthStoring reports whether a position is to be stored though there is no event to store with it.
func (h *headWalk) worthStoring(w *walk, pos position, all []item, gap *event.Gap) bool {
	if !w.pos.CaughtUp || gap != nil || pos.Hidden != w.pos.Hidden || pos.Lost != w.pos.Lost {
		return true
	}
	// The head of the list is another one than we knew and yet holds nothing new: all is known (the position was set back), or
	// before the start. Without the new boundary each poll would walk the same way.
	return len(all) > 0 && !w.judge.boundary[all[0].ID] && h.quiet.due()
}

// pick judges items and counts history.
func (h *headWalk) pick(w *walk, items []item, below time.Time, told *event.Polled) {
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
