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
	mark string    // an id that is remembered with it, if any
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
	h.events = append(h.events, gathered{Event: e, at: dated(e.Time), seen: seen})
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
	c := event.Commit{Generation: h.generation, Remember: h.remember}
	size := 0
	for i := range h.events {
		g := &h.events[i]
		made := h.prepare == nil || h.prepare(g)
		if size += len(g.Data); len(c.Events) > 0 && (size > chunkBytes || len(c.Events) == chunkItems) {
			if err := h.send(ctx, c, told); err != nil {
				return err
			}
			c.Events, c.Remember, size = nil, nil, len(g.Data)
		}
		if made {
			c.Events = append(c.Events, g.Event)
		} else {
			c.Remember = append(c.Remember, g.ID)
		}
		if g.mark != "" {
			c.Remember = append(c.Remember, g.mark)
		}
	}
	c.Position, c.Gap = position, gap
	if err := h.send(ctx, c, told); err != nil {
		return err
	}
	if position != nil {
		h.taken = 0
	}
	h.events, h.remember, h.bytes = nil, nil, 0
	clear(h.have)
	return nil
}

func (h *harvest) send(ctx context.Context, c event.Commit, told *event.Polled) error {
	if len(c.Events) == 0 && len(c.Remember) == 0 && c.Position == nil && c.Gap == nil {
		return nil
	}
	_, err := h.feed.commit(ctx, c, told)
	if err == nil {
		h.taken += len(c.Events)
	}
	return err
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
