package poller

import (
	"time"

	"tidings/event"
)

// item is an event as a walk sees it.
type item struct {
	event.Event           // Data is dropped of what is known
	at          time.Time // Time; zero where the event is undated
	known       bool      // remembered by the store, or of the boundary
	again       bool      // an earlier page of the walk listed it
	behind      bool      // something of the boundary was listed before it
	fresh       bool      // to be taken in; set by judge.pick
}

// judge knows what is new at a source. With the position as it was when the walk began, it is a pure function of the list.
type judge struct {
	start    time.Time // the floor; zero: none
	horizon  time.Time // an unknown event before it was forgotten; zero: none
	overlap  time.Time // known events up to it end a walk; zero while there is no position
	seen     time.Time // the position's time; zero while there is none
	ahead    time.Time // an event after it is of the future, not of a clock that is ahead or of another zone
	first    bool      // no walk has ended yet
	boundary map[string]bool
	history  bool // first walk: what bears no time is history
}

func (h *headWalk) judge(pos position, head time.Time) judge {
	j := judge{first: !pos.CaughtUp, seen: pos.Time, ahead: head.Add(24 * time.Hour), boundary: make(map[string]bool, len(pos.IDs))}
	if pos.Start != nil {
		j.start = *pos.Start
	}
	j.history = j.first && (h.startKind(&pos.common) == StartNow || j.start.After(head))
	for _, id := range pos.IDs {
		j.boundary[id] = true
	}
	if !pos.Time.IsZero() {
		j.overlap = pos.Time.Add(-h.poller.Overlap)
		// An unknown event from before the overlap is a very late one, or one that was forgotten. It is late as long as it would
		// still be remembered had it been listed in time.
		// Of what was seen within the overlap the boundary lacks what is not newer than From.
		j.horizon = j.overlap
		if !pos.From.Before(j.horizon) {
			j.horizon = pos.From.Add(time.Nanosecond)
		}
		if memory := h.remembered(head); memory.Before(j.horizon) {
			j.horizon = memory
		}
	}
	return j
}

// recent reports whether an unknown event of that time is new. Times have whole seconds often: the floor itself is inside.
func (j judge) recent(t time.Time) bool { return !t.Before(j.start) && !t.Before(j.horizon) }

// pick marks what is new among items, a stretch of the list, newest first. below is the time of the next older dated event,
// zero where it isn't known. It returns how many unknown ones are not new.
//
// An undated item is as old as its next older dated neighbour; where that one is too old itself, the item is new if it was
// listed in front of the boundary: then it came after all that was seen before. In a list without times the order is all
// there is, and what is listed behind the boundary is settled.
func (j judge) pick(items []item, below time.Time) (old int) {
	older := make([]time.Time, len(items))
	for i := len(items) - 1; i >= 0; i-- {
		older[i] = below
		if !items[i].at.IsZero() {
			below = items[i].at
		}
	}
	var newer time.Time
	for i := range items {
		it := &items[i]
		if !it.at.IsZero() {
			newer = it.at
		}
		switch {
		case it.known:
			it.fresh = false
			continue
		case !newer.IsZero() && !j.recent(newer): // its own time, or that of a newer neighbour
			it.fresh = false
		case !it.at.IsZero():
			it.fresh = true
		case !older[i].IsZero():
			it.fresh = j.recent(older[i]) || !j.first && !it.behind && len(j.boundary) > 0
		case !newer.IsZero():
			it.fresh = true
		default:
			it.fresh = !j.history && !it.behind
		}
		if !it.fresh {
			old++
		}
	}
	return old
}

// met reports whether an item shows that the list still reaches back to what was seen before this position. What an interrupted
// walk has taken in since does not, nor does an event of the future, which heads a list whatever goes from its end.
func (j judge) met(it item) bool {
	switch {
	case !it.known:
		return false
	case it.at.IsZero() || j.seen.IsZero():
		return j.boundary[it.ID] || j.seen.IsZero()
	}
	return !it.at.After(j.seen) || j.boundary[it.ID] && !it.at.After(j.ahead)
}

// settled reports whether a walk may end after a page that ends with last: that one is known and older than the overlap, or
// is too old to be new. edge tells how old an undated last item is at least.
func (j judge) settled(last item, edge edge) bool {
	old := last.known || last.behind && last.at.IsZero()
	switch {
	case !edge.at.IsZero() && !j.recent(edge.at):
		return true
	case j.overlap.IsZero():
		return edge.at.IsZero() && (old || j.history && edge.undated >= maxUndated)
	case edge.at.IsZero() || edge.at.After(j.overlap):
		return old && edge.undated >= maxUndated
	}
	return last.known
}

// edge is how far back a walk is: the time of the last item that bore one, and how many came after it that bear none.
type edge struct {
	at      time.Time
	undated int
}

// maxUndated is how many items without a time in a row make a list one without times, whatever else it lists.
const maxUndated = 64

func (e *edge) pass(items []item) {
	for _, it := range items {
		if e.undated++; !it.at.IsZero() {
			*e = edge{at: it.at}
		}
	}
}

// shifted reports whether a list has moved on under an interrupted walk. Pages that are numbers do that where more was listed meanwhile
// than had been walked: what stood in between was pushed behind, or off the list. items, found where the walk goes on, show it where they
// are all newer than what it had reached; or, once it has met what is known, where none of them was listed before nor is older.
func (w *walk) shifted(items []item) bool {
	newer, tied := false, false
	for _, it := range items {
		switch {
		case it.again || it.known || !it.at.IsZero() && it.at.Before(w.edge.at):
			return false
		case it.at.After(w.edge.at):
			newer = true
		case !it.at.IsZero():
			tied = true
		}
	}
	return newer && !tied && !w.edge.at.IsZero() || w.Met && len(items) > 0
}
