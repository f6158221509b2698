package poller

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidings/event"
)

// An empty page where the list had said to go on is asked for again, whether the walk is short or long, going back or forth.
func TestAnEndInABadMomentIsNotBelieved(t *testing.T) {
	for _, memory := range []int{1, 1 << 20} {
		for at := 2; at < 9; at++ {
			t.Run(fmt.Sprint(memory, " ", at), func(t *testing.T) {
				in(t, func(t *testing.T) {
					r := newRig(Start{Kind: StartEarliest})
					r.Memory = memory
					for i := range 50 {
						time.Sleep(time.Hour)
						r.list.happen(fmt.Sprint("e", i), time.Now())
					}
					r.list.answer = func(cursor string, page event.Page) event.Page {
						if n := r.list.requests; cursor != "" && (n == at || n == at+1) {
							page.Events, page.More, page.Next = nil, false, ""
						}
						return page
					}
					for range 5 {
						_ = r.Poll(t.Context())
					}
					if len(r.store.log) != 50 || len(r.store.gaps) > 0 {
						t.Errorf("taken in %d of 50, gaps %+v", len(r.store.log), r.store.gaps)
					}
				})
			})
		}
	}
}

// One that lasts is believed, and told.
func TestAnEndThatStaysIsAGap(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		for i := range 50 {
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		r.list.answer = func(cursor string, page event.Page) event.Page {
			if cursor == "e30" {
				page.Events, page.More, page.Next = nil, false, ""
			}
			return page
		}
		for range maxDoubts {
			if r.Poll(t.Context()) == nil {
				t.Fatal("it was believed at once")
			}
		}
		r.poll(t)
		r.poll(t)
		if len(r.store.log) != 20 || len(r.store.gaps) != 1 || r.store.gaps[0].Certain {
			t.Errorf("taken in %d, gaps %+v", len(r.store.log), r.store.gaps)
		}
	})
}

// An API need not say plainly that it does not know a cursor.
func TestAPlaceThatFailsAgainAndAgainIsGivenUp(t *testing.T) {
	for _, memory := range []int{1, 1 << 20} {
		in(t, func(t *testing.T) {
			r := seen(t, 15)
			r.Memory = memory
			for i := range 50 {
				time.Sleep(time.Second)
				r.list.happen(fmt.Sprint("new", i), time.Now())
			}
			gone := "new30"
			r.list.before = func(_ int, cursor string) error {
				if cursor != gone {
					return nil
				}
				r.list.events = slices.DeleteFunc(r.list.events, func(e event.Event) bool { return e.ID == gone })
				return &FetchError{Health: event.SourceFailing, Err: errors.New("500")}
			}
			polls := 1
			for r.Poll(t.Context()) != nil {
				if polls++; polls > maxStuck+1 {
					t.Fatal("it still asks for the same place")
				}
			}
			if polls != maxStuck+1 {
				t.Errorf("given up after %d polls", polls)
			}
			r.poll(t)
			if len(r.store.log) != 15+49 {
				t.Errorf("taken in %d events", len(r.store.log))
			}
		})
	}
}

func TestGuardEndsWhatNeverEnds(t *testing.T) {
	for name, next := range map[string]func(i int) (string, []event.Event){
		"a circle wider than what is remembered": func(i int) (string, []event.Event) {
			cursor := fmt.Sprint(i % (maxSeen + 5))
			return cursor, []event.Event{{ID: "i" + cursor}}
		},
		"a way into it": func(i int) (string, []event.Event) {
			if i > 1000 {
				i = 1000 + i%(maxSeen+5)
			}
			cursor := fmt.Sprint(i)
			return cursor, []event.Event{{ID: "i" + cursor}}
		},
		"empty pages": func(i int) (string, []event.Event) { return fmt.Sprint(i), nil },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard()
			for i := 0; ; i++ {
				cursor, events := next(i)
				if i == 0 {
					cursor = ""
				}
				if g.pass(cursor, event.Page{Events: events, Next: "more", More: true}) != nil {
					break
				}
				if i > 5*maxSeen {
					t.Fatal("never found")
				}
			}
		})
	}
}

func TestGuardLetsALongListPass(t *testing.T) {
	g := newGuard()
	for i := range 3 * maxSeen {
		cursor := fmt.Sprint(i)
		if i == 0 {
			cursor = ""
		}
		var events []event.Event
		if i%2 == 0 {
			events = []event.Event{{ID: cursor}}
		}
		if err := g.pass(cursor, event.Page{Events: events, Next: "more", More: true}); err != nil {
			t.Fatalf("page %d: %v", i, err)
		}
	}
}
