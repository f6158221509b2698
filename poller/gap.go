package poller

import (
	"slices"
	"time"

	"tidings/event"
)

// gap returns a gap if the walk found one, and notes in pos that it was told.
//
// It is certain where an event that was listed, and not taken in yet, is listed no more. Otherwise a list can't prove a
// loss: an event of ours that it lists no more may have been the last before the oldest that it does list. So it is a
// possible gap where we had seen ids in this list and it lists none of them, nor anything else from before the position, or where
// it ended in a place that it had said to go on from. A walk that ended at the start's floor shows nothing while all that was seen
// lies before that floor.
func (h *headWalk) gap(w *walk, pos *position) (*event.Gap, error) {
	gone := w.gone
	if h.sought != "" && !gone {
		known, err := h.known(h.sought)
		if err != nil {
			return nil, err
		}
		gone = !known[0]
	}
	gap := event.Gap{Source: h.poller.Source, From: w.pos.Time, To: w.Edge, Found: time.Now().Round(0), Certain: gone}
	if gone {
		gap.Why = "the list showed events that it had dropped before they could be taken in"
		return &gap, nil
	}
	atFloor := !w.Edge.IsZero() && w.Edge.Before(w.judge.start)
	if w.Met || len(w.pos.IDs) == 0 && !w.short || w.pos.Hidden || atFloor && w.pos.Time.Before(w.judge.start) {
		return nil, nil
	}
	pos.Hidden = !w.long && !slices.ContainsFunc(w.pages, func(s stretch) bool { return len(s.items) > 0 })
	switch {
	case w.short:
		gap.Why = "the list ends where it had said to go on, before any event that was seen earlier; what it listed there, if anything, is gone from it"
	case pos.Hidden:
		gap.Why = "the list is empty, though events were seen in it earlier; what was listed since, if anything, is gone from it"
	case !w.Edge.IsZero() && !w.Edge.After(w.pos.Time):
		gap.Why = "the list shows none of the events that were seen in it earlier; it may be filtered otherwise than before"
	default:
		gap.Why = "the list ends before any event that was seen earlier; what was listed in between, if anything, is gone from it"
	}
	return &gap, nil
}
