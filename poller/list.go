package poller

import (
	"context"
	"fmt"
	"time"

	"tidings/event"
)

// feed is one list at work: what all strategies need of the poller, the store and the fetcher.
type feed struct {
	Feed
	poller   *Poller // its settings, its Notify and its progress
	store    Store   // shows this feed's part of the position, and only that
	strategy strategy

	firstTry time.Time // of this process, with its monotonic clock
	seen     time.Time // the server's clock at the last answer that was taken in; for away
	validators
	odd
	turn   time.Time // when this turn of a poll began
	rounds int       // of this poll
}

// label names the feed in an error.
func (f *feed) label() string {
	if f.Name == "" {
		return "source " + f.poller.Source
	}
	return fmt.Sprintf("source %s, feed %s", f.poller.Source, f.Name)
}

// Longest times of a step, for the watchdog. A Fetch may be a login and several requests of 30 s, each for a smaller page.
const (
	fetchTime  = 6 * time.Minute
	commitTime = 2 * time.Minute
	slack      = time.Minute
)

// fetch asks for a page and counts it. It sends the validator where there is one, tells the store the server's time, and refuses
// a page that stands in the wrong order.
func (f *feed) fetch(ctx context.Context, r Request, told *event.Polled) (event.Page, error) {
	p := f.poller
	p.progress.Within(max(fetchTime, f.Longest))
	r = f.conditional(r)
	page, err := f.Fetcher.Fetch(ctx, r)
	if err != nil {
		return event.Page{}, err
	}
	if err := f.checkOrder(page); err != nil {
		return event.Page{}, err
	}
	f.store.SawDate(ctx, page.Date)
	page.Date = f.believe(page.Date)
	if page.Wait > 0 {
		p.rest = later(p.rest, time.Now().Add(page.Wait))
	}
	f.passed(r, page)
	f.watch(page)
	told.Pages++
	told.Listed += len(page.Events)
	if page.Hashed > 0 && !p.hashed {
		p.hashed = true
		p.notify(event.Hashed{Source: p.Source, At: time.Now()})
	}
	return page, nil
}

// position reads where the feed stands.
func (f *feed) position() (event.Position, error) {
	pos, err := f.store.Position(f.poller.Source)
	if err != nil {
		return pos, &storeError{fmt.Errorf("can't read the position of %s: %w", f.label(), err)}
	}
	f.at(pos.Generation)
	return pos, nil
}

// unreadable is the error of a position that says something else than its strategy understands.
func (f *feed) unreadable(err error) error { return &storeError{fmt.Errorf("%s: %w", f.label(), err)} }

func idsOf(events []event.Event) []string {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

// remembered is the time since which ids are remembered for sure; an hour of it is left to clocks that differ.
func (f *feed) remembered(now time.Time) time.Time {
	return now.Add(min(f.poller.Remember/2, time.Hour) - f.poller.Remember)
}

// known asks the store which ids are remembered.
func (f *feed) known(ids ...string) ([]bool, error) {
	f.poller.progress.Within(commitTime)
	known, err := f.store.Known(f.poller.Source, ids)
	if err != nil {
		return nil, &storeError{fmt.Errorf("can't look up what %s listed: %w", f.label(), err)}
	}
	return known, nil
}

// commit makes one transaction of c and counts what it took in; told is nil where nothing of it counts.
func (f *feed) commit(ctx context.Context, c event.Commit, told *event.Polled) (event.Committed, error) {
	f.poller.progress.Within(commitTime)
	c.Source = f.poller.Source
	done, err := f.store.Commit(ctx, c)
	if err != nil {
		return done, &storeError{fmt.Errorf("can't keep what %s listed: %w", f.label(), err)}
	}
	if told != nil {
		told.New += done.New
		told.Filtered += done.Filtered
		told.Repeated += done.Repeated
	}
	return done, nil
}

// clock returns the server's clock as a page tells it, ours where it does not.
func clock(page event.Page) time.Time {
	if page.Date.IsZero() {
		return time.Now().Round(0)
	}
	return page.Date
}

// now is our clock.
func (f *feed) now() time.Time {
	if f.Clock != nil {
		return f.Clock()
	}
	return time.Now()
}

// try notes in c when a source that starts now was asked first. fresh: this is that moment. due: c is to be stored before the API is
// asked.
func (f *feed) try(c *common) (fresh, due bool) {
	if c.Start != nil || !c.FirstTry.IsZero() || f.startKind(c) != StartNow {
		return false, false
	}
	if fresh = f.firstTry.IsZero(); fresh {
		f.firstTry = f.now()
	}
	c.FirstTry = f.firstTry
	return fresh, true
}

// startKind says how a first run begins.
func (f *feed) startKind(c *common) StartKind {
	if c.Anew {
		return StartNow
	}
	return f.poller.Start.Kind
}

// resolve sets where a first run begins, by the server's clock at its first answer. fresh: that answer is one to the first try.
func (f *feed) resolve(c *common, head time.Time, fresh bool) {
	var start time.Time
	switch f.startKind(c) {
	case StartNow:
		start = head
		if !fresh {
			first := c.FirstTry
			if first.Equal(f.firstTry) {
				first = f.firstTry // the same instant, by the monotonic clock
			}
			start = start.Add(-max(f.now().Sub(first), 0))
		}
		start = start.Truncate(time.Second) // as coarse as event times are
	case StartAt:
		start = f.poller.Start.At
	}
	c.Start, c.FirstTry = &start, time.Time{}
}

// quietTime is how often a position is stored at most that changed without an event.
const quietTime = time.Minute

// quiet holds back what is stored without an event.
type quiet struct{ last time.Time }

// due reports whether such a position may be stored now; the first one may at once.
func (q *quiet) due() bool {
	if !q.last.IsZero() && time.Since(q.last) < quietTime {
		return false
	}
	q.last = time.Now()
	return true
}

// dated returns t where it is a time that can be kept, else zero: a time beyond the calendar counts as none.
func dated(t time.Time) time.Time {
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}
	}
	return t
}
