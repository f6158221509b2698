package poller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tidings/event"
)

// numbered is a list whose pages are numbers and that shows so many events only.
type numbered struct {
	*list
	keep int
}

func (l *numbered) Fetch(_ context.Context, r Request) (event.Page, error) {
	l.requests++
	if l.before != nil {
		if err := l.before(l.requests, r.Cursor); err != nil {
			return event.Page{}, err
		}
	}
	n := 0
	_, _ = fmt.Sscan(r.Cursor, &n)
	shown := l.events[:min(l.keep, len(l.events))]
	from := min(n*l.size, len(shown))
	to := min(from+l.size, len(shown))
	page := event.Page{Events: append([]event.Event(nil), shown[from:to]...), Date: time.Now().Truncate(time.Second), More: to < len(shown)}
	if page.More {
		page.Next = fmt.Sprint(n + 1)
	}
	return page, nil
}

// Where more has happened under an interrupted walk than it had walked, and all that it had not reached is off the list, going on would
// show no sign of the loss. What is new, by its times or, where they are all one, by its ids, is walked anew.
func TestAListThatMovesOnUnderAnInterruptedWalk(t *testing.T) {
	for name, apart := range map[string]time.Duration{"by times": time.Second, "all of one time": 0} {
		for _, memory := range []int{0, 1} {
			t.Run(fmt.Sprint(name, memory), func(t *testing.T) {
				in(t, func(t *testing.T) {
					r := newRig(Start{Kind: StartEarliest})
					l := &numbered{r.list, 50}
					r.Feeds[0].Fetcher, r.Memory = l, memory
					day := time.Now()
					n := 0
					happen := func(most int) {
						for range most {
							time.Sleep(apart)
							l.happen(fmt.Sprint("e", n), day.Add(time.Duration(n)*apart))
							n++
						}
					}
					happen(30)
					r.poll(t)
					happen(15) // the walk meets what is known on its second page, and goes on as far as the overlap
					if apart > 0 {
						r.Overlap = time.Hour
					}
					l.before = func(_ int, cursor string) error {
						if cursor == "2" {
							return &FetchError{Health: event.SourceLimited, Err: errors.New("429")}
						}
						return nil
					}
					if r.Poll(t.Context()) == nil {
						t.Fatal("the walk is not interrupted")
					}
					l.before = nil
					happen(400)
					r.poll(t)
					if len(r.store.gaps) != 1 {
						t.Errorf("%d gaps were told of events that were never listed to us", len(r.store.gaps))
					}
					taken := map[string]bool{}
					for _, id := range r.store.log {
						taken[id] = true
					}
					for i := n - 50; i < n; i++ {
						if !taken[fmt.Sprint("e", i)] {
							t.Errorf("e%d is listed and was not taken in", i)
						}
					}
					r.poll(t)
					if len(r.store.gaps) != 1 {
						t.Errorf("%d gaps were told", len(r.store.gaps))
					}
				})
			})
		}
	}
}
