package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidings/event"
)

// headWalk keeps a place in a list that shows its newest event first: each poll walks from the head back to what is known.
type headWalk struct {
	*feed
	walk   *walk  // one that a failed fetch interrupted
	sought string // id of an event that a forgotten walk listed and did not take in; empty once it is listed again
	quiet  quiet
}

// walk is one way from the head of the list back to what is settled.
type walk struct {
	trail
	gen     uint64   // generation of the position that it started from
	pos     position // that position
	stored  bool     // the store holds a trail of it
	judge   judge
	guard   guard
	edge    edge
	unseen  string   // id of the last item listed that is new for sure
	top     []string // ids of the first page, as many as a boundary has; empty where the walk was resumed from the store
	goesOn  bool     // the API said that there is a page after the last one walked
	short   bool     // that page was empty, and the last
	doubts  int      // how often such an end was not believed
	stuck   int      // polls in a row that failed at the same request
	begun   bool     // the head was asked
	fresh   bool     // the source was never asked before this walk
	resumed bool     // it began in an earlier poll: the head has moved since

	unchanged bool // the API said so of the list's first page, and all of that was taken in

	pages []stretch // newest first; nil once the walk is long
	long  bool
	bytes int // of what is unseen in pages, the first one aside
	items int // in pages

	since  int       // bytes fetched or committed since the trail was stored
	record int       // length of the trail as it was stored
	below  stretch   // long: the stretch committed last
	oldest time.Time // long: time of the newest dated item of below
}

// stretch is a page, or several on end, with the cursor that asks for it.
type stretch struct {
	cursor string
	behind bool
	items  []item
}

// unseen returns the bytes of what may be new, and the id of the last of it; empty where nothing is. What an earlier page listed
// too is that page's: behind this one's cursor it is not to be found.
func (s stretch) unseen(j judge) (bytes int, last string) {
	for _, it := range s.items {
		if !it.known && !it.again && (it.at.IsZero() || j.recent(it.at)) {
			bytes += len(it.Data) + len(it.ID) + len(it.Type)
			last = it.ID
		}
	}
	return bytes, last
}

// mark returns where the stretch is, as far as last.
func (s stretch) mark(last string) mark {
	return mark{Cursor: s.cursor, Last: last, Behind: s.behind}
}

// trim leaves of a stretch without anything new what its undated neighbours are judged by.
func (s *stretch) trim() {
	i := slices.IndexFunc(s.items, func(it item) bool { return !it.at.IsZero() })
	if i < 0 {
		s.items = nil
		return
	}
	s.items = []item{s.items[i]}
}

// round takes one walk to its end and reports whether another one is due at once.
func (h *headWalk) round(ctx context.Context, told *event.Polled) (again bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	defer func() {
		if isStoreError(err) {
			h.walk = nil
		}
	}()
	w, err := h.begin(ctx)
	if err != nil {
		return false, err
	}
	h.walk = w
	if err := h.walkBack(ctx, w, told); err != nil {
		return false, err
	}
	switch {
	case w.unchanged:
		h.walk = nil
		return false, nil
	case !w.End:
		return true, nil
	}
	defer func() {
		if err == nil {
			h.seen = w.Head
		}
	}()
	if done, again, err := h.decide(ctx, w, told); done {
		return again, err
	}
	if w.long {
		return h.commitLong(ctx, w, told)
	}
	h.walk = nil // what can't be committed is fetched again
	return w.resumed, h.commitShort(ctx, w, told)
}

// begin goes on with an interrupted walk, from memory or from the store, or starts a new one.
func (h *headWalk) begin(ctx context.Context) (*walk, error) {
	stored, err := h.position()
	if err != nil {
		return nil, err
	}
	if w := h.walk; w != nil && w.gen == stored.Generation {
		w.resumed, w.fresh = w.begun, false
		return w, nil
	}
	pos, err := decodePosition(stored.Data)
	if err != nil {
		return nil, h.unreadable(err)
	}
	w := &walk{gen: stored.Generation, pos: pos, guard: newGuard()}
	if t := pos.Trail; t != nil && pos.Start != nil {
		w.trail, w.stored, w.long, w.begun, w.resumed = *t, true, true, true, true
		w.record, w.edge.at = len(stored.Data), w.Edge
		w.judge = h.judge(pos, w.Head)
		return w, nil
	}
	var due bool
	if w.fresh, due = h.try(&w.pos.common); due {
		err = h.keepAlone(ctx, w, w.pos)
	}
	return w, err
}

// keepAlone commits a position without an event.
func (h *headWalk) keepAlone(ctx context.Context, w *walk, pos position) error {
	data := pos.encode()
	w.record = len(data)
	_, err := h.commit(ctx, event.Commit{Generation: w.gen, Position: data}, nil)
	return err
}

// drop forgets a walk, in the store too. The position stays where it is.
func (h *headWalk) drop(ctx context.Context) error {
	w := h.walk
	h.walk = nil
	if w == nil || !w.stored {
		return nil
	}
	pos := w.pos
	pos.Trail = nil
	return h.keepAlone(ctx, w, pos)
}

// failed keeps what a later round can go on with. Where a walk's place was lost, or the position was changed under it, the list is
// walked again from the head at once.
func (h *headWalk) failed(ctx context.Context, err error) (restart bool, _ error) {
	lost := isLost(err) || h.stuck(err) || errors.Is(err, errShifted)
	restart = errors.Is(err, event.ErrStale) || lost && h.walk != nil && h.walk.begun
	if lost && h.walk != nil && h.walk.unseen != "" {
		h.sought = h.walk.unseen
	}
	if lost || errors.Is(err, errRepeats) || errors.Is(err, errEmpty) {
		if err := h.drop(ctx); err != nil && !errors.Is(err, event.ErrStale) {
			return false, err
		}
	}
	return restart, err
}

// maxStuck is how many polls in a row may fail at the same place of a walk: with the default backoff, almost two hours.
const maxStuck = 16

// stuck reports whether a walk is to be given up since its place fails again and again. It may be that place alone: not every API
// says plainly that it does not know a cursor, or it has an item there that can't be listed.
func (h *headWalk) stuck(err error) bool {
	health, _ := judgeFailure(err)
	if h.walk == nil || !h.walk.begun || health != event.SourceFailing {
		return false
	}
	h.walk.stuck++
	return h.walk.stuck > maxStuck
}

func (h *headWalk) ask(ctx context.Context, cursor string, told *event.Polled) (event.Page, error) {
	page, err := h.fetch(ctx, Request{Cursor: cursor}, told)
	if err == nil && h.walk != nil {
		h.walk.stuck = 0
	}
	return page, err
}

// walkBack fetches page after page until what is settled, or until others are to have their turn.
func (h *headWalk) walkBack(ctx context.Context, w *walk, told *event.Polled) error {
	resumed := w.begun
	for !w.End {
		page, err := h.ask(ctx, w.Next, told)
		if err != nil {
			return err
		}
		if page.NotModified && !w.begun {
			w.unchanged, h.seen = true, clock(page)
			return nil
		}
		if !w.begun {
			w.head(page)
			if err := h.resolveStart(ctx, w); err != nil {
				return err
			}
			w.judge = h.judge(w.pos, w.Head)
			w.begun = true
		}
		if err := w.guard.pass(w.Next, page); err != nil {
			return h.circling(err)
		}
		if w.goesOn && !w.Met && len(page.Events) == 0 && page.Next == "" {
			if w.doubt() {
				return h.cutShort()
			}
			w.short = true
		}
		w.goesOn = page.More
		s := stretch{cursor: w.Next, behind: w.Behind}
		if s.items, err = h.look(w.judge, page, &w.Behind, told); err != nil {
			return err
		}
		for i := range s.items {
			s.items[i].again = w.guard.again[s.items[i].ID]
		}
		if resumed && w.shifted(s.items) {
			return fmt.Errorf("%s: %w, so it is walked anew", h.label(), errShifted)
		}
		resumed = false
		w.Met = w.Met || slices.ContainsFunc(s.items, w.judge.met)
		for _, it := range s.items {
			if !it.known && !it.at.IsZero() && w.judge.recent(it.at) {
				w.unseen = it.ID
			}
		}
		w.edge.pass(s.items)
		w.Edge, w.Next = w.edge.at, page.Next
		w.End = len(s.items) > 0 && w.judge.settled(s.items[len(s.items)-1], w.edge) || page.Next == ""
		if err := h.keep(ctx, w, s); err != nil || h.turnOver() {
			return err
		}
	}
	return nil
}

// head notes when the list's first page was listed, and what stood on it.
func (w *walk) head(page event.Page) {
	w.Head, w.top = clock(page), idsOf(page.Events[:min(len(page.Events), maxIDs)])
}

func (h *headWalk) circling(err error) error {
	return h.endless(err, "nothing of this walk is taken in")
}

// maxDoubts is how often a list is asked again that ends in a place where it had more before. What stands there may be lost to us if
// the API is believed in a bad moment.
const maxDoubts = 2

func (w *walk) doubt() bool {
	w.doubts++
	return w.doubts <= maxDoubts
}

func (h *headWalk) cutShort() error {
	return fmt.Errorf("%s listed nothing where it had said that its list goes on; it is asked again before that is believed", h.label())
}

// resolveStart stores the start before anything else is committed.
func (h *headWalk) resolveStart(ctx context.Context, w *walk) error {
	if w.pos.Start != nil {
		return nil
	}
	pos := w.pos
	h.resolve(&pos.common, w.Head, w.fresh)
	if err := h.keepAlone(ctx, w, pos); err != nil {
		return err
	}
	w.pos = pos
	return nil
}

// look asks the store which of a page's events are known, and lets go of their bodies. An event that was sought is found.
func (h *headWalk) look(j judge, page event.Page, behind *bool, told *event.Polled) ([]item, error) {
	if len(page.Events) == 0 {
		return nil, nil
	}
	known, err := h.known(idsOf(page.Events)...)
	if err != nil {
		return nil, err
	}
	items := make([]item, len(page.Events))
	for i, e := range page.Events {
		if e.ID == h.sought {
			h.sought = ""
		}
		it := item{Event: e, at: dated(e.Time), behind: *behind}
		it.known = known[i] || j.boundary[e.ID]
		*behind = *behind || j.boundary[e.ID]
		if it.known {
			it.Data = nil
			told.Repeated++
		}
		items[i] = it
	}
	return items, nil
}

// keep adds a page to the walk: whole while there is room, else as a mark.
func (h *headWalk) keep(ctx context.Context, w *walk, s stretch) error {
	bytes, last := s.unseen(w.judge)
	w.since += bytes
	if w.long {
		if last != "" {
			w.add(s.mark(last))
		}
		if w.since < 8*w.record && !w.End {
			return nil
		}
		return h.storeTrail(ctx, w)
	}
	if len(w.pages) > 0 {
		w.bytes += bytes
		if last == "" && w.items >= maxIDs { // the boundary is made of those before
			s.trim()
		}
	}
	w.pages = append(w.pages, s)
	w.items += len(s.items)
	if w.End || w.bytes <= h.poller.memory() {
		return nil
	}
	w.long = true
	for _, s := range w.pages[1:] {
		if _, last := s.unseen(w.judge); last != "" {
			w.add(s.mark(last))
		}
	}
	w.pages = nil
	return h.storeTrail(ctx, w)
}

// storeTrail stores how far a long walk is. It is called once for eight times as many bytes of events as the record has, so
// that what is written stays in proportion to what is taken in.
func (h *headWalk) storeTrail(ctx context.Context, w *walk) error {
	pos := w.pos
	pos.Trail = &w.trail
	if err := h.keepAlone(ctx, w, pos); err != nil {
		return err
	}
	w.stored, w.since = true, 0
	return nil
}
