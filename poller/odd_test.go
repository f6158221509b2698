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

func notes(told []event.Notice) (texts []string) {
	for _, n := range told {
		if n, ok := n.(event.SourceNote); ok {
			texts = append(texts, n.What)
		}
	}
	return texts
}

func wantNote(t *testing.T, told []event.Notice, words ...string) {
	t.Helper()
	texts := notes(told)
	if len(texts) != 1 {
		t.Fatalf("%d notes were told: %q", len(texts), texts)
	}
	for _, word := range words {
		if !strings.Contains(texts[0], word) {
			t.Errorf("the note does not say %q: %s", word, texts[0])
		}
	}
}

// today lets it be a time at which a clock can stand that was set.
func today() { time.Sleep(time.Until(written.AddDate(2, 3, 1))) }

// A server that is years off neither lets a source that starts now take in nothing, nor what it lists later be forgotten. A window, which
// ends at the server's time, takes in what came after it once that is right.
func TestAServersClockThatIsYearsOff(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, off := range []time.Duration{10 * year, -10 * year, 25 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			in(t, func(t *testing.T) {
				today()
				for _, start := range []StartKind{StartNow, StartEarliest} {
					r := newRig(Start{Kind: start})
					r.list.answer = func(_ string, page event.Page) event.Page { page.Date = page.Date.Add(off); return page }
					r.poll(t)
					for i := range 3 {
						r.list.happen(fmt.Sprint("e", i), time.Now())
						time.Sleep(time.Second)
						r.poll(t)
						time.Sleep(time.Minute)
					}
					r.want(t, ids("e", 0, 2)...)
					if pos := r.position(t); pos.Time.After(time.Now()) {
						t.Errorf("the place is at %s", pos.Time)
					}
					if time.Until(r.store.date).Abs() < 24*time.Hour {
						t.Error("the store was not told the server's time, by which it judges our clock")
					}
					wantNote(t, r.told, "clock", "2028-")
				}
				w := newShelfRig(Feed{Kind: TimeWindow}, Start{Kind: StartNow})
				w.shelf.skew = off
				w.poll(t)
				w.shelf.put("w", time.Now())
				w.poll(t)
				if off < 0 {
					w.shelf.skew = 0
					w.poll(t)
				}
				w.want(t, "w")
				wantNote(t, w.told, "clock")
			})
		})
	}
}

// Where nobody can say which of the two is right, what happens from the earlier one on is taken in.
func TestOurClockMayBeTheWrongOne(t *testing.T) {
	for name, policy := range map[string]Lost{"start": "", "from_now": LostFromNow} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				today()
				right := time.Now().AddDate(-1, 0, 0) // the server's, and ours is a year ahead of it
				r := newRig(Start{Kind: StartNow})
				r.list.answer = func(_ string, page event.Page) event.Page { page.Date = right; return page }
				r.list.happen("old", right.Add(-time.Hour))
				if policy != "" {
					r.OnLost = policy
					r.list.happen("seen", right)
					r.poll(t)
					r.list.events = nil
					r.list.happen("other", right.Add(-time.Hour))
				}
				r.poll(t)
				r.list.happen("new", right.Add(time.Minute))
				r.poll(t)
				r.list.happen("newer", right.Add(2*time.Minute))
				r.poll(t)
				if !slices.Contains(r.store.log, "new") || !slices.Contains(r.store.log, "newer") {
					t.Errorf("taken in %q", r.store.log)
				}
			})
		})
	}
}

// A clock that was never set is not what a server is judged by, nor is a small difference anything to tell.
func TestAServersClockIsBelieved(t *testing.T) {
	for name, off := range map[string]time.Duration{"never set": 25 * 365 * 24 * time.Hour, "an hour off": time.Hour} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				if off == time.Hour {
					today()
				}
				r := newRig(Start{Kind: StartNow})
				r.list.answer = func(_ string, page event.Page) event.Page { page.Date = page.Date.Add(off); return page }
				r.poll(t)
				if start := *r.position(t).Start; time.Until(start) < off-2*time.Second || len(notes(r.told)) > 0 {
					t.Errorf("start %s, notes %q", start, notes(r.told))
				}
			})
		})
	}
}

func TestNoEventBearsATime(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newShelfRig(Feed{Kind: TimeWindow, Name: "docs", Timed: true}, Start{Kind: StartEarliest})
		for i := range 4 {
			r.shelf.put(fmt.Sprint("e", i), time.Time{})
		}
		r.poll(t)
		if texts := notes(r.told); len(texts) > 0 {
			t.Errorf("told of %d events: %q", 4, texts)
		}
		for range 4 {
			r.poll(t)
		}
		wantNote(t, r.told, "feed docs", "12 events", "look at time", "does not move")
	})
	for name, set := range map[string]func(*shelfRig){
		"one does":            func(r *shelfRig) { r.shelf.put("dated", time.Now()) },
		"none is said to":     func(r *shelfRig) { r.Feeds[0].Timed = false },
		"they can't be read":  func(r *shelfRig) { r.shelf.things[0].Broken = "no object" },
		"too few to say much": func(r *shelfRig) { r.shelf.things = r.shelf.things[1:] },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := newShelfRig(Feed{Kind: TimeWindow, Timed: true}, Start{Kind: StartEarliest})
				for i := range minUndated {
					r.shelf.put(fmt.Sprint("e", i), time.Time{})
				}
				set(r)
				r.poll(t)
				if texts := notes(r.told); len(texts) > 0 {
					t.Errorf("told %q", texts)
				}
			})
		})
	}
}

// An API that names another cursor for ever and lists nothing behind it is left alone soon, and the place goes on as far as it was.
func TestEmptyPagesWithoutEnd(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newTail(Start{Kind: StartEarliest})
		n := 0
		r.tail.answer = func(_ Request, page event.Page) event.Page {
			n++
			page.Next, page.Idle, page.Events = fmt.Sprintf("0:-%d", 1000+n), false, nil
			return page
		}
		err := r.Poll(t.Context())
		if !errors.Is(err, errEmpty) || !strings.Contains(err.Error(), "page after page of its list has nothing on it") {
			t.Errorf("%v", err)
		}
		if n != maxEmptyTail {
			t.Errorf("%d requests were made", n)
		}
		if err := r.Poll(t.Context()); !errors.Is(err, errEmpty) || r.tail.requests[n-maxEmptyTail].Cursor != fmt.Sprintf("0:-%d", 1000+maxEmptyTail-1) {
			t.Errorf("%v; the second poll began at %q", err, r.tail.requests[n-maxEmptyTail].Cursor)
		}
	})
}

// A list that gives what it lists new ids for ever looks as one does that has much to catch up with. It is told of, and kept in bounded memory.
func TestAListWithoutEndIsTold(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		r.Memory = 1000
		n := 0
		ctx, cancel := context.WithCancel(t.Context())
		r.list.answer = func(string, event.Page) event.Page {
			if n++; n == 12_000 {
				cancel()
			}
			id := fmt.Sprint("e", n)
			return event.Page{Events: []event.Event{{ID: id, Data: []byte("{}"), Time: time.Now()}}, Next: id, More: true}
		}
		r.list.before = func(_ int, cursor string) error {
			r.list.events = []event.Event{{ID: cursor}}
			return nil
		}
		_ = r.Poll(ctx)
		texts := notes(r.told)
		if len(texts) != 2 || !strings.Contains(texts[0], "1000 pages") || !strings.Contains(texts[1], "10000 pages") {
			t.Errorf("told %q", texts)
		}
		if size := len(r.store.pos.Data); size > 400_000 {
			t.Errorf("the place has %d bytes", size)
		}
		if w := r.feeds[0].strategy.(*headWalk).walk; len(w.Marks) > maxMarks || len(w.pages) > 0 || len(w.guard.seen) > maxSeen {
			t.Errorf("%d marks, %d pages and %d hashes are held", len(w.Marks), len(w.pages), len(w.guard.seen))
		}
	})
}
