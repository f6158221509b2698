package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"tidings/event"
)

// shelf is an API that lists what it has by time, each thing as it is now.
type shelf struct {
	things   []event.Event
	order    Order
	size     int           // of a page; 0: any
	counted  bool          // a cursor is an offset; else it stands behind an item
	single   bool          // there are no further pages
	grain    time.Duration // what the bounds are rounded to, outwards
	open     bool          // until is ignored
	skew     time.Duration // of the server's clock
	noDate   bool
	requests []Request
	before   func(r Request) error
	acked    [][]string
	ackError func(ids []string) error
}

func (l *shelf) now() time.Time { return time.Now().Add(l.skew) }

func (l *shelf) put(id string, at time.Time) {
	l.things = append(l.things, event.Event{ID: id, Time: at, Data: fmt.Appendf(nil, `{"id":%q}`, id)})
}

// list returns what lies in a request's window, in the API's order.
func (l *shelf) list(r Request) []event.Event {
	since, until := r.Since, r.Until
	if l.grain > 0 && !since.IsZero() {
		since = since.Truncate(l.grain)
	}
	if l.grain > 0 && !until.IsZero() {
		until = until.Truncate(l.grain).Add(l.grain)
	}
	var all []event.Event
	for _, e := range l.things {
		if e.Time.IsZero() || !e.Time.Before(since) && (l.open || until.IsZero() || !e.Time.After(until)) {
			all = append(all, e)
		}
	}
	switch l.order {
	case Oldest:
		slices.SortStableFunc(all, func(a, b event.Event) int { return a.Time.Compare(b.Time) })
	case Newest:
		slices.SortStableFunc(all, func(a, b event.Event) int { return b.Time.Compare(a.Time) })
	}
	return all
}

func (l *shelf) Fetch(_ context.Context, r Request) (event.Page, error) {
	l.requests = append(l.requests, r)
	if l.before != nil {
		if err := l.before(r); err != nil {
			return event.Page{}, err
		}
	}
	all := l.list(r)
	page := event.Page{}
	if !l.noDate {
		page.Date = l.now().Truncate(time.Second)
	}
	from := 0
	if r.Cursor != "" && l.counted {
		from, _ = strconv.Atoi(r.Cursor)
	} else if r.Cursor != "" {
		if from = 1 + slices.IndexFunc(all, func(e event.Event) bool { return e.ID == r.Cursor }); from == 0 {
			return page, &FetchError{Health: event.SourceFailing, Lost: true, Err: errors.New("no such cursor")}
		}
	}
	to := len(all)
	if l.size > 0 {
		to = min(from+l.size, to)
	}
	from = min(from, to)
	page.Events = slices.Clone(all[from:to])
	page.Full = l.size > 0 && to-from == l.size
	switch more := to < len(all); {
	case !more || l.single:
	case l.counted:
		page.Next = strconv.Itoa(to)
	default:
		page.Next = all[to-1].ID
	}
	return page, nil
}

// Wrap gives an event its change as a type; it makes none of a resource named "quiet".
func (l *shelf) Wrap(e *event.Event, change Change) bool {
	e.Type = string(change)
	return e.Resource != "quiet"
}

func (l *shelf) Ack(_ context.Context, _ string, events []event.Event) error {
	ids := idsOf(events)
	if l.ackError != nil {
		if err := l.ackError(ids); err != nil {
			return err
		}
	}
	l.acked = append(l.acked, ids)
	return nil
}

// shelfRig is a poller with its shelf and store.
type shelfRig struct {
	*Poller
	shelf *shelf
	store *fakeStore
	feed  Feed
	start Start
	told  []event.Notice
}

func newShelfRig(feed Feed, start Start) *shelfRig {
	r := &shelfRig{shelf: &shelf{order: feed.Order}, store: newFakeStore(), feed: feed, start: start}
	r.feed.Fetcher = r.shelf
	r.restart()
	return r
}

// restart replaces the poller by one that knows only what is stored.
func (r *shelfRig) restart() {
	r.Poller = &Poller{
		Source: "s", Feeds: []Feed{r.feed}, Store: r.store, Every: time.Minute, Start: r.start, Overlap: 5 * time.Minute, Remember: 90 * 24 * time.Hour,
		Notify: func(n event.Notice) { r.told = append(r.told, n) },
	}
}

// poll polls a second after what happened: Date has whole seconds.
func (r *shelfRig) poll(t *testing.T) {
	t.Helper()
	time.Sleep(time.Second)
	if err := r.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// want checks the ids that were taken in, in their order.
func (r *shelfRig) want(t *testing.T, ids ...string) {
	t.Helper()
	if !slices.Equal(r.store.log, ids) {
		t.Errorf("taken in %q, want %q", r.store.log, ids)
	}
}

// entered returns what entered the log, in its order.
func (s *fakeStore) entered() (events []event.Event) {
	seen := map[string]bool{}
	for _, c := range s.commits {
		for _, e := range c.Events {
			if !seen[e.ID] {
				seen[e.ID] = true
				events = append(events, e)
			}
		}
	}
	return events
}

// turning is a shelf that gives a page behind its last one: the last one again.
type turning struct {
	*shelf
	n int
}

func (l *turning) Fetch(ctx context.Context, r Request) (event.Page, error) {
	if n, _ := strconv.Atoi(r.Cursor); n >= len(l.things) {
		r.Cursor = strconv.Itoa(len(l.things) - 1)
	}
	page, err := l.shelf.Fetch(ctx, r)
	l.n++
	if page.Next == "" {
		page.Next = strconv.Itoa(len(l.things) + l.n)
	}
	return page, err
}
