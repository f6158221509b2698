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

func TestAListInTheWrongOrderTakesNothingIn(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newTail(Start{Kind: StartEarliest})
		h := newRig(Start{Kind: StartEarliest})
		for i := range 15 {
			at := time.Now().Add(time.Duration(i) * time.Second)
			r.tail.happen(fmt.Sprint("e", i), at)
			h.list.happen(fmt.Sprint("e", i), at)
		}
		h.list.size = 20
		r.feed = Feed{Kind: HeadWalk, Fetcher: r.tail}
		r.boot(Start{Kind: StartEarliest})
		r.fails(t, "oldest event first", "newest first", "order")
		r.want(t)
		if told := last[event.PollFailed](t, r.told); told.Health != event.SourceFailing {
			t.Errorf("told %+v", told)
		}
		h.Feeds = []Feed{{Kind: TailCursor, Fetcher: h.list}}
		if err := h.Poll(t.Context()); err == nil || len(h.store.log) > 0 {
			t.Errorf("%v, taken in %q", err, h.store.log)
		}
	})
}

func TestOrderIsWrongOnlyWithoutDoubt(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	page := func(seconds ...int) (p event.Page) {
		for _, s := range seconds {
			e := event.Event{}
			if s >= 0 {
				e.Time = base.Add(time.Duration(s) * time.Second)
			}
			p.Events = append(p.Events, e)
		}
		return p
	}
	rising := []int{1, 2, 3, 4, 5, 6, 7, 8, 9}
	for _, c := range []struct {
		kind  Kind
		order Order
		page  event.Page
		wrong bool
	}{
		{HeadWalk, "", page(rising...), true},
		{HeadWalk, Newest, page(append([]int{-1}, rising...)...), true},
		{HeadWalk, "", page(rising[:8]...), false},
		{HeadWalk, "", page(append([]int{2}, rising...)...), false}, // one stands right
		{HeadWalk, Unordered, page(rising...), false},
		{HeadWalk, "", page(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), false},
		{TailCursor, "", page(rising...), false},
		{TailCursor, "", page(9, 8, 7, 6, 5, 4, 3, 2, 1), true},
		{TailCursor, "", page(9, 8, -1, 7, 7, 6, 5, -1, 4, 3, 2, 1), true},
		{Snapshot, "", page(9, 8, 7, 6, 5, 4, 3, 2, 1), false},
		{TimeWindow, Oldest, page(9, 8, 7, 6, 5, 4, 3, 2, 1), true},
	} {
		f := &feed{Feed: Feed{Kind: c.kind, Order: c.order}, poller: &Poller{Source: "s"}}
		err := f.checkOrder(c.page)
		if (err != nil) != c.wrong {
			t.Errorf("%s %s: %v", c.kind, c.order, err)
		}
		if err != nil && strings.Contains(err.Error(), "order: none") != (c.kind != HeadWalk) {
			t.Errorf("%s is told %v", c.kind, err)
		}
	}
}

// etag answers like an API with validators: its first page has one, and another whenever it has changed.
type etag struct {
	*list
	asked []string // validators
	wait  time.Duration
}

func (l *etag) Fetch(ctx context.Context, r Request) (event.Page, error) {
	l.asked = append(l.asked, r.Validator)
	page, err := l.list.Fetch(ctx, r)
	if err != nil {
		return page, err
	}
	page.Wait = l.wait
	if r.Cursor != "" {
		return page, nil
	}
	validator := "none"
	if len(l.events) > 0 {
		validator = l.events[0].ID
	}
	if r.Validator == validator {
		return event.Page{NotModified: true, Date: page.Date, Wait: l.wait}, nil
	}
	page.Validator = validator
	return page, nil
}

func TestValidators(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		api := &etag{list: r.list}
		boot := func() {
			r.restart(Start{Kind: StartEarliest})
			r.Feeds = []Feed{{Kind: HeadWalk, Fetcher: api}}
		}
		boot()
		asks := func(want ...string) {
			t.Helper()
			if !slices.Equal(api.asked, want) {
				t.Errorf("asked with %q, want %q", api.asked, want)
			}
			api.asked = nil
		}
		for i := range 15 {
			r.list.happen(fmt.Sprint("e", i), time.Now().Add(-time.Hour))
		}
		r.poll(t)
		asks("", "")
		r.poll(t)
		r.poll(t)
		asks("e14", "e14")
		if told := last[event.Polled](t, r.told); told.Pages != 1 || told.Listed != 0 || told.New != 0 {
			t.Errorf("told %+v", told)
		}
		r.list.happen("new", time.Now())
		r.store.fault = func(event.Commit) (before, after error) { return errors.New("disk"), nil }
		if r.Poll(t.Context()) == nil {
			t.Fatal("the poll succeeded")
		}
		api.asked, r.store.fault = nil, nil
		r.poll(t) // what was not taken in whole is asked for without a validator
		if api.asked[0] != "" {
			t.Errorf("asked with %q", api.asked)
		}
		r.want(t, append(ids("e", 0, 14), "new")...)
		api.asked = nil
		r.store.pos.Generation++
		r.poll(t)
		r.poll(t)
		if api.asked[0] != "" || api.asked[len(api.asked)-1] != "new" {
			t.Errorf("asked with %q after the position was set", api.asked)
		}
		api.asked = nil
		boot()
		r.poll(t)
		if api.asked[0] != "" {
			t.Errorf("a new process asked with %q", api.asked)
		}
	})
}

// The first page's validator says nothing of the pages behind it, where all pages count.
func TestAValidatorStandsForOnePage(t *testing.T) {
	v := func(kind Kind, pages int) string {
		f := &feed{Feed: Feed{Kind: kind}}
		for range 2 {
			f.beginPoll()
			for i := range pages {
				if i == 0 && f.conditional(Request{}).Validator != "" {
					return f.kept.Validator + "asked"
				}
				f.passed(Request{}, event.Page{Validator: "v"})
			}
			f.endPoll()
		}
		return ""
	}
	for kind, want := range map[Kind][2]string{HeadWalk: {"asked", "asked"}, Snapshot: {"asked", ""}, TailCursor: {"asked", ""}} {
		if one, two := v(kind, 1), v(kind, 2); one != want[0] || two != want[1] {
			t.Errorf("%s: %q with one page, %q with two", kind, one, two)
		}
	}
}

func TestWaitIsObeyed(t *testing.T) {
	for name, want := range map[string][]time.Duration{
		"every": {0, 5 * time.Minute, 10 * time.Minute},
		"cron":  {0, 5*time.Minute + 56600*time.Millisecond, 11*time.Minute + 56600*time.Millisecond}, // from 00:00:03.4 on
	} {
		in(t, func(t *testing.T) {
			r := newRig(Start{Kind: StartEarliest})
			r.Feeds = []Feed{{Kind: HeadWalk, Fetcher: &etag{list: r.list, wait: 5 * time.Minute}}}
			if name == "cron" {
				r.Every, r.Cron = 0, parse(t, "* * * * *")
			}
			if at := r.polls(t, 14*time.Minute); !slices.Equal(at, want) {
				t.Errorf("%s: polled at %v, want %v", name, at, want)
			}
		})
	}
}

// As long as something may be listed late behind the first page, that page's validator does not stand for the list.
func TestAValidatorHidesNoLateEvent(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		api := &etag{list: r.list}
		r.Feeds = []Feed{{Kind: HeadWalk, Fetcher: api}}
		for i := range 15 {
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		r.poll(t)
		r.list.events = slices.Insert(r.list.events, 12, event.Event{ID: "late", Time: time.Now().Add(-time.Minute)})
		time.Sleep(time.Minute)
		r.poll(t)
		r.want(t, append(ids("e", 0, 14), "late")...)
		time.Sleep(r.Overlap)
		r.poll(t)
		api.asked = nil
		r.poll(t)
		if !slices.Equal(api.asked, []string{"e14"}) {
			t.Errorf("asked with %q", api.asked)
		}
	})
}

// A long walk whose events are gone when they are asked for again leaves the first page to the next poll, which asks for it whole.
func TestAValidatorHidesNoFirstPageOfALongWalk(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		api := &etag{list: r.list}
		r.Feeds, r.Memory = []Feed{{Kind: HeadWalk, Fetcher: api}}, 100
		r.list.happen("known", time.Now())
		r.poll(t)
		time.Sleep(time.Hour)
		for i := range 29 {
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		r.list.requests = 0
		r.list.answer = func(cursor string, page event.Page) event.Page {
			if r.list.requests > 3 && cursor != "" {
				page.Events, page.Next, page.More = r.list.events[29:], "", false
			}
			return page
		}
		r.poll(t)
		r.poll(t)
		r.want(t, append([]string{"known"}, ids("e", 19, 28)...)...)
	})
}
