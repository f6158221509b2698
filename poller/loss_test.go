package poller

import (
	"errors"
	"testing"
	"time"
)

// A place that is lost again before the list was read to its end is another loss, as soon as something was taken in behind the first.
func TestAPlaceThatIsLostTwiceOnTheWay(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seenTail(t, 5)
		r.boot(Start{Kind: StartEarliest})
		r.away(25)
		asked := len(r.tail.requests)
		r.tail.before = func(Request) error {
			if len(r.tail.requests) == asked+4 { // two pages were taken in behind the loss
				return errors.New("down")
			}
			return nil
		}
		if err := r.Poll(t.Context()); err == nil {
			t.Fatal("it does not fail")
		}
		from := r.at(t).Time
		r.tail.before = nil
		r.away(3)
		r.poll(t)
		r.poll(t)
		if len(r.store.gaps) != 2 || !r.store.gaps[1].From.Equal(from) {
			t.Errorf("gaps %+v, want a second one from %v on", r.store.gaps, from)
		}
	})
}

// A stop leaves its gap open, and what is taken in from now on begins where the gap ends.
func TestGapsOfAHeadWalkReachAsFarAsNothingIsTakenIn(t *testing.T) {
	for policy, open := range map[Lost]bool{LostStop: true, LostFromNow: false} {
		in(t, func(t *testing.T) {
			r := seen(t, 15)
			r.OnLost = policy
			r.gone(35)
			_ = r.Poll(t.Context())
			if len(r.store.gaps) != 1 || r.store.gaps[0].To.IsZero() != open {
				t.Fatalf("gaps %+v", r.store.gaps)
			}
			if policy == LostStop {
				return
			}
			if g := r.store.gaps[0]; !g.To.Equal(*r.position(t).Start) {
				t.Errorf("gap %+v ends before %s", g, r.position(t).Start)
			}
			r.gone(35) // and again, before anything was taken in
			for i := range r.list.events {
				r.list.events[i].ID += " again"
			}
			_ = r.Poll(t.Context())
			if len(r.store.gaps) != 2 {
				t.Errorf("gaps %+v after a second loss", r.store.gaps)
			}
		})
	}
}

// A list that is empty since the API keeps what it listed no longer, while it was asked all the time, has lost nothing.
func TestAQuietListExpires(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seen(t, 15)
		r.Feeds[0].Retain, r.OnLost = 24*time.Hour, LostStop
		r.restart(Start{Kind: StartEarliest})
		r.Feeds[0].Retain, r.OnLost = 24*time.Hour, LostStop
		for range 30 {
			r.poll(t)
			time.Sleep(time.Hour)
		}
		r.list.events = nil
		r.poll(t)
		if len(r.store.gaps) != 0 {
			t.Errorf("gaps %+v", r.store.gaps)
		}
	})
}
