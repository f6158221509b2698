package poller

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"tidings/event"
)

// ackQueue keeps no place of its own: what was taken in is acknowledged, and the API lists it no more. An event is acknowledged when it is
// durable here, and again whenever it is listed again. Events from before the start are remembered and acknowledged, and not taken in.
type ackQueue struct {
	*feed
	acker Acker
	quiet quiet
}

// ackPosition holds no more than what all positions do: the API keeps the place.
type ackPosition struct{ common }

// ackPage is a page that is to be acknowledged.
type ackPage struct {
	cursor string
	events []event.Event // without their bodies
}

const (
	ackAtOnce  = 50     // events in one call, which may be as many requests
	maxUnacked = 10_000 // events that wait for it
)

// ackRound is one way through the list.
type ackRound struct {
	*ackQueue
	harvest harvest
	pos     ackPosition
	was     ackPosition
	pages   []ackPage
	waiting int // events of pages
	gap     *event.Gap
	refused error // the first acknowledgement that the API does not take, where it took others
}

// round reads the list once and acknowledges all that it lists. Another is due where something of it was new: what is acknowledged makes
// room for more, and moves what follows to earlier pages.
func (q *ackQueue) round(ctx context.Context, told *event.Polled) (again bool, err error) {
	stored, err := q.position()
	if err != nil {
		return false, err
	}
	pos := ackPosition{common{Version: positionVersion, Kind: Ack}}
	if err := decode(stored.Data, Ack, &pos); err != nil {
		return false, q.unreadable(err)
	}
	r := &ackRound{ackQueue: q, harvest: q.newHarvest(stored.Generation), pos: pos, was: pos}
	fresh, due := q.try(&r.pos.common)
	if due {
		if _, err := q.commit(ctx, event.Commit{Generation: stored.Generation, Position: encode(r.pos)}, nil); err != nil {
			return false, err
		}
	}
	taken, guard := 0, newGuard()
	for cursor := ""; ; {
		page, err := q.fetch(ctx, Request{Cursor: cursor}, told)
		if err == nil {
			if err = guard.pass(cursor, page); err != nil {
				err = q.endless(err, "it is read no further")
			}
		}
		if err != nil {
			// What was listed before the failure is taken in and acknowledged; the next poll begins at the head.
			if len(r.pages) > 0 && ctx.Err() == nil {
				if err := r.settle(ctx, false, told); isStoreError(err) {
					return false, err
				}
			}
			return false, err
		}
		if r.pos.Start == nil {
			if err := r.begin(ctx, page, fresh); err != nil {
				return false, err
			}
		}
		if r.gap == nil && q.away(&r.pos.common, clock(page)) {
			gap := q.lost(&r.pos.common, whyAway)
			if q.onLost() == LostStop {
				return false, q.stop(ctx, stored.Generation, &r.pos.common, &r.pos, gap)
			}
			if !r.pos.Lost { // else it was told when the source stopped
				r.gap = &gap
			}
		}
		n, err := r.take(page, cursor, told)
		if err != nil {
			return false, err
		}
		taken += n
		end := page.Next == "" || page.Idle
		if end || r.harvest.full() || r.waiting >= maxUnacked {
			r.pos.Seen = clock(page)
			if err := r.settle(ctx, end, told); err != nil {
				return false, err
			}
			if taken > 0 {
				q.seen = clock(page)
				return true, nil
			}
			if end {
				q.seen = clock(page)
				return false, r.refused
			}
		}
		cursor = page.Next
	}
}

// begin stores the start before anything else is committed.
func (r *ackRound) begin(ctx context.Context, page event.Page, fresh bool) error {
	r.resolve(&r.pos.common, clock(page), fresh)
	_, err := r.commit(ctx, event.Commit{Generation: r.harvest.generation, Position: encode(r.pos)}, nil)
	r.was = r.pos
	return err
}

// take holds what is new of a page, and says how many items were not known.
func (r *ackRound) take(page event.Page, cursor string, told *event.Polled) (fresh int, err error) {
	if len(page.Events) == 0 {
		return 0, nil
	}
	known, err := r.known(idsOf(page.Events)...)
	if err != nil {
		return 0, err
	}
	now := clock(page)
	for i, e := range page.Events {
		at := dated(e.Time)
		switch {
		case known[i] || r.harvest.have[e.ID]:
			told.Repeated++
		case at.Before(*r.pos.Start) && !at.IsZero() || at.IsZero() && !r.was.CaughtUp && r.startKind(&r.pos.common) == StartNow:
			if !r.was.CaughtUp {
				told.History++
			}
			fresh++
			r.harvest.know(e.ID)
		default:
			fresh++
			r.harvest.add(e, false)
		}
		if at.After(r.pos.Time) && !at.After(now) {
			r.pos.Time = at
		}
		page.Events[i].Data = nil
	}
	r.pages = append(r.pages, ackPage{cursor, page.Events})
	r.waiting += len(page.Events)
	return fresh, nil
}

// settle commits what is held, and then acknowledges the pages that it came on. An event that the API does not let be acknowledged is told
// when nothing new is listed beside it.
func (r *ackRound) settle(ctx context.Context, end bool, told *event.Polled) error {
	r.pos.CaughtUp = r.pos.CaughtUp || end
	r.pos.Lost = r.pos.Lost && !end
	var position []byte
	due := r.Retain > 0 && end && r.pos.Seen.Sub(r.was.Seen) > r.Retain/8 && r.quiet.due()
	if due || len(r.harvest.events) > 0 || r.harvest.taken > 0 || r.pos.CaughtUp != r.was.CaughtUp || r.pos.Lost != r.was.Lost || r.gap != nil {
		position = encode(r.pos)
	}
	if err := r.harvest.commit(ctx, position, r.gap, told); err != nil {
		return err
	}
	if position != nil {
		r.was, r.gap = r.pos, nil
	}
	if r.Order == Newest {
		slices.Reverse(r.pages)
	}
	for _, page := range r.pages {
		for events := range slices.Chunk(page.events, ackAtOnce) {
			r.poller.progress.Within(fetchTime)
			err := r.acker.Ack(ctx, page.cursor, events)
			if fetch, ok := errors.AsType[*FetchError](err); ok && fetch.Rest { // one event holds up no other
				r.refused, err = cmp.Or(r.refused, err), nil
			}
			if err != nil {
				return err
			}
		}
	}
	r.pages, r.waiting = nil, 0
	return nil
}

// failed has nothing to forget. A cursor may be no longer known since what it stood behind was acknowledged: then the head of the list
// shows what is left.
func (q *ackQueue) failed(_ context.Context, err error) (restart bool, _ error) {
	return errors.Is(err, event.ErrStale) || isLost(err), err
}
