package poller

import (
	"context"
	"time"

	"tidings/event"
)

// timeWindow keeps a place in a list that is asked for by time. Each poll asks for what lies between the newest time that it has seen,
// less the overlap, and the server's own time. Both ends belong to the window, and what is new in it is told by id, so events of one
// second are never parted.
//
// The place moves once a window was read to its end: a page that fails leaves it where it was, and what was committed is recognised.
type timeWindow struct {
	*feed
	clock serverClock
	quiet quiet
}

// windowPosition is a place in time: all up to Time was committed, but for what the API lists late.
type windowPosition struct {
	common
	From time.Time `json:"from,omitzero"`  // no window begins before it
	Late bool      `json:"late,omitempty"` // what the first walk listed from before the start is remembered, so whatever is unknown is new
}

// serverClock is the server's clock as its answers tell it, by our monotonic clock in between; ours until it is known.
type serverClock struct{ date, seen time.Time }

func (c *serverClock) now(ours func() time.Time) time.Time {
	if c.date.IsZero() {
		return ours().Round(0)
	}
	return c.date.Add(time.Since(c.seen))
}

func (c *serverClock) learn(page event.Page) {
	if !page.Date.IsZero() {
		*c = serverClock{page.Date, time.Now()}
	}
}

// span is a window; both ends belong to it. A zero since is open.
type span struct{ since, until time.Time }

// windowRound is one way through all that came since the place.
type windowRound struct {
	*timeWindow
	harvest harvest
	told    *event.Polled
	was     windowPosition // at the beginning
	pos     windowPosition
	all     span      // what this round asks for
	head    time.Time // the server's clock at the first answer
	limit   time.Time // nothing after it counts for the place yet
	newest  time.Time // listed, within the windows so far
	seen    time.Time // the place's time at the beginning
	gap     *event.Gap
}

func (w *timeWindow) round(ctx context.Context, told *event.Polled) (again bool, err error) {
	stored, err := w.position()
	if err != nil {
		return false, err
	}
	pos := windowPosition{common: common{Version: positionVersion, Kind: TimeWindow}}
	if err := decode(stored.Data, TimeWindow, &pos); err != nil {
		return false, w.unreadable(err)
	}
	r := &windowRound{timeWindow: w, told: told, harvest: w.newHarvest(stored.Generation), was: pos, pos: pos, seen: pos.Time}
	r.harvest.prepare = r.wrap
	first, err := r.begin(ctx)
	if err != nil {
		return false, err
	}
	if r.away(&r.pos.common, r.head) {
		gap := r.lost(&r.pos.common, whyAway)
		if r.onLost() == LostStop {
			return false, r.stop(ctx, stored.Generation, &r.pos.common, &r.pos, gap)
		}
		if !r.pos.Lost { // else it was told when the source stopped
			r.gap = &gap
		}
	}
	for s := r.step(r.all.since); ; s = r.step(s.until) {
		r.limit = earlier(s.until, r.head)
		if err = r.walk(ctx, s, first); err == nil {
			err = r.passed(ctx, s)
		} else if ctx.Err() == nil && !isStoreError(err) {
			// What was listed before the failure is taken in; the place stays.
			if err := r.harvest.commit(ctx, nil, nil, told); err != nil {
				return false, err
			}
		}
		if err != nil || !s.until.Before(r.all.until) {
			break
		}
		first = nil
	}
	if err == nil {
		w.seen = r.head
	}
	return false, err
}

// begin asks for the first page, and once more where the answer shows that our idea of the server's clock was wrong.
func (r *windowRound) begin(ctx context.Context) (*event.Page, error) {
	fresh, due := r.try(&r.pos.common)
	if due {
		if _, err := r.commit(ctx, event.Commit{Generation: r.harvest.generation, Position: encode(r.pos)}, nil); err != nil {
			return nil, err
		}
	}
	for first := true; ; first = false {
		asked := time.Now()
		guess := r.clock.now(r.now)
		r.all = r.window(guess)
		page, err := r.ask(ctx, r.step(r.all.since), "")
		if err != nil {
			return nil, err
		}
		r.clock.learn(page)
		r.head = clock(page)
		if page.Date.IsZero() {
			r.head = guess
		}
		if r.pos.Start == nil {
			r.resolve(&r.pos.common, r.head, fresh)
			r.pos.From = *r.pos.Start
			if r.Late && r.startKind(&r.pos.common) == StartNow {
				r.pos.Late, r.pos.From = true, r.pos.From.Add(-r.poller.Overlap)
			}
			if _, err := r.commit(ctx, event.Commit{Generation: r.harvest.generation, Position: encode(r.pos)}, nil); err != nil {
				return nil, err
			}
			r.was = r.pos
		}
		off := r.head.Before(guess.Add(-clockSlack)) || r.head.After(guess.Add(time.Since(asked)+clockSlack))
		if !first || !off && !r.window(r.head).since.Before(r.all.since) {
			return &page, nil
		}
	}
}

// window returns what is to be asked for at that time of the server.
func (r *windowRound) window(now time.Time) span {
	s := span{r.pos.From, now.Add(-r.Lag)}
	if r.pos.Start == nil && r.startKind(&r.pos.common) == StartAt {
		s.since = r.poller.Start.At
	} else if r.pos.Start == nil && r.startKind(&r.pos.common) == StartNow {
		s.since = now.Add(-2 * clockSlack)
		if r.Late {
			s.since = s.since.Add(-r.poller.Overlap)
		}
	}
	if !r.pos.Time.IsZero() {
		s.since = later(s.since, r.pos.Time.Add(-r.poller.Overlap))
		// What was seen so long ago that it may be forgotten is not asked for again.
		if memory := r.remembered(now); r.pos.Time.Before(memory) {
			s.since = later(s.since, r.pos.Time)
		} else {
			s.since = later(s.since, memory)
		}
	}
	if s.since.After(s.until) {
		s.since = s.until
	}
	return s
}

// step returns the next window that begins at since.
func (r *windowRound) step(since time.Time) span {
	s := span{since, r.all.until}
	if end := since.Add(r.Step); r.Step > 0 && !since.IsZero() && end.Before(s.until) {
		s.until = end
	}
	return s
}

// passed commits what a window had, and the place behind it.
func (r *windowRound) passed(ctx context.Context, s span) error {
	last := !s.until.Before(r.all.until)
	if r.newest.After(r.pos.Time) {
		r.pos.Time = r.newest
	}
	// Where nothing comes for long, windows would be asked for again and again from the last event on. What lies further back than a
	// whole step behind the overlap is settled.
	settled := earlier(s.since, r.head.Add(-r.poller.Overlap-r.Step))
	if r.Step > 0 && settled.Sub(later(r.pos.From, r.pos.Time.Add(-r.poller.Overlap))) >= r.Step {
		r.pos.From = settled
	}
	if last {
		r.pos.CaughtUp, r.pos.Lost = true, false
	}
	if !r.worthStoring(last) {
		return r.harvest.commit(ctx, nil, nil, r.told)
	}
	r.pos.Seen = r.head
	err := r.harvest.commit(ctx, encode(r.pos), r.gap, r.told)
	if err == nil {
		r.was, r.gap = r.pos, nil
	}
	return err
}

// worthStoring reports whether the place is to be stored now. Without an event it is where it went on by more than what each poll looks
// at anyway.
func (r *windowRound) worthStoring(last bool) bool {
	switch {
	case len(r.harvest.events) > 0 || r.harvest.taken > 0 || r.gap != nil || r.pos.CaughtUp != r.was.CaughtUp || r.pos.Lost != r.was.Lost:
		return true
	case r.pos.Time.Sub(r.was.Time) > r.poller.Overlap || !r.pos.From.Equal(r.was.From):
	case last && r.Retain > 0 && r.head.Sub(r.was.Seen) > r.Retain/8: // or a start anew would take us for away
	default:
		return false
	}
	return r.quiet.due()
}

// failed looks what to do where the API no longer takes the place: from_time is what it did not take.
func (w *timeWindow) failed(ctx context.Context, err error) (restart bool, _ error) {
	if !isLost(err) {
		return stale(err)
	}
	stored, perr := w.position()
	if perr != nil {
		return false, perr
	}
	pos := windowPosition{common: common{Version: positionVersion, Kind: TimeWindow}}
	if derr := decode(stored.Data, TimeWindow, &pos); derr != nil || !pos.CaughtUp && pos.Time.IsZero() {
		return false, err
	}
	if w.onLost() != LostFromNow {
		return stale(w.stop(ctx, stored.Generation, &pos.common, &pos, w.lost(&pos.common, whyEarly)))
	}
	gap := w.lost(&pos.common, whyEarly+", and on_lost_position says from_now: what was listed since is not taken in")
	now := common{Version: positionVersion, Kind: TimeWindow, FirstTry: time.Now().Round(0), Anew: true, Lost: true}
	c := event.Commit{Generation: stored.Generation, Position: encode(windowPosition{common: now}), Gap: &gap}
	if _, err := w.commit(ctx, c, nil); err != nil {
		return stale(err)
	}
	return true, err
}

const whyEarly = "the API does not list from the place's time on any more"

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
