package poller

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"tidings/event"
)

// seen returns a rig whose source took in e0 to e(n-1), a minute apart.
func seen(t *testing.T, n int) *rig {
	t.Helper()
	r := newRig(Start{Kind: StartEarliest})
	for i := range n {
		time.Sleep(time.Minute)
		r.list.happen(fmt.Sprint("e", i), time.Now())
	}
	r.poll(t)
	return r
}

func TestGapWhereTheListEndsBeforeAnyKnownEvent(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seen(t, 15)
		from := r.list.events[0].Time
		r.list.events = nil // the retention is shorter than the hour that we were away
		time.Sleep(time.Hour)
		oldest := time.Now()
		r.list.happen("new0", oldest)
		r.list.happen("new1", oldest.Add(time.Second))
		r.poll(t)
		r.poll(t)
		r.list.happen("new2", oldest.Add(time.Minute))
		r.poll(t)
		if len(r.store.gaps) != 1 {
			t.Fatalf("gaps %+v", r.store.gaps)
		}
		gap := r.store.gaps[0]
		if gap.Certain || !gap.From.Equal(from.Truncate(time.Second)) && !gap.From.Equal(from) || !gap.To.Equal(oldest) || gap.Why == "" || gap.Source != "s" {
			t.Errorf("gap %+v, want from %v to %v", gap, from, oldest)
		}
		r.want(t, append(ids("e", 0, 14), ids("new", 0, 2)...)...)
	})
}

func TestGapOfAnEmptyListIsToldOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seen(t, 15)
		all := r.list.events
		gaps := func(want int) {
			t.Helper()
			commits := len(r.store.commits)
			r.poll(t)
			r.poll(t)
			if len(r.store.gaps) != want {
				t.Errorf("%d gaps, want %d", len(r.store.gaps), want)
			}
			if n := len(r.store.commits) - commits; n != 1 {
				t.Errorf("%d commits", n)
			}
		}
		r.list.events = nil
		gaps(1)
		r.list.events = all // it was a whim of the API
		gaps(1)
		r.list.events = nil
		gaps(2)
		r.list.happen("new", time.Now())
		gaps(2)
		if len(r.store.log) != 16 {
			t.Errorf("taken in %q", r.store.log)
		}
	})
}

func TestGapWhereAFilterHidesWhatWasSeen(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seen(t, 15)
		for i := range r.list.events {
			r.list.events[i].ID = "other" + r.list.events[i].ID
		}
		r.poll(t)
		r.poll(t)
		if len(r.store.gaps) != 1 {
			t.Errorf("gaps %+v", r.store.gaps)
		}
	})
}

// What an interrupted walk took in lies behind the gap too, and proves nothing.
func TestAGapOutlivesAnInterruptedWalk(t *testing.T) {
	for name, fault := range map[string]func(r *rig){
		"a short walk's second commit": func(r *rig) {
			n := 0
			r.store.fault = func(event.Commit) (before, after error) {
				if n++; n == 2 {
					return event.ErrFull, nil
				}
				return nil, nil
			}
		},
		"a long walk's cursor": func(r *rig) {
			r.Memory = 1
			r.list.before = func(_ int, _ string) error {
				if len(r.store.log) == 25 {
					r.list.before = nil
					return &FetchError{Lost: true, Err: errors.New("410 Gone")}
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := seen(t, 15)
				r.list.events = nil
				time.Sleep(time.Hour)
				for i := range 40 {
					time.Sleep(time.Second)
					r.list.happen(fmt.Sprint("new", i), time.Now())
				}
				fault(r)
				_ = r.Poll(t.Context())
				if len(r.store.log) == 15 {
					t.Error("nothing was taken in before the walk was interrupted")
				}
				r.poll(t)
				r.poll(t)
				if len(r.store.gaps) != 1 || len(r.store.log) != 55 {
					t.Errorf("%d taken in, gaps %+v", len(r.store.log), r.store.gaps)
				}
			})
		})
	}
}

func TestAnEventOfTheFutureHidesNoGap(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seen(t, 15)
		r.list.happen("future", time.Now().Add(365*24*time.Hour))
		r.poll(t)
		r.list.events = r.list.events[:1]
		time.Sleep(time.Hour)
		r.list.late("new", time.Now())
		r.poll(t)
		r.poll(t)
		if len(r.store.gaps) != 1 {
			t.Errorf("gaps %+v", r.store.gaps)
		}
	})
}

func TestNoGap(t *testing.T) {
	for name, change := range map[string]func(r *rig){
		"quiet":              func(*rig) {},
		"retention":          func(r *rig) { r.list.events = r.list.events[:1] },
		"newest was deleted": func(r *rig) { r.list.events = r.list.events[1:] },
		"many new": func(r *rig) {
			for i := range 90 {
				r.list.happen(fmt.Sprint("new", i), time.Now())
			}
		},
		"forgotten": func(r *rig) { clear(r.store.known) },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := seen(t, 15)
				change(r)
				r.poll(t)
				r.poll(t)
				if len(r.store.gaps) != 0 {
					t.Errorf("gaps %+v", r.store.gaps)
				}
			})
		})
	}
	t.Run("first poll of an empty list", func(t *testing.T) {
		in(t, func(t *testing.T) {
			r := newRig(Start{Kind: StartNow})
			r.poll(t)
			r.list.happen("e", time.Now())
			r.poll(t)
			if len(r.store.gaps) != 0 {
				t.Errorf("gaps %+v", r.store.gaps)
			}
			r.want(t, "e")
		})
	})
}

func TestAListThatRepeatsAPageIsAnError(t *testing.T) {
	for name, answer := range map[string]func(l *list) func(string, event.Page) event.Page{
		"cursor ignored": func(l *list) func(string, event.Page) event.Page {
			return func(_ string, page event.Page) event.Page {
				page.Events, page.Next, page.More = l.events[:10], l.events[9].ID, true
				return page
			}
		},
		"cursor ignored while events come": func(l *list) func(string, event.Page) event.Page {
			return func(_ string, page event.Page) event.Page {
				if l.requests < 10 {
					l.happen(fmt.Sprint("more", l.requests), time.Now())
				}
				page.Events, page.Next, page.More = l.events[:10], l.events[9].ID, true
				return page
			}
		},
		"empty pages in a circle": func(l *list) func(string, event.Page) event.Page {
			return func(cursor string, page event.Page) event.Page {
				page.Events, page.Next, page.More = nil, map[string]string{"": "e10", "e10": "e11", "e11": "e10"}[cursor], true
				return page
			}
		},
		"last page again and again": func(l *list) func(string, event.Page) event.Page {
			return func(cursor string, page event.Page) event.Page {
				if cursor == "e10" {
					page.Next = "e15"
				}
				page.More = true
				return page
			}
		},
	} {
		for _, memory := range []int{1, 1 << 20} {
			t.Run(fmt.Sprint(name, memory), func(t *testing.T) {
				in(t, func(t *testing.T) {
					r := newRig(Start{Kind: StartEarliest})
					r.Memory = memory
					for i := range 40 {
						r.list.happen(fmt.Sprint("e", i), time.Now())
					}
					r.list.answer = answer(r.list)
					for range 2 {
						if err := r.Poll(t.Context()); !errors.Is(err, errRepeats) {
							t.Fatalf("%v", err)
						}
					}
					r.want(t)
					if told := last[event.PollFailed](t, r.told); told.Health != event.SourceFailing || told.Failures != 2 {
						t.Errorf("told %+v", told)
					}
					if r.position(t).Trail != nil {
						t.Error("the walk is still stored")
					}
					r.list.answer = nil
					r.poll(t)
					if len(r.store.log) < 40 {
						t.Errorf("taken in %d events once it is repaired", len(r.store.log))
					}
				})
			})
		}
	}
}
