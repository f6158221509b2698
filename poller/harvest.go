package poller

import (
	"context"
	"slices"
	"time"

	"tidings/event"
)

// harvest is what a round has found new and not committed yet, in the order in which it was listed. It is committed oldest first, as
// far as memory lets it be put in order.
type harvest struct {
	feed       *feed
	generation uint64
	prepare    func(*gathered) bool // finishes an event before it is committed; false: none is made of it, and its id is remembered. May be nil

	events   []gathered
	have     map[string]bool // ids of events and of what is to be remembered
	remember []string
	bytes    int
	taken    int // committed since the position was stored
}

// gathered is an event that is to be committed.
type gathered struct {
	event.Event
	at   time.Time // its time, or that of its neighbour
	seen bool      // TimeWindow with Changes: its resource was listed earlier
}

// Bounds of a harvest and of one transaction of it.
const (
	maxHeld    = 50_000  // ids
	chunkBytes = 2 << 20 // below what the store makes one transaction of, whatever is in it
	chunkItems = 1000
)

func (f *feed) newHarvest(generation uint64) harvest {
	return harvest{feed: f, generation: generation, have: map[string]bool{}}
}

func (h *harvest) add(e event.Event, seen bool) {
	h.have[e.ID] = true
	h.events = append(h.events, gathered{e, dated(e.Time), seen})
	h.bytes += len(e.Data) + len(e.ID)
}

// know remembers an id without an event.
func (h *harvest) know(id string) {
	h.have[id] = true
	h.remember = append(h.remember, id)
	h.bytes += len(id)
}

func (h *harvest) full() bool {
	return h.bytes >= h.feed.poller.memory() || len(h.events)+len(h.remember) >= maxHeld
}

// commit makes all that is held durable, and with the last of it the position, where there is one, and the gap.
func (h *harvest) commit(ctx context.Context, position []byte, gap *event.Gap, told *event.Polled) error {
	h.sort()
	var events []event.Event
	for i := range h.events {
		g := &h.events[i]
		if h.prepare != nil && !h.prepare(g) {
			h.remember = append(h.remember, g.ID)
			continue
		}
		events = append(events, g.Event)
	}
	for {
		n := chunk(events)
		m := min(len(h.remember), chunkItems)
		c := event.Commit{Generation: h.generation, Events: events[:n], Remember: h.remember[:m]}
		events, h.remember = events[n:], h.remember[m:]
		last := len(events) == 0 && len(h.remember) == 0
		if last {
			c.Position, c.Gap = position, gap
		}
		if len(c.Events) > 0 || len(c.Remember) > 0 || c.Position != nil || c.Gap != nil {
			if _, err := h.feed.commit(ctx, c, told); err != nil {
				return err
			}
			h.taken += n
		}
		if last {
			break
		}
	}
	if position != nil {
		h.taken = 0
	}
	h.events, h.remember, h.bytes = nil, nil, 0
	clear(h.have)
	return nil
}

// chunk returns how many events go into one transaction; at least one.
func chunk(events []event.Event) int {
	size := 0
	for i, e := range events {
		if size += len(e.Data); i > 0 && (size > chunkBytes || i >= chunkItems) {
			return i
		}
	}
	return len(events)
}

// sort puts the events in order, oldest first. An undated one stays beside the neighbour that was listed before it, or, newest first,
// after it; what bears the same time stays as it was listed.
func (h *harvest) sort() {
	if h.feed.Order == Newest {
		slices.Reverse(h.events)
	}
	var before time.Time
	for i := range h.events {
		if g := &h.events[i]; g.at.IsZero() {
			g.at = before
		} else {
			before = g.at
		}
	}
	slices.SortStableFunc(h.events, func(a, b gathered) int { return a.at.Compare(b.at) })
}
