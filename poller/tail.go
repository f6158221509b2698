package poller

import (
	"bytes"
	"context"
	"slices"
	"time"

	"tidings/event"
)

// tailCursor keeps a place in a list that goes on from a cursor, oldest event first. Each page is committed with the cursor behind it.
type tailCursor struct {
	*feed
	pos        *tailPosition // nil: to be read from the store. It may be ahead of what is stored by pages without an event
	generation uint64
	stored     tailPosition
	fresh      bool       // the API was never asked before this round
	gap        *event.Gap // to be recorded with the next commit
	quiet      quiet
	neighbour  time.Time // of the last dated event before the next one
}

// tailPosition is the place in such a list: what stands in front of Cursor was committed.
type tailPosition struct {
	common
	Cursor string    `json:"cursor,omitempty"`
	Again  bool      `json:"again,omitempty"`  // the list gave no cursor behind its last page: that page, whose ids are IDs, follows Cursor
	From   time.Time `json:"from,omitzero"`    // without a cursor, and until the list's end was reached: nothing older is taken in
	Sought bool      `json:"sought,omitempty"` // the list was asked for from From on; else it was begun with the earliest
	Told   time.Time `json:"told,omitzero"`    // Lost: From of the gap that was told
}

// Bounds of what a tailPosition remembers.
const (
	maxTailIDs = 1024            // of a page that is listed again
	clockSlack = 2 * time.Second // how far a guess of the server's clock may be off; its Date has whole seconds
)

func (t *tailCursor) round(ctx context.Context, told *event.Polled) (again bool, err error) {
	if err := t.load(ctx); err != nil {
		return false, err
	}
	t.neighbour = time.Time{}
	if !t.pos.CaughtUp {
		t.neighbour = t.pos.Time
	}
	guard := newGuard()
	guard.most = maxEmptyTail
	for ctx.Err() == nil {
		request, guess, err := t.request(ctx)
		if err != nil {
			return false, err
		}
		page, err := t.fetch(ctx, request, told)
		if err != nil {
			return false, err
		}
		if t.pos.Start == nil {
			t.resolve(&t.pos.common, clock(page), t.fresh)
			t.pos.From = *t.pos.Start
			if off := t.pos.Start.Sub(guess); !guess.IsZero() && (off < 0 || off > 2*clockSlack) {
				t.pos.Cursor = ""
				continue
			}
		}
		idle := page.Idle || page.NotModified || page.Next == "" || len(page.Events) == 0 && page.Next == request.Cursor
		if !idle {
			if err := guard.pass(request.Cursor, page); err != nil {
				return false, t.endless(err, "it is read no further")
			}
		}
		if err := t.take(ctx, request.Cursor, page, idle, told); err != nil || idle {
			return false, err
		}
		if t.turnOver() {
			return true, nil
		}
	}
	return false, context.Cause(ctx)
}

// load reads the position, unless what is in memory is of the same generation.
func (t *tailCursor) load(ctx context.Context) error {
	stored, err := t.position()
	if err != nil {
		return err
	}
	if t.pos == nil || t.generation != stored.Generation {
		pos := tailPosition{common: common{Version: positionVersion, Kind: TailCursor}}
		if err := decode(stored.Data, TailCursor, &pos); err != nil {
			return t.unreadable(err)
		}
		t.pos, t.generation, t.stored, t.gap = &pos, stored.Generation, pos, nil
	}
	var due bool
	if t.fresh, due = t.try(&t.pos.common); due {
		return t.keep(ctx, nil, nil)
	}
	return nil
}

// request returns what to ask for next: what follows the cursor, or the list from a time on where it can be begun at one. guess is that
// time as long as the server's clock isn't known; where it was wrong the list is begun once more.
func (t *tailCursor) request(ctx context.Context) (r Request, guess time.Time, err error) {
	pos := t.pos
	if pos.Cursor != "" && pos.Start != nil {
		return Request{Cursor: pos.Cursor}, guess, nil
	}
	if pos.Start == nil && t.startKind(&pos.common) != StartNow {
		t.resolve(&pos.common, time.Time{}, false)
		pos.From = *pos.Start
	}
	from := pos.From
	if pos.Start == nil {
		guess = pos.FirstTry.Round(0)
		from = guess
	}
	seeker, seeks := t.Fetcher.(Seeker)
	if pos.Sought = (seeks || t.CanSeek) && !from.IsZero(); !pos.Sought {
		return Request{}, time.Time{}, nil
	}
	from = from.Add(-clockSlack) // not every API counts the time itself in; what is older is left out here
	if !guess.IsZero() {
		guess = from
	}
	if !seeks {
		return Request{From: from}, guess, nil
	}
	t.poller.progress.Within(fetchTime)
	pos.Cursor, err = seeker.Seek(ctx, from)
	return Request{Cursor: pos.Cursor}, guess, err
}

// take commits what is new of a page, which was asked for with cursor, together with the place behind it.
func (t *tailCursor) take(ctx context.Context, cursor string, page event.Page, idle bool, told *event.Polled) error {
	pos, head := t.pos, clock(page)
	if t.Order == Newest {
		slices.Reverse(page.Events)
	}
	if t.away(&pos.common, head) {
		gap := t.lost(&pos.common, whyAway)
		if t.onLost() == LostStop {
			pos.Told = gap.From
			return t.stop(ctx, t.generation, &pos.common, pos, gap)
		}
		t.tell(gap)
	}
	if t.gap != nil {
		for _, e := range slices.Backward(page.Events) {
			if at := dated(e.Time); at.After(t.gap.From) {
				t.gap.To = at
			}
		}
	}
	events, newest, err := t.pick(page, head, told)
	if err != nil {
		return err
	}
	pos.move(cursor, page)
	pos.Time = later(pos.Time, newest)
	pos.Lost = t.gap != nil || pos.Lost
	if idle {
		pos.CaughtUp, pos.Lost, pos.Told = true, false, time.Time{}
		if pos.Cursor != "" {
			pos.From, pos.Sought = time.Time{}, false
		}
	}
	if len(events) > 0 || t.due(idle, head) {
		if t.Retain > 0 {
			pos.Seen = head
		}
		err = t.keep(ctx, events, told)
	}
	if err == nil {
		t.seen = head
	}
	return err
}

// pick returns what is new of a page, and the newest time of what was unknown, not ahead of the server's clock. An undated event is as
// old as the dated one in front of it.
func (t *tailCursor) pick(page event.Page, head time.Time, told *event.Polled) (events []event.Event, newest time.Time, err error) {
	if len(page.Events) == 0 {
		return nil, newest, nil
	}
	known, err := t.known(idsOf(page.Events)...)
	if err != nil {
		return nil, newest, err
	}
	seen := map[string]bool{}
	for i, e := range page.Events {
		at := dated(e.Time)
		if at.IsZero() {
			at = t.neighbour
		}
		t.neighbour = at
		if known[i] || seen[e.ID] || slices.Contains(t.pos.IDs, e.ID) {
			told.Repeated++
			continue
		}
		seen[e.ID] = true
		newest = later(newest, at)
		switch {
		case !t.old(at, head):
			events = append(events, e)
		case !t.pos.CaughtUp:
			told.History++
		}
	}
	if newest.After(head) {
		newest = head
	}
	return events, newest, nil
}

// old reports whether an unknown event of that time is not new: it is from before the start, or from before the time where a lost place
// is looked for; or it was seen once and is remembered no more, which can be only where the list shows again what it showed before.
func (t *tailCursor) old(at, head time.Time) bool {
	pos := t.pos
	if at.IsZero() {
		return !pos.CaughtUp && !pos.Sought && !pos.From.IsZero()
	}
	again := pos.CaughtUp && (pos.Again || !pos.From.IsZero())
	forgotten := again && at.Before(t.remembered(head)) && !at.After(pos.Time.Add(time.Second)) // a Date has whole seconds
	return at.Before(*pos.Start) || at.Before(pos.From) || forgotten
}

// move goes behind a page. Where the list gave no cursor, the place stays, and the page will be listed again.
func (p *tailPosition) move(cursor string, page event.Page) {
	stays := page.Next == "" || page.Next == cursor
	if len(page.Events) > 0 || !stays {
		p.Again = stays
	}
	if page.Next != "" {
		p.Cursor = page.Next
	}
	most := maxIDs
	if p.Again {
		most = maxTailIDs
	}
	ids := make([]string, 0, len(page.Events)+len(p.IDs))
	for _, e := range slices.Backward(page.Events) {
		ids = append(ids, e.ID)
	}
	for _, id := range p.IDs {
		if len(ids) < most && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	p.IDs = ids[:min(len(ids), most)]
}

// due reports whether the place is to be stored though there is no event to store with it. One that was lost is not while the walk shows
// only what was seen before: the gap is told with its end.
func (t *tailCursor) due(idle bool, head time.Time) bool {
	if t.gap != nil {
		return idle || !t.gap.To.IsZero()
	}
	asked := t.Retain > 0 && head.Sub(t.stored.Seen) > t.Retain/8 // else a start anew would take us for away
	return t.pos.CaughtUp != t.stored.CaughtUp || t.pos.Lost != t.stored.Lost || (asked || t.moved()) && t.quiet.due()
}

// moved reports whether the place is another than the stored one.
func (t *tailCursor) moved() bool {
	now, before := *t.pos, t.stored
	now.Seen, before.Seen = time.Time{}, time.Time{}
	return !bytes.Equal(encode(now), encode(before))
}

// keep commits events and the place, and the gap that is to be told.
func (t *tailCursor) keep(ctx context.Context, events []event.Event, told *event.Polled) error {
	_, err := t.commit(ctx, event.Commit{Generation: t.generation, Events: events, Position: encode(t.pos), Gap: t.gap}, told)
	if err == nil {
		t.stored, t.gap = *t.pos, nil
	}
	return err
}

// tell lets the next commit record a gap, unless one was told since the list was last read to its end, and nothing was taken in after it.
func (t *tailCursor) tell(gap event.Gap) {
	if t.gap == nil && (!t.pos.Lost || gap.From.After(t.pos.Told)) {
		t.gap, t.pos.Told = &gap, gap.From
	}
}

const (
	whyLost    = "the API no longer knows the place where its list was left"
	whyUndated = whyLost + ", and its events bear no time by which to find it again"
	whyFromNow = whyLost + ", and on_lost_position says from_now: what it has listed since is not taken in"
)

// failed looks what to do about a lost place, before anything behind it is asked for.
func (t *tailCursor) failed(ctx context.Context, err error) (restart bool, _ error) {
	if isStoreError(err) {
		t.pos = nil
	}
	if t.pos == nil || t.pos.Cursor == "" || t.pos.Start == nil || !isLost(err) {
		return stale(err)
	}
	pos := t.pos
	switch policy := t.onLost(); {
	case t.gap != nil:
		return t.stopped(ctx, whyLost+", and does not know the one that it gives instead")
	case policy == LostFromNow:
		t.tell(t.lost(&pos.common, whyFromNow))
		t.pos = &tailPosition{common: common{
			Version: positionVersion, Kind: TailCursor, FirstTry: time.Now().Round(0), Anew: true, Lost: true,
		}, Told: pos.Told}
		if err := t.keep(ctx, nil, nil); err != nil {
			t.pos = nil
			return stale(err)
		}
		return true, err
	case policy == LostStop:
		return t.stopped(ctx, whyLost)
	case pos.Time.IsZero() && len(pos.IDs) > 0:
		return t.stopped(ctx, whyUndated)
	}
	t.tell(t.lost(&pos.common, whyLost))
	pos.Cursor, pos.Again, pos.From = "", false, *pos.Start
	if !pos.Time.IsZero() {
		pos.From = later(pos.From, pos.Time.Add(-t.poller.Overlap))
	}
	return true, err
}

func (t *tailCursor) stopped(ctx context.Context, why string) (restart bool, _ error) {
	if t.gap != nil { // this one is told in its place
		t.gap, t.pos.Lost = nil, false
	}
	gap := t.lost(&t.pos.common, why)
	t.pos.Told = gap.From
	err := t.stop(ctx, t.generation, &t.pos.common, t.pos, gap)
	if isStoreError(err) {
		t.pos = nil
	}
	return stale(err)
}
