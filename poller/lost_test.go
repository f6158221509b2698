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

// away lists n events while nobody asks, and then knows no cursor of before.
func (r *tailRig) away(n int) {
	for i := range n {
		time.Sleep(time.Minute)
		r.tail.happen(fmt.Sprint("new", i), time.Now().Truncate(time.Second))
	}
	r.tail.epoch++
}

// oneGap wants one gap, a possible one, whose Why says word.
func oneGap(t *testing.T, s *fakeStore, word string) event.Gap {
	t.Helper()
	if len(s.gaps) != 1 {
		t.Fatalf("gaps %+v", s.gaps)
	}
	if g := s.gaps[0]; g.Certain || !strings.Contains(g.Why, word) || g.Source != "s" || g.Found.IsZero() {
		t.Errorf("gap %+v", g)
	}
	return s.gaps[0]
}

func TestALostCursorIsLookedForByTime(t *testing.T) {
	for name, set := range map[string]func(r *tailRig){
		"from the earliest": func(*tailRig) {},
		"from a time":       func(r *tailRig) { r.feed.CanSeek = true },
		"by a seek":         func(r *tailRig) { r.feed.Fetcher = &seekable{tail: r.tail} },
		"a null cursor":     func(r *tailRig) { r.tail.null = true },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := seenTail(t, 25)
				set(r)
				r.boot(Start{Kind: StartEarliest})
				from := r.at(t).Time
				r.away(25)
				for _, id := range ids("e", 0, 15) { // they were remembered for long enough
					delete(r.store.known, id)
				}
				r.poll(t)
				r.poll(t)
				r.want(t, append(ids("e", 0, 24), ids("new", 0, 24)...)...)
				gap := oneGap(t, r.store, "no longer knows")
				if !gap.From.Equal(from) || !gap.To.Equal(from.Add(time.Minute)) {
					t.Errorf("gap %+v, want from %v on", gap, from)
				}
				if pos := r.at(t); pos.Lost || !pos.CaughtUp {
					t.Errorf("position %s", r.store.pos.Data)
				}
				commits := len(r.store.commits)
				r.away(1) // and once more
				r.poll(t)
				r.poll(t)
				if len(r.store.gaps) != 2 {
					t.Errorf("gaps %+v after a second loss", r.store.gaps)
				}
				r.want(t, append(ids("e", 0, 24), append(ids("new", 0, 24), "new0")...)[:50]...)
				if n := len(r.store.commits) - commits; n > 2 {
					t.Errorf("%d commits", n)
				}
			})
		})
	}
}

// The gap is recorded once, whatever fails between the loss and its end.
func TestALostCursorIsToldOnce(t *testing.T) {
	for n := range 9 {
		in(t, func(t *testing.T) {
			r := seenTail(t, 5)
			r.away(35)
			requests, commits := 0, 0
			r.tail.before = func(Request) error {
				if requests++; requests == n {
					return errors.New("503")
				}
				return nil
			}
			r.store.fault = func(event.Commit) (before, after error) {
				if commits++; commits == n {
					return nil, event.ErrUnknownOutcome
				}
				return nil, nil
			}
			for range 5 {
				_ = r.Poll(t.Context())
				if n%2 == 0 {
					r.boot(Start{Kind: StartEarliest})
				}
			}
			r.poll(t)
			oneGap(t, r.store, "no longer knows")
			r.want(t, append(ids("e", 0, 4), ids("new", 0, 34)...)...)
		})
	}
}

func TestStopAtALostCursor(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seenTail(t, 5)
		r.OnLost = LostStop
		r.away(5)
		for range 3 {
			r.fails(t, "source s", "no longer knows", "on_lost_position: from_time", "from_now", r.at(t).Time.Add(-5*time.Minute).UTC().Format(time.RFC3339))
			time.Sleep(time.Minute)
			r.boot(Start{Kind: StartEarliest})
		}
		oneGap(t, r.store, "no longer knows")
		r.want(t, ids("e", 0, 4)...)
		if n := len(r.store.commits); n != 2 {
			t.Errorf("%d commits", n)
		}
		if place, err := Describe(r.store.pos.Data); err != nil || !place.Lost {
			t.Errorf("place %+v, %v", place, err)
		}
		r.OnLost = LostFromTime
		r.poll(t)
		r.want(t, append(ids("e", 0, 4), ids("new", 0, 4)...)...)
		oneGap(t, r.store, "no longer knows")
		if r.at(t).Lost {
			t.Error("it is lost still")
		}
	})
}

// A place that is known again was not lost.
func TestStopEndsWhenThePlaceIsKnownAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seenTail(t, 5)
		r.OnLost = LostStop
		r.away(5)
		r.fails(t, "no longer knows")
		r.tail.epoch = 0
		r.poll(t)
		r.want(t, append(ids("e", 0, 4), ids("new", 0, 4)...)...)
		if r.at(t).Lost || len(r.store.gaps) != 1 {
			t.Errorf("position %s, gaps %+v", r.store.pos.Data, r.store.gaps)
		}
	})
}

func TestALostCursorOfAListWithoutTimesStops(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newTail(Start{Kind: StartEarliest})
		r.tail.happen("e", time.Time{})
		r.poll(t)
		r.tail.happen("new", time.Time{})
		r.tail.epoch++
		r.fails(t, "bear no time", "from_now")
		r.OnLost = LostFromNow
		r.poll(t)
		r.tail.happen("newer", time.Time{})
		r.poll(t)
		r.want(t, "e", "newer")
		oneGap(t, r.store, "bear no time")
	})
}

func TestFromNowAtALostCursor(t *testing.T) {
	for name, set := range map[string]func(r *tailRig){
		"from the earliest": func(*tailRig) {},
		"by a seek":         func(r *tailRig) { r.feed.Fetcher = &seekable{tail: r.tail} },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := seenTail(t, 5)
				set(r)
				r.boot(Start{Kind: StartEarliest})
				r.OnLost = LostFromNow
				r.away(25)
				r.tail.happen("undated", time.Time{})
				time.Sleep(time.Minute)
				r.poll(t)
				time.Sleep(time.Second)
				r.tail.happen("after", time.Now())
				r.boot(Start{Kind: StartEarliest})
				r.poll(t)
				r.want(t, append(ids("e", 0, 4), "after")...)
				oneGap(t, r.store, "from_now")
			})
		})
	}
}

func TestRetentionShorterThanTheAbsence(t *testing.T) {
	for _, policy := range []Lost{LostFromTime, LostFromNow, LostStop} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(policy, restart), func(t *testing.T) {
				in(t, func(t *testing.T) {
					r := newTail(Start{})
					r.feed.Retain, r.OnLost = 24*time.Hour, policy
					r.boot(Start{Kind: StartEarliest})
					r.tail.happen("e", time.Now())
					for range 49 { // a quiet source that is asked often enough shows nothing
						r.poll(t)
						time.Sleep(time.Hour)
					}
					if len(r.store.gaps) != 0 {
						t.Fatalf("gaps %+v", r.store.gaps)
					}
					time.Sleep(48 * time.Hour)
					r.tail.happen("dropped", time.Now().Add(-47*time.Hour))
					r.tail.dropped = 2
					r.tail.happen("new", time.Now())
					if restart {
						r.boot(Start{Kind: StartEarliest})
					}
					if policy == LostStop {
						for range 2 {
							r.fails(t, "longer ago than it keeps events", "from_time")
						}
						r.boot(Start{Kind: StartEarliest})
						r.fails(t, "longer ago than it keeps events", "from_time")
						r.want(t, "e")
						r.OnLost = LostFromTime
					}
					r.poll(t)
					r.poll(t)
					r.want(t, "e", "new")
					oneGap(t, r.store, "longer ago than it keeps events")
					if r.at(t).Lost {
						t.Error("it is lost still")
					}
				})
			})
		}
	}
}

// gone replaces all that a head walk has seen by n new events.
func (r *rig) gone(n int) {
	r.list.events = nil
	time.Sleep(time.Hour)
	for i := range n {
		time.Sleep(time.Second)
		r.list.happen(fmt.Sprint("new", i), time.Now())
	}
	time.Sleep(time.Minute)
}

func TestStopWhereAListEndsBeforeAnyKnownEvent(t *testing.T) {
	for _, memory := range []int{1, 1 << 20} {
		in(t, func(t *testing.T) {
			r := seen(t, 15)
			r.Memory, r.OnLost = memory, LostStop
			old := r.list.events
			r.gone(35)
			for range 3 {
				err := r.Poll(t.Context())
				if err == nil || !strings.Contains(err.Error(), "ends before any event") || !strings.Contains(err.Error(), "from_now") {
					t.Fatalf("%v", err)
				}
				r.restart(Start{Kind: StartEarliest})
				r.Memory, r.OnLost = memory, LostStop
			}
			r.want(t, ids("e", 0, 14)...)
			oneGap(t, r.store, "ends before")
			if pos := r.position(t); pos.Trail != nil || !pos.Lost || pos.IDs[0] != "e14" {
				t.Errorf("position %s", r.store.pos.Data)
			}
			fresh := r.list.events
			r.list.events = old // it was a whim of the API
			r.poll(t)
			if r.position(t).Lost {
				t.Error("it is lost still")
			}
			r.list.events = fresh
			if r.Poll(t.Context()) == nil || len(r.store.gaps) != 2 {
				t.Errorf("gaps %+v after a second loss", r.store.gaps)
			}
			r.OnLost = LostFromTime
			r.poll(t)
			r.poll(t)
			r.want(t, append(ids("e", 0, 14), ids("new", 0, 34)...)...)
			if len(r.store.gaps) != 2 {
				t.Errorf("gaps %+v", r.store.gaps)
			}
		})
	}
}

func TestFromNowWhereAListEndsBeforeAnyKnownEvent(t *testing.T) {
	for _, memory := range []int{1, 1 << 20} {
		in(t, func(t *testing.T) {
			r := seen(t, 15)
			r.Memory, r.OnLost = memory, LostFromNow
			r.gone(35)
			r.list.happen("undated", time.Time{})
			r.poll(t)
			r.poll(t)
			r.list.happen("after", time.Now())
			r.list.happen("undated after", time.Time{})
			r.restart(Start{Kind: StartEarliest})
			r.poll(t)
			r.poll(t)
			r.want(t, append(ids("e", 0, 14), "after", "undated after")...)
			if len(r.store.gaps) != 1 || !r.store.gaps[0].Certain || !strings.Contains(r.store.gaps[0].Why, "from_now") {
				t.Errorf("gaps %+v", r.store.gaps)
			}
			if i := slices.IndexFunc(r.store.commits, func(c event.Commit) bool { return c.Gap != nil }); len(r.store.commits[i].Events) > 0 {
				t.Error("events were committed before it was decided")
			}
		})
	}
}

// A walk that ended polls after it began decides for what was listed meanwhile too: that may be gone before the list is asked again.
func TestFromNowIsTheTimeOfTheDecision(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seen(t, 15)
		r.Memory, r.OnLost = 1, LostFromNow
		r.gone(35)
		r.list.before = func(_ int, cursor string) error {
			if cursor == "new15" {
				return &FetchError{Health: event.SourceFailing, Err: errors.New("busy")}
			}
			return nil
		}
		if r.Poll(t.Context()) == nil || r.position(t).Trail == nil {
			t.Fatal("the walk was not interrupted, which is the premise of this test")
		}
		r.list.before = nil
		time.Sleep(time.Minute)
		r.list.happen("meanwhile", time.Now())
		meanwhile := time.Now()
		time.Sleep(time.Minute)
		r.restart(Start{Kind: StartEarliest})
		r.Memory, r.OnLost = 1, LostFromNow
		r.poll(t)
		if len(r.store.gaps) != 1 || r.store.gaps[0].To.Before(meanwhile) {
			t.Errorf("gaps %+v do not tell of what was listed at %v", r.store.gaps, meanwhile)
		}
		r.gone(3) // and what the decision saw
		r.poll(t)
		if len(r.store.gaps) != 2 {
			t.Errorf("gaps %+v do not tell of what was lost after the decision", r.store.gaps)
		}
		r.want(t, ids("e", 0, 14)...)
	})
}

// A source that was asked all the time was not away, whatever little it listed and however often this program was started anew.
func TestAQuietTailThatIsAskedIsNotAway(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newTail(Start{})
		r.feed.Retain, r.OnLost = 24*time.Hour, LostStop
		r.boot(Start{Kind: StartEarliest})
		r.tail.happen("e", time.Now())
		for range 72 {
			r.poll(t)
			time.Sleep(time.Hour)
		}
		if n := len(r.store.commits); n > 2+72/3 {
			t.Errorf("%d commits", n)
		}
		r.boot(Start{Kind: StartEarliest})
		r.tail.happen("new", time.Now())
		r.poll(t)
		r.want(t, "e", "new")
	})
}

// When a position was last stored by a program to which no retention was configured, its newest event says when the API was asked.
func TestARetentionThatIsConfiguredLater(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		in(t, func(t *testing.T) {
			r := newTail(Start{})
			r.OnLost = LostStop
			if !quiet {
				r.tail.happen("e", time.Now())
			}
			r.boot(Start{Kind: StartEarliest})
			r.poll(t)
			time.Sleep(time.Hour)
			r.feed.Retain = 24 * time.Hour
			r.boot(Start{Kind: StartEarliest})
			r.poll(t)
			if len(r.store.gaps) > 0 {
				t.Errorf("gaps %+v", r.store.gaps)
			}
		})
	}
}
