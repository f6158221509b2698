package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidings/event"
)

// list is an API that lists its newest event first and pages by the id of a page's last item.
type list struct {
	events   []event.Event // newest first
	size     int           // of a page
	noDate   bool
	requests int
	cursors  []string
	before   func(n int, cursor string) error                // before the n-th request is answered
	answer   func(cursor string, page event.Page) event.Page // changes an answer
}

func (l *list) Fetch(ctx context.Context, r Request) (event.Page, error) {
	cursor := r.Cursor
	l.requests++
	l.cursors = append(l.cursors, cursor)
	if ctx.Err() != nil {
		return event.Page{}, ctx.Err()
	}
	if l.before != nil {
		if err := l.before(l.requests, cursor); err != nil {
			return event.Page{}, err
		}
	}
	from := 0
	if cursor != "" {
		from = 1 + slices.IndexFunc(l.events, func(e event.Event) bool { return e.ID == cursor })
		if from == 0 {
			return event.Page{}, &FetchError{Health: event.SourceFailing, Lost: true, Err: errors.New("no such cursor")}
		}
	}
	to := min(from+l.size, len(l.events))
	page := event.Page{Events: slices.Clone(l.events[from:to]), More: to < len(l.events)}
	if page.More {
		page.Next = l.events[to-1].ID
	}
	if !l.noDate {
		page.Date = time.Now().Truncate(time.Second)
	}
	if l.answer != nil {
		page = l.answer(cursor, page)
	}
	return page, nil
}

// happen lists an event at the head.
func (l *list) happen(id string, at time.Time) {
	l.events = slices.Insert(l.events, 0, event.Event{ID: id, Time: at, Data: fmt.Appendf(nil, `{"id":%q}`, id)})
}

// late lists an event behind all that are newer.
func (l *list) late(id string, at time.Time) {
	i := slices.IndexFunc(l.events, func(e event.Event) bool { return !e.Time.IsZero() && !e.Time.After(at) })
	if i < 0 {
		i = len(l.events)
	}
	l.events = slices.Insert(l.events, i, event.Event{ID: id, Time: at, Data: fmt.Appendf(nil, `{"id":%q}`, id)})
}

// fakeStore obeys the contract of Store in memory.
type fakeStore struct {
	pos     event.Position
	known   map[string]bool
	log     []string // ids in the order of taking in
	gaps    []event.Gap
	commits []event.Commit
	written int // bytes of positions
	fault   func(event.Commit) (before, after error)
	lookup  func() error
	date    time.Time // of the last answer
}

func newFakeStore() *fakeStore { return &fakeStore{known: map[string]bool{}} }

func (s *fakeStore) SawDate(_ context.Context, date time.Time) { s.date = date }

func (s *fakeStore) Position(string) (event.Position, error) { return s.pos, nil }

func (s *fakeStore) Known(_ string, ids []string) ([]bool, error) {
	if s.lookup != nil {
		if err := s.lookup(); err != nil {
			return nil, err
		}
	}
	known := make([]bool, len(ids))
	for i, id := range ids {
		known[i] = s.known[id]
	}
	return known, nil
}

func (s *fakeStore) Commit(_ context.Context, c event.Commit) (done event.Committed, err error) {
	var before, after error
	if s.fault != nil {
		before, after = s.fault(c)
	}
	if before != nil {
		return done, before
	}
	if c.Generation != s.pos.Generation {
		return done, event.ErrStale
	}
	s.commits = append(s.commits, c)
	for _, e := range c.Events {
		if s.known[e.ID] {
			done.Repeated++
			continue
		}
		s.known[e.ID] = true
		s.log = append(s.log, e.ID)
		done.New++
	}
	for _, id := range c.Remember {
		s.known[id] = true
	}
	if c.Position != nil {
		s.pos.Data = slices.Clone(c.Position)
		s.written += len(c.Position)
	}
	if c.Gap != nil {
		s.gaps = append(s.gaps, *c.Gap)
	}
	return done, after
}

// rig is a poller with its list and store, and what it told.
type rig struct {
	*Poller
	list  *list
	store *fakeStore
	told  []event.Notice
}

func newRig(start Start) *rig {
	r := &rig{list: &list{size: 10}, store: newFakeStore()}
	r.restart(start)
	return r
}

// restart replaces the poller by one that knows only what is stored.
func (r *rig) restart(start Start) {
	r.Poller = &Poller{
		Source: "s", Feeds: []Feed{{Kind: HeadWalk, Fetcher: r.list}}, Store: r.store, Every: time.Minute, Start: start,
		Overlap: 5 * time.Minute, Remember: 90 * 24 * time.Hour,
		Notify: func(n event.Notice) { r.told = append(r.told, n) },
	}
}

func (r *rig) poll(t *testing.T) {
	t.Helper()
	if err := r.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) position(t *testing.T) position {
	t.Helper()
	pos, err := decodePosition(r.store.pos.Data)
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

func (r *rig) want(t *testing.T, ids ...string) {
	t.Helper()
	if !slices.Equal(r.store.log, ids) {
		t.Errorf("taken in %q, want %q", r.store.log, ids)
	}
}

func last[T event.Notice](t *testing.T, told []event.Notice) T {
	t.Helper()
	for _, n := range slices.Backward(told) {
		if n, ok := n.(T); ok {
			return n
		}
	}
	t.Fatalf("no %T was told", *new(T))
	panic("unreachable")
}

func ids(prefix string, from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(prefix, i))
	}
	return out
}
