package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidings/event"
)

// minSpan is the shortest window worth asking for: times have whole seconds often.
const minSpan = time.Second

// maxPasses is how often a window whose pages are counted is walked at most.
const maxPasses = 4

// walk takes in what a window has. first is its first page where that was fetched already. A window that has more than the API lists of
// it is narrowed.
func (r *windowRound) walk(ctx context.Context, s span, first *event.Page) error {
	for n := 1; ; n++ {
		pages, fresh, err := r.pass(ctx, s, first)
		if crowd, ok := errors.AsType[*crowded](err); ok {
			return r.narrow(ctx, s, crowd)
		}
		// What left the list while it was read has moved something behind it out of our sight. Where a pass finds nothing new, nothing
		// was.
		if err != nil || !r.Counted || pages == 1 || fresh == 0 || n == maxPasses {
			return err
		}
		first = nil
	}
}

// pass reads the pages of a window, and says how many there were and how many items on them were not known.
func (r *windowRound) pass(ctx context.Context, s span, first *event.Page) (pages, fresh int, err error) {
	guard := newGuard()
	for cursor := ""; ; pages++ {
		page := first
		if first = nil; page == nil {
			asked, err := r.ask(ctx, s, cursor)
			if isLost(err) && cursor != "" {
				err = &crowded{cause: err}
			}
			if err != nil {
				return pages, fresh, err
			}
			page = &asked
		}
		if err := guard.pass(cursor, *page); err != nil {
			return pages, fresh, r.endless(err, "its place stays where it is")
		}
		n, err := r.take(*page)
		if err != nil {
			return pages, fresh, err
		}
		fresh += n
		if r.harvest.full() {
			if err := r.harvest.commit(ctx, nil, nil, r.told); err != nil {
				return pages, fresh, err
			}
		}
		if page.Full && r.Single {
			return pages + 1, fresh, &crowded{page: page.Events, whole: cursor == "" && page.Next == ""}
		}
		if cursor = page.Next; cursor == "" || page.Idle {
			return pages + 1, fresh, nil
		}
	}
}

func (r *windowRound) ask(ctx context.Context, s span, cursor string) (event.Page, error) {
	return r.fetch(ctx, Request{Cursor: cursor, Since: s.since, Until: s.until}, r.told)
}

// crowded is how a window fails that has more than the API lists of it: the page that was full, or why a further one can't be had.
type crowded struct {
	page  []event.Event
	whole bool // the page is all that the window lists; else there is one for each of several lists
	cause error
}

func (c *crowded) Error() string { return "there is more in the window than the API lists" }

// narrow takes a window in by shorter ones. Of a list that shows its oldest event first the next one begins where the page ended.
func (r *windowRound) narrow(ctx context.Context, s span, c *crowded) error {
	var times []time.Time
	for _, e := range c.page {
		if at := dated(e.Time); !at.IsZero() {
			times = append(times, at)
		}
	}
	if r.Order == Oldest && c.whole {
		switch n := len(times); {
		case n > 0 && times[n-1].After(s.until): // an API that pays no heed to until has listed all that came before it
			return nil
		case n == 0 || !times[n-1].After(s.since):
			return r.impassable(s, c)
		default:
			return r.walk(ctx, span{times[n-1], s.until}, nil)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	middle := s.since.Add(s.until.Sub(s.since) / 2)
	if s.since.IsZero() && len(times) > 0 {
		middle = times[len(times)/2]
	}
	if s.since.IsZero() && len(times) == 0 || !s.until.After(middle) || s.until.Sub(s.since) <= minSpan {
		return r.impassable(s, c)
	}
	if err := r.walk(ctx, span{s.since, middle}, nil); err != nil {
		return err
	}
	return r.walk(ctx, span{middle, s.until}, nil)
}

func (r *windowRound) impassable(s span, c *crowded) error {
	if c.cause != nil {
		return &FetchError{Health: event.SourceFailing, Err: fmt.Errorf("%s: a page can't be had that the API itself named, however short a time is asked for: %w",
			r.label(), c.cause)}
	}
	from := "its beginning"
	if !s.since.IsZero() {
		from = s.since.UTC().Format(time.RFC3339)
	}
	return fmt.Errorf("%s fills a whole page from %s to %s, and no shorter time can be asked for: what it has beyond that page can't be had, "+
		"so the place stays here; configure larger pages, or paging", r.label(), from, s.until.UTC().Format(time.RFC3339))
}

// take judges a page and holds what is new of it.
func (r *windowRound) take(page event.Page) (fresh int, err error) {
	if len(page.Events) == 0 {
		return 0, nil
	}
	ids := idsOf(page.Events)
	if r.Changes {
		for _, e := range page.Events {
			ids = append(ids, r.mark(e))
		}
	}
	known, err := r.known(ids...)
	if err != nil {
		return 0, err
	}
	for i, e := range page.Events {
		at := dated(e.Time)
		if at.After(r.newest) && !at.After(r.limit) {
			r.newest = at
		}
		if r.gap != nil && at.After(r.gap.From) && (r.gap.To.IsZero() || at.Before(r.gap.To)) {
			r.gap.To = at
		}
		seen := r.Changes && known[len(page.Events)+i]
		switch {
		case known[i] || r.harvest.have[e.ID]:
			r.told.Repeated++
		case r.old(at):
			r.history(e, at, seen)
		default:
			fresh++
			r.harvest.add(e, seen)
		}
	}
	return fresh, nil
}

// old reports whether an unknown item of that time is not new: it is from before the start, or it was seen once and is forgotten.
func (r *windowRound) old(at time.Time) bool {
	floor := *r.pos.Start
	if r.pos.Late && r.pos.CaughtUp && r.Late {
		floor = floor.Add(-r.poller.Overlap)
	}
	if at.IsZero() {
		return !r.pos.CaughtUp && !r.pos.Start.IsZero() && r.startKind(&r.pos.common) == StartNow
	}
	return at.Before(floor) || !at.After(r.seen) && at.Before(r.remembered(r.head))
}

// history counts an item that is not new, and remembers it where its time alone will not tell so later. A resource of a list that
// does not say when it was born is remembered too: when it changes it is not created.
func (r *windowRound) history(e event.Event, at time.Time, seen bool) {
	if !r.was.CaughtUp {
		r.told.History++
		if at.IsZero() || r.pos.Late {
			r.harvest.know(e.ID)
		}
	}
	if mark := r.mark(e); r.Changes && e.Born.IsZero() && e.Broken == "" && !seen && !r.harvest.have[mark] {
		r.harvest.know(mark)
	}
}

// mark is the id by which a resource is remembered.
func (r *windowRound) mark(e event.Event) string { return "resource:" + r.Name + ":" + e.Resource }

// wrap makes of a version the event of what has become of its resource.
func (r *windowRound) wrap(g *gathered) bool {
	if !r.Changes || g.Broken != "" {
		return true
	}
	mark := r.mark(g.Event)
	change := Created
	if g.seen || r.harvest.have[mark] || !r.newborn(g.Born) {
		change = Updated
	}
	if !g.seen && !r.harvest.have[mark] {
		g.mark, r.harvest.have[mark] = mark, true
	}
	return r.Fetcher.(Wrapper).Wrap(&g.Event, change)
}

// newborn reports whether a resource that is not remembered was created since the start, rather than listed before and forgotten.
func (r *windowRound) newborn(born time.Time) bool {
	if born.IsZero() {
		return true
	}
	return !born.Before(*r.pos.Start) && (!r.was.CaughtUp || born.After(r.seen) || !born.Before(r.remembered(r.head)))
}
