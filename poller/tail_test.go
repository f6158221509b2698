package poller

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidings/event"
)

// seenTail returns a rig that took in e0 to e(n-1), a minute apart.
func seenTail(t *testing.T, n int) *tailRig {
	t.Helper()
	r := newTail(Start{Kind: StartEarliest})
	for i := range n {
		time.Sleep(time.Minute)
		r.tail.happen(fmt.Sprint("e", i), time.Now().Truncate(time.Second))
	}
	r.poll(t)
	return r
}

func TestTailGoesOnFromItsCursor(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seenTail(t, 25)
		r.want(t, ids("e", 0, 24)...)
		for i, c := range r.store.commits {
			if c.Position == nil {
				t.Errorf("commit %d has events and no position", i)
			}
		}
		requests := len(r.tail.requests)
		r.boot(Start{Kind: StartEarliest})
		r.tail.happen("new", time.Now().Add(-time.Hour)) // by its time an old one: it is new by its place
		r.poll(t)
		r.want(t, append(ids("e", 0, 24), "new")...)
		if asked := r.tail.requests[requests:]; len(asked) != 1 || asked[0].Cursor != "0:25" {
			t.Errorf("asked for %+v", asked)
		}
	})
}

func TestTailIdlePollWritesNothing(t *testing.T) {
	for name, set := range map[string]func(l *tail){
		"next is always there":                  func(*tail) {},
		"null when idle":                        func(l *tail) { l.null = true },
		"an empty last page":                    func(l *tail) { l.late = true },
		"an empty last page with a null cursor": func(l *tail) { l.late, l.null = true, true },
		"one that is its own next": func(l *tail) {
			l.late = true
			l.answer = func(_ Request, page event.Page) event.Page { page.Idle = false; return page }
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := newTail(Start{Kind: StartEarliest})
				set(r.tail)
				for i := range 25 {
					r.tail.happen(fmt.Sprint("e", i), time.Now())
				}
				r.tail.happen("future", time.Now().Add(time.Hour))
				r.poll(t)
				r.poll(t)
				commits := len(r.store.commits)
				for range 5 {
					time.Sleep(time.Minute)
					r.poll(t)
				}
				if n := len(r.store.commits) - commits; n != 0 {
					t.Errorf("idle polls wrote %d times: %s", n, r.store.commits[commits].Position)
				}
				r.tail.happen("new", time.Now())
				clear(r.store.known) // what is listed again was forgotten
				r.poll(t)
				r.want(t, append(ids("e", 0, 24), "future", "new")...)
			})
		})
	}
}

// The cursor of a list that moves without an event is stored at once, and then at most once a minute.
func TestTailStoresAMovingCursorSeldom(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newTail(Start{Kind: StartEarliest})
		r.poll(t)
		commits := len(r.store.commits)
		n := 0
		r.tail.answer = func(_ Request, page event.Page) event.Page {
			n++
			page.Next = fmt.Sprint("0:0 ", n)
			return page
		}
		for range 60 {
			r.poll(t)
			time.Sleep(2 * time.Second)
		}
		if n := len(r.store.commits) - commits; n < 2 || n > 3 {
			t.Errorf("the cursor was stored %d times in two minutes", n)
		}
	})
}

func TestTailStartNow(t *testing.T) {
	for name, set := range map[string]func(r *tailRig){
		"from the earliest": func(*tailRig) {},
		"from a time":       func(r *tailRig) { r.feed.CanSeek = true },
		"by a seek":         func(r *tailRig) { r.feed.Fetcher = &seekable{tail: r.tail} },
	} {
		for _, skew := range []time.Duration{0, -time.Hour, time.Hour} {
			t.Run(fmt.Sprint(name, skew), func(t *testing.T) {
				in(t, func(t *testing.T) {
					r := newTail(Start{Kind: StartNow})
					set(r)
					r.boot(Start{Kind: StartNow})
					r.tail.skew = skew
					server := func() time.Time { return time.Now().Add(skew).Truncate(time.Second) }
					for i := range 45 {
						r.tail.happen(fmt.Sprint("old", i), server().Add(-time.Minute))
					}
					r.tail.happen("undated", time.Time{})
					failing := true
					r.tail.before = func(Request) error {
						if failing {
							return errors.New("no route to host")
						}
						return nil
					}
					r.fails(t, "no route")
					time.Sleep(10 * time.Minute)
					r.tail.happen("meanwhile", server().Add(-time.Minute))
					failing = false
					r.poll(t)
					r.tail.happen("late", server().Add(-time.Hour)) // from before the start
					r.tail.happen("new", server())
					r.tail.happen("new undated", time.Time{})
					r.poll(t)
					r.want(t, "meanwhile", "new", "new undated")
					if pos := r.at(t); !pos.CaughtUp || pos.Start == nil || pos.Start.Sub(server().Add(-10*time.Minute)).Abs() > time.Second {
						t.Errorf("position %s", r.store.pos.Data)
					}
				})
			})
		}
	}
}

func TestTailStartAt(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newTail(Start{})
		r.feed.CanSeek = true
		at := time.Now().Truncate(time.Second)
		r.boot(Start{Kind: StartAt, At: at})
		r.tail.happen("old", at.Add(-time.Second))
		r.tail.happen("e", at)
		r.poll(t)
		r.want(t, "e")
		if got := r.tail.requests[0].From; !got.Equal(at.Add(-clockSlack)) {
			t.Errorf("asked from %v", got)
		}
	})
}

func TestTailEmptyPageWithACursorIsNoEnd(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newTail(Start{Kind: StartEarliest})
		r.tail.happen("e", time.Now())
		r.tail.answer = func(q Request, page event.Page) event.Page {
			if q.Cursor == "" {
				return event.Page{Next: "0:0", Date: page.Date}
			}
			return page
		}
		r.poll(t)
		r.want(t, "e")
	})
}

func TestTailThatRepeatsAPageIsAnError(t *testing.T) {
	for name, answer := range map[string]func(q Request, page event.Page) event.Page{
		"cursor ignored": func(_ Request, page event.Page) event.Page { page.Next, page.Idle = "0:0", false; return page },
		"a circle": func(q Request, page event.Page) event.Page {
			page.Next, page.Idle = map[string]string{"": "0:10", "0:10": "0:5", "0:5": "0:10"}[q.Cursor], false
			return page
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := newTail(Start{Kind: StartEarliest})
				for i := range 20 {
					r.tail.happen(fmt.Sprint("e", i), time.Now())
				}
				r.tail.answer = answer
				if err := r.Poll(t.Context()); !errors.Is(err, errRepeats) {
					t.Fatalf("%v", err)
				}
				r.tail.answer = nil
				r.poll(t)
				r.poll(t)
				r.want(t, ids("e", 0, 19)...)
			})
		})
	}
}

// Where no cursor stands behind the last page, that page is listed again; what was forgotten of it is not new.
func TestTailForgetsNothingOfAPageThatIsListedAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newTail(Start{Kind: StartEarliest})
		r.Remember = 30 * 24 * time.Hour
		r.tail.null, r.tail.size = true, 3000
		for i := range 2500 {
			r.tail.happen(fmt.Sprint("e", i), time.Now())
		}
		r.poll(t)
		time.Sleep(31 * 24 * time.Hour)
		clear(r.store.known)
		r.tail.happen("late", time.Now().Add(-time.Hour))
		r.poll(t)
		r.want(t, append(ids("e", 0, 2499), "late")...)
	})
}

// What was listed while nobody asked for longer than ids are remembered is new all the same.
func TestTailAfterALongAbsence(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seenTail(t, 15)
		r.Remember = 30 * 24 * time.Hour
		for i := range 15 {
			time.Sleep(24 * time.Hour)
			r.tail.happen(fmt.Sprint("n", i), time.Now())
		}
		time.Sleep(60 * 24 * time.Hour)
		r.poll(t)
		r.want(t, append(ids("e", 0, 14), ids("n", 0, 14)...)...)
	})
}

func TestPositionsOfAnotherKindAreRefused(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seenTail(t, 3)
		r.Feeds = []Feed{{Kind: HeadWalk, Fetcher: r.tail}}
		r.feeds = nil
		r.fails(t, "source s", "tail_cursor", "head_walk", "another name")
		r.Feeds = []Feed{{Name: "a", Kind: TailCursor, Fetcher: r.tail}}
		r.feeds = nil
		r.fails(t, "source s, feed a", "one list", "another name")
		if told := last[event.PollFailed](t, r.told); told.Health != event.SourceBlocked {
			t.Errorf("told %+v", told)
		}
		h := seen(t, 3)
		h.Feeds = []Feed{{Kind: TailCursor, Fetcher: r.tail}}
		h.feeds = nil
		if err := h.Poll(t.Context()); err == nil {
			t.Error("a position of a walk is taken for a cursor")
		}
		if n := len(r.store.log); n != 3 {
			t.Errorf("taken in %d", n)
		}
	})
}

func TestDescribeATail(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seenTail(t, 25)
		place, err := Describe(r.store.pos.Data)
		newest := r.tail.events[24]
		if err != nil || place.Kind != TailCursor || place.Cursor != "0:25" || place.Newest != newest.ID || !place.Time.Equal(newest.Time) {
			t.Errorf("place %+v, %v", place, err)
		}
		if i := slices.Index(r.store.log, "e24"); i != 24 {
			t.Errorf("e24 is number %d", i)
		}
	})
}

// An undated event is as old as the dated one in front of it, on another page and before a crash too.
func TestTailUndatedEventsOfAFirstWalk(t *testing.T) {
	in(t, func(t *testing.T) {
		at := time.Now().Truncate(time.Second)
		r := newTail(Start{Kind: StartAt, At: at})
		r.tail.size = 1
		r.tail.happen("undated before", time.Time{})
		r.tail.happen("before", at.Add(-time.Minute))
		r.tail.happen("undated before too", time.Time{})
		r.tail.happen("e", at)
		r.tail.happen("undated", time.Time{})
		r.tail.happen("undated too", time.Time{})
		for n := range 8 {
			requests := 0
			r.tail.before = func(Request) error {
				if requests++; n < 7 && requests == 2 {
					return errors.New("503")
				}
				return nil
			}
			_ = r.Poll(t.Context())
			r.boot(Start{Kind: StartAt, At: at})
			time.Sleep(time.Minute)
		}
		r.want(t, "e", "undated", "undated too")
	})
}

// Once the list was read to its end after a loss, what it lists behind that is new, however old it is.
func TestTailTakesOldEventsAfterALoss(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seenTail(t, 15)
		r.away(1)
		r.poll(t)
		r.tail.happen("late", time.Now().Add(-time.Hour))
		r.poll(t)
		r.want(t, append(ids("e", 0, 14), "new0", "late")...)
	})
}

// A page without a cursor behind it that is listed again in part, or said not to have changed, is remembered in whole.
func TestTailRemembersAllOfAPageThatIsListedAgain(t *testing.T) {
	for name, answer := range map[string]func(event.Page) event.Page{
		"in part":     func(page event.Page) event.Page { page.Events = page.Events[:10]; return page },
		"not changed": func(page event.Page) event.Page { return event.Page{NotModified: true, Date: page.Date} },
		"empty":       func(page event.Page) event.Page { return event.Page{Idle: true, Date: page.Date} },
	} {
		in(t, func(t *testing.T) {
			r := newTail(Start{Kind: StartEarliest})
			r.tail.null, r.tail.size = true, 300
			for i := range 200 {
				r.tail.happen(fmt.Sprint("e", i), time.Time{})
			}
			r.poll(t)
			r.tail.answer = func(_ Request, page event.Page) event.Page { return answer(page) }
			r.poll(t)
			r.tail.answer = nil
			r.tail.happen("new", time.Time{})
			clear(r.store.known)
			r.poll(t)
			if want := append(ids("e", 0, 199), "new"); !slices.Equal(r.store.log, want) {
				t.Errorf("%s: %d taken in, want %d", name, len(r.store.log), len(want))
			}
		})
	}
}
