package poller

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

func newWindowRig(feed Feed, start Start) *shelfRig {
	feed.Kind = TimeWindow
	r := newShelfRig(feed, start)
	r.shelf.size = 10
	return r
}

func (r *shelfRig) window(t *testing.T) windowPosition {
	t.Helper()
	pos := windowPosition{}
	if err := decode(r.store.pos.Data, TimeWindow, &pos); err != nil {
		t.Fatal(err)
	}
	return pos
}

func TestAWindowEndsAtTheServersTimeOnceAPoll(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Order: Oldest, Lag: time.Minute}, Start{Kind: StartEarliest})
		r.shelf.skew = -10 * time.Minute
		for i := range 25 {
			r.shelf.put(fmt.Sprint("e", i), r.shelf.now().Add(time.Duration(i-100)*time.Second))
		}
		r.shelf.before = func(Request) error { time.Sleep(10 * time.Second); return nil }
		r.poll(t)
		first, rest := r.shelf.requests[0], r.shelf.requests[1:]
		if len(rest) != 3 || first.Until.Equal(rest[0].Until) {
			t.Fatalf("asked %+v", r.shelf.requests)
		}
		server := r.shelf.now().Add(-4 * 10 * time.Second) // when the first answer was made, less what followed
		if got := rest[0].Until; got.After(server.Add(-time.Minute+20*time.Second)) || got.Before(server.Add(-time.Minute)) {
			t.Errorf("until %v, the server's clock was at %v", got, server)
		}
		for _, again := range rest[1:] {
			if !again.Until.Equal(rest[0].Until) || !again.Since.Equal(rest[0].Since) {
				t.Errorf("the window moved: %+v", r.shelf.requests)
			}
		}
		asked := len(r.shelf.requests)
		time.Sleep(time.Hour)
		r.poll(t)
		if n := len(r.shelf.requests) - asked; n != 3 {
			t.Errorf("%d requests once the server's clock is known, want 3", n)
		}
	})
}

func TestAFailedPageDoesNotMoveTheWindow(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Order: Newest}, Start{Kind: StartNow})
		r.poll(t)
		was := r.window(t)
		for i := range 35 {
			time.Sleep(time.Minute)
			r.shelf.put(fmt.Sprint("e", i), time.Now())
		}
		r.shelf.before = func(q Request) error {
			if q.Cursor == "e15" {
				return &FetchError{Health: event.SourceFailing, Err: errors.New("503")}
			}
			return nil
		}
		time.Sleep(time.Second)
		if r.Poll(t.Context()) == nil {
			t.Fatal("no error")
		}
		r.want(t, ids("e", 15, 34)...) // the rest is older: what was listed is not held back for it
		if now := r.window(t); !now.Time.Equal(was.Time) || !now.From.Equal(was.From) {
			t.Errorf("the place went from %+v to %+v", was, now)
		}
		r.shelf.before = nil
		r.restart()
		r.poll(t)
		r.want(t, append(ids("e", 15, 34), ids("e", 0, 14)...)...)
	})
}

func TestCatchingUpInSteps(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Step: 24 * time.Hour}, Start{Kind: StartNow})
		r.poll(t)
		var want []string
		for i := range 20 {
			time.Sleep(24 * time.Hour)
			if i%5 == 4 {
				id := fmt.Sprint("e", i)
				r.shelf.put(id, time.Now())
				want = append(want, id)
			}
		}
		asked, fail := len(r.shelf.requests), true
		r.shelf.before = func(Request) error {
			if fail && len(r.shelf.requests) == asked+13 {
				return &FetchError{Health: event.SourceFailing, Err: errors.New("503")}
			}
			return nil
		}
		r.restart()
		if r.Poll(t.Context()) == nil {
			t.Fatal("no error")
		}
		r.want(t, want[:2]...)
		if pos := r.window(t); pos.Time.IsZero() {
			t.Errorf("the place did not go on: %+v", pos)
		}
		fail, asked = false, len(r.shelf.requests)
		time.Sleep(time.Minute)
		r.restart()
		r.poll(t)
		r.want(t, want...)
		if n := len(r.shelf.requests) - asked; n > 12 {
			t.Errorf("%d requests for what was left", n)
		}
		for _, q := range r.shelf.requests {
			if q.Until.Sub(q.Since) > 24*time.Hour {
				t.Errorf("a window of %v", q.Until.Sub(q.Since))
			}
		}
		for range 60 { // quiet for long
			time.Sleep(24 * time.Hour)
			r.poll(t)
		}
		asked = len(r.shelf.requests)
		r.poll(t)
		if n := len(r.shelf.requests) - asked; n > 4 {
			t.Errorf("%d requests at each poll of a quiet list", n)
		}
		r.want(t, want...)
	})
}

func TestTheWindowsPlaceIsNeverAheadOfTheServer(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{}, Start{Kind: StartNow})
		r.shelf.open, r.shelf.skew = true, -time.Hour
		r.poll(t)
		r.shelf.put("future", r.shelf.now().Add(24*time.Hour))
		r.shelf.put("now", r.shelf.now())
		time.Sleep(time.Second)
		r.poll(t)
		if pos := r.window(t); pos.Time.After(r.shelf.now()) {
			t.Errorf("at %v, the server's clock is at %v", pos.Time, r.shelf.now())
		}
		r.shelf.put("next", r.shelf.now())
		r.poll(t)
		r.want(t, "now", "future", "next")
	})
}

func TestWholeDays(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Changes: true}, Start{Kind: StartNow})
		r.shelf.grain = 24 * time.Hour
		day := 24 * time.Hour
		put := func(resource string, version int) {
			r.shelf.has(resource, fmt.Sprint(version))
			r.shelf.things[r.shelf.index(resource)].Time = time.Now().Truncate(time.Second)
		}
		time.Sleep(10 * time.Hour)
		put("old", 1) // of that day, and from before the start
		time.Sleep(time.Hour)
		r.poll(t)
		r.wantChanges(t)
		time.Sleep(time.Hour)
		put("old", 2)
		put("new", 1)
		put("quiet", 1)
		r.poll(t)
		r.wantChanges(t, "updated old", "created new")
		time.Sleep(2 * day)
		put("new", 2)
		r.poll(t)
		r.poll(t)
		r.wantChanges(t, "updated old", "created new", "updated new")
	})
}

func TestBornBeforeTheStartIsUpdated(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Changes: true}, Start{Kind: StartNow})
		born := time.Now()
		time.Sleep(time.Hour)
		r.poll(t)
		time.Sleep(time.Minute)
		for i, b := range []time.Time{born, time.Now()} {
			r.shelf.has(fmt.Sprint("r", i), "1")
			r.shelf.things[i].Time, r.shelf.things[i].Born = time.Now(), b
		}
		r.poll(t)
		r.wantChanges(t, "updated r0", "created r1")
		// A resource that was forgotten since is not created again.
		time.Sleep(200 * 24 * time.Hour)
		clear(r.store.known)
		r.shelf.has("r1", "2")
		r.shelf.things[1].Time, r.shelf.things[1].Born = time.Now(), born.Add(time.Hour+time.Minute)
		r.poll(t)
		r.wantChanges(t, "updated r0", "created r1", "updated r1")
	})
}

func TestWhatIsFilledInLater(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Late: true}, Start{Kind: StartNow})
		r.Overlap = 7 * 24 * time.Hour
		now := time.Now()
		time.Sleep(time.Second)
		for i := range 10 {
			r.shelf.put(fmt.Sprint("old", i), now.Add(-time.Duration(i)*24*time.Hour))
		}
		r.poll(t)
		r.want(t)
		if told := r.told[0].(event.Polled); told.History == 0 {
			t.Errorf("told %+v", told)
		}
		time.Sleep(time.Hour)
		r.shelf.put("filled", now.Add(-6*24*time.Hour))
		r.poll(t)
		r.poll(t)
		r.want(t, "filled")
	})
}

func TestAFullPageWithOneTime(t *testing.T) {
	for _, order := range []Order{Oldest, Newest, Unordered} {
		in(t, func(t *testing.T) {
			r := newWindowRig(Feed{Order: order, Single: true}, Start{Kind: StartNow})
			r.shelf.single = true
			r.poll(t)
			was := r.window(t)
			for i := range 50 { // ten of each second: what a page can hold
				if i%9 == 0 {
					time.Sleep(time.Second)
				}
				r.shelf.put(fmt.Sprint("e", i), time.Now())
			}
			time.Sleep(time.Minute)
			r.poll(t)
			if len(r.store.log) != 50 {
				t.Errorf("%s: %d taken in", order, len(r.store.log))
			}
			was = r.window(t)
			time.Sleep(time.Minute)
			for i := range 11 {
				r.shelf.put(fmt.Sprint("tie", i), time.Now())
			}
			time.Sleep(time.Minute)
			if err := r.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "fills a whole page") {
				t.Fatalf("%s: %v", order, err)
			}
			if now := r.window(t); !now.Time.Equal(was.Time) {
				t.Errorf("%s: the place went from %v to %v", order, was.Time, now.Time)
			}
			if n := len(r.shelf.requests); n > 120 {
				t.Errorf("%s: %d requests", order, n)
			}
		})
	}
}

func TestAFullPageThatIsNotTheOnlyOneSaysNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Order: Oldest, Counted: true}, Start{Kind: StartEarliest})
		r.shelf.counted = true
		for i := range 20 {
			r.shelf.put(fmt.Sprint("e", i), time.Now())
		}
		r.poll(t)
		r.want(t, ids("e", 0, 19)...)
	})
}

// As PagerDuty's API, which gives no page behind the first 10,000 items.
func TestAListThatIsCutOffIsAskedForByShorterTimes(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Order: Newest, Counted: true}, Start{Kind: StartNow})
		r.shelf.counted = true
		r.shelf.before = func(q Request) error {
			if q.Cursor != "" && q.Cursor > "30" {
				return &FetchError{Health: event.SourceFailing, Lost: true, Err: errors.New("answered 400: offset is too large")}
			}
			return nil
		}
		r.poll(t)
		for i := range 95 {
			time.Sleep(10 * time.Second)
			r.shelf.put(fmt.Sprint("e", i), time.Now())
		}
		r.poll(t)
		r.want(t, ids("e", 0, 94)...)
		for i := range 50 {
			r.shelf.put(fmt.Sprint("tie", i), time.Now())
		}
		time.Sleep(time.Minute)
		if err := r.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "offset is too large") || isLost(err) {
			t.Errorf("%v", err)
		}
	})
}

func TestARepeatedPageStopsTheWindow(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Counted: true}, Start{Kind: StartNow})
		r.poll(t)
		was := r.window(t)
		r.shelf.counted = true
		for i := range 15 {
			r.shelf.put(fmt.Sprint("e", i), time.Now())
		}
		turn := &turning{shelf: r.shelf}
		r.feed.Fetcher = turn
		r.restart()
		if err := r.Poll(t.Context()); !errors.Is(err, errRepeats) {
			t.Fatalf("%v", err)
		}
		if now := r.window(t); !now.Time.Equal(was.Time) || turn.n > 5 {
			t.Errorf("the place went to %v after %d pages", now.Time, turn.n)
		}
	})
}

// What leaves a list while it is read moves what follows it to a page that was read already.
func TestWhatMovesToAnEarlierPageIsNotMissed(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Order: Oldest, Counted: true}, Start{Kind: StartNow})
		r.shelf.counted = true
		r.poll(t)
		for i := range 15 {
			time.Sleep(time.Minute)
			r.shelf.put(fmt.Sprint("e", i), time.Now())
		}
		r.shelf.before = func(q Request) error {
			if q.Cursor == "10" && len(r.shelf.things) == 15 {
				r.shelf.things = r.shelf.things[1:]
			}
			return nil
		}
		r.poll(t)
		for range 3 {
			time.Sleep(time.Hour)
			r.poll(t)
		}
		if slices.Sort(r.store.log); len(r.store.log) != 15 {
			t.Errorf("taken in %q", r.store.log)
		}
	})
}

func TestUndatedHistoryOfAWindow(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{}, Start{Kind: StartNow})
		r.shelf.put("old", time.Time{})
		r.poll(t)
		r.poll(t)
		r.shelf.put("new", time.Time{})
		r.poll(t)
		r.want(t, "new")
	})
}

func TestAChangesFeedNeedsAWrapper(t *testing.T) {
	for _, feed := range []Feed{{Kind: TimeWindow, Changes: true}, {Kind: Snapshot}} {
		feed.Fetcher = &list{}
		p := &Poller{Source: "s", Feeds: []Feed{feed}, Store: newFakeStore()}
		if err := p.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "changed") {
			t.Error(err)
		}
	}
}

// An API that knows whole days only lists more than a short window asks for. The place stays within what was read to its end.
func TestAStepThatListsMoreThanItsWindow(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Step: time.Hour}, Start{Kind: StartNow})
		r.shelf.grain, r.shelf.size = 24*time.Hour, 1000
		r.poll(t)
		for i := range 20 {
			time.Sleep(time.Hour)
			r.shelf.put(fmt.Sprint("e", i), time.Now())
		}
		r.shelf.before = func(Request) error {
			if len(r.shelf.requests) == 4 {
				return &FetchError{Health: event.SourceFailing, Err: errors.New("503")}
			}
			return nil
		}
		time.Sleep(time.Second)
		begun := r.window(t).From
		if r.Poll(t.Context()) == nil {
			t.Fatal("no error")
		}
		if pos := r.window(t); pos.Time.After(begun.Add(3 * time.Hour)) {
			t.Errorf("two windows of an hour from %v on were read, and the place is %v", begun, pos.Time)
		}
	})
}

func TestAHarvestIsPutInOrder(t *testing.T) {
	now := time.Now()
	for order, want := range map[Order]string{Newest: "[d c b a]", Oldest: "[b a d c]", Unordered: "[b a d c]"} {
		f := &feed{Feed: Feed{Order: order}}
		h := f.newHarvest(0)
		for _, e := range []event.Event{{ID: "b", Time: now}, {ID: "a"}, {ID: "d", Time: now}, {ID: "c", Time: now.Add(time.Second)}} {
			if order == Newest {
				e.Time = map[bool]time.Time{true: now}[e.ID != "a"]
			}
			h.add(e, false)
		}
		if order == Newest {
			slices.SortFunc(h.events, func(a, b gathered) int { return strings.Compare(a.ID, b.ID) })
		}
		h.sort()
		var got []string
		for _, g := range h.events {
			got = append(got, g.ID)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", order, got, want)
		}
	}
}
