package poller

import (
	"context"
	"slices"
	"time"

	"tidings/event"
)

// lostPlace returns a gap where the list shows no longer what was seen in it, so that nobody knows what came in between.
//
// A list can't prove a loss by that: an event of ours that it lists no more may have been the last before the oldest that it does list.
// So it is a possible gap where we had seen ids in this list and it lists none of them, nor anything else from before the position, or
// where it ended in a place that it had said to go on from. A walk that ended at the start's floor shows nothing while all that was seen
// lies before that floor.
func (h *headWalk) lostPlace(w *walk) *event.Gap {
	if h.expired(w) {
		return nil
	}
	atFloor := !w.Edge.IsZero() && w.Edge.Before(w.judge.start)
	if w.Met || len(w.pos.IDs) == 0 && !w.short || w.pos.Hidden || atFloor && w.pos.Time.Before(w.judge.start) {
		return nil
	}
	var why string
	switch {
	case w.short:
		why = "the list ends where it had said to go on, before any event that was seen earlier; what it listed there, if anything, is gone from it"
	case w.empty():
		why = "the list is empty, though events were seen in it earlier; what was listed since, if anything, is gone from it"
	case !w.Edge.IsZero() && !w.Edge.After(w.pos.Time):
		why = "the list shows none of the events that were seen in it earlier; it may be filtered otherwise than before"
	default:
		why = "the list ends before any event that was seen earlier; what was listed in between, if anything, is gone from it"
	}
	gap := h.lost(&w.pos.common, why)
	gap.To = w.Edge
	return &gap
}

// expired reports whether the API has dropped all that was seen merely since it lists nothing for longer, while we went on asking.
func (h *headWalk) expired(w *walk) bool {
	asked := !h.seen.IsZero() && w.Head.Sub(h.seen) < h.Retain
	return h.Retain > 0 && asked && !w.short && !w.pos.Time.IsZero() && w.Head.Sub(w.pos.Time) > h.Retain
}

func (w *walk) empty() bool {
	return !w.long && !slices.ContainsFunc(w.pages, func(s stretch) bool { return len(s.items) > 0 })
}

// gap returns the gap that is to be told with the walk's last commit, and notes in pos what was told. It is certain where an event that
// was listed, and not taken in yet, is listed no more.
func (h *headWalk) gap(w *walk, pos *position) (*event.Gap, error) {
	gone := w.Gone
	if h.sought != "" && !gone {
		known, err := h.known(h.sought)
		if err != nil {
			return nil, err
		}
		gone = !known[0]
	}
	if gone {
		gap := h.lost(&w.pos.common, "the list showed events that it had dropped before they could be taken in")
		gap.To, gap.Certain = later(w.Edge, w.GoneTo), true
		if w.Gone && w.GoneTo.IsZero() { // only the first page is newer
			gap.To = w.Head
		}
		return &gap, nil
	}
	gap := h.lostPlace(w)
	if gap != nil {
		pos.Hidden = w.empty()
	}
	if w.pos.Lost { // it was told when it was found
		return nil, nil
	}
	return gap, nil
}

// decide looks at what a walk has shown before anything of it is committed. done: the poll goes no further with it.
func (h *headWalk) decide(ctx context.Context, w *walk, told *event.Polled) (done, again bool, err error) {
	gap := h.lostPlace(w)
	policy := h.onLost()
	if gap == nil || policy == LostFromTime {
		return false, false, nil
	}
	if policy == LostFromNow {
		return true, true, h.anew(ctx, w, gap, told)
	}
	if err := h.drop(ctx); err != nil {
		return true, false, err
	}
	pos := w.pos
	pos.Trail = nil
	gap.To = time.Time{} // what the list drops until a person decides belongs to it
	return true, false, h.stop(ctx, w.gen, &pos.common, &pos, *gap)
}

// anew begins as a source that starts now. What heads the list is its boundary: where that is gone at the next poll, more was lost.
// A walk of several polls asks for the head again: what was listed since it began may be gone, and its first page with a restart.
func (h *headWalk) anew(ctx context.Context, w *walk, gap *event.Gap, told *event.Polled) error {
	if w.resumed {
		page, err := h.ask(ctx, "", told)
		if err != nil {
			return err
		}
		w.head(page)
	}
	h.walk, h.sought = nil, ""
	start := w.Head.Truncate(time.Second)
	pos := position{common: common{Version: positionVersion, Start: &start, Anew: true, IDs: w.top}}
	gap.Why += "; on_lost_position says from_now, so what it lists from before now is not taken in"
	gap.To, gap.Certain = start, w.unseen != "" || len(w.Marks) > 0
	if w.pos.Lost {
		gap = nil
	}
	_, err := h.commit(ctx, event.Commit{Generation: w.gen, Position: pos.encode(), Gap: gap}, nil)
	return err
}
