package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

// tail is an API that lists its oldest event first and pages by a cursor of its own: how many events stand in front of it.
type tail struct {
	events   []event.Event
	size     int
	dropped  int  // events that are listed no more
	epoch    int  // a cursor of another one is lost
	null     bool // no cursor is given where nothing follows
	late     bool // the page that says so is an empty one behind the last event
	skew     time.Duration
	requests []Request
	before   func(r Request) error
	answer   func(r Request, page event.Page) event.Page
}

func (l *tail) cursor(n int) string { return fmt.Sprintf("%d:%d", l.epoch, n) }

func (l *tail) Fetch(_ context.Context, r Request) (event.Page, error) {
	l.requests = append(l.requests, r)
	if l.before != nil {
		if err := l.before(r); err != nil {
			return event.Page{}, err
		}
	}
	from := l.dropped
	switch {
	case r.Cursor != "":
		epoch := 0
		if _, err := fmt.Sscanf(r.Cursor, "%d:%d", &epoch, &from); err != nil || epoch != l.epoch {
			return event.Page{}, &FetchError{Health: event.SourceFailing, Lost: true, Err: errors.New("410 Gone")}
		}
		from = max(from, l.dropped)
	case !r.From.IsZero():
		from = l.at(r.From)
	}
	to := min(from+l.size, len(l.events))
	page := event.Page{Events: slices.Clone(l.events[from:to]), Date: time.Now().Add(l.skew).Truncate(time.Second)}
	page.More = to < len(l.events)
	page.Idle = !page.More && (!l.late || from == to)
	if page.Next = l.cursor(to); l.null && page.Idle {
		page.Next = ""
	}
	if l.answer != nil {
		page = l.answer(r, page)
	}
	return page, nil
}

// at returns how many events stand before the first one of that time or later.
func (l *tail) at(from time.Time) int {
	i := slices.IndexFunc(l.events, func(e event.Event) bool { return !e.Time.Before(from) })
	if i < 0 {
		i = len(l.events)
	}
	return max(i, l.dropped)
}

// seekable is a tail whose API gives a cursor for a time.
type seekable struct {
	*tail
	seeks []time.Time
}

func (l *seekable) Seek(_ context.Context, from time.Time) (string, error) {
	l.seeks = append(l.seeks, from)
	return l.cursor(l.at(from)), nil
}

// happen lists an event at the end.
func (l *tail) happen(id string, at time.Time) {
	l.events = append(l.events, event.Event{ID: id, Time: at, Data: []byte("{}")})
}

// tailRig is a rig of a tail.
type tailRig struct {
	rig
	tail *tail
	feed Feed
}

func newTail(start Start) *tailRig {
	r := &tailRig{tail: &tail{size: 10}}
	r.store = newFakeStore()
	r.feed = Feed{Kind: TailCursor, Fetcher: r.tail}
	r.boot(start)
	return r
}

// boot replaces the poller by one that knows only what is stored.
func (r *tailRig) boot(start Start) {
	lost := Lost("")
	if r.Poller != nil {
		lost = r.OnLost
	}
	r.restart(start)
	r.OnLost, r.Feeds = lost, []Feed{r.feed}
}

func (r *tailRig) at(t *testing.T) tailPosition {
	t.Helper()
	var pos tailPosition
	if err := decode(r.store.pos.Data, TailCursor, &pos); err != nil {
		t.Fatal(err)
	}
	return pos
}

// fails polls and wants an error that says all of words.
func (r *tailRig) fails(t *testing.T, words ...string) {
	t.Helper()
	err := r.Poll(t.Context())
	if err == nil {
		t.Fatal("the poll succeeded")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}
