package poller

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

// in runs a test in a bubble with its own clock, a few seconds past a full minute.
func in(t *testing.T, test func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(3*time.Second + 400*time.Millisecond)
		test(t)
	})
}

func TestIdlePollIsOneRequestAndWritesNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		for i := range 25 {
			r.list.happen(fmt.Sprint("e", i), time.Now().Add(time.Duration(i-100)*time.Minute))
		}
		r.poll(t)
		requests, commits, before := r.list.requests, len(r.store.commits), string(r.store.pos.Data)
		for range 5 {
			time.Sleep(time.Minute)
			r.poll(t)
		}
		if n := r.list.requests - requests; n != 5 {
			t.Errorf("5 idle polls made %d requests", n)
		}
		if len(r.store.commits) != commits || string(r.store.pos.Data) != before {
			t.Errorf("idle polls wrote %+v", r.store.commits[commits:])
		}
		if want := time.Now().Truncate(time.Second); !r.store.date.Equal(want) {
			t.Errorf("the store was told that it is %v, the server said %v", r.store.date, want)
		}
		if told := last[event.Polled](t, r.told); told.Pages != 1 || told.Listed != 10 || told.New != 0 || told.Repeated != 10 {
			t.Errorf("told %+v", told)
		}
	})
}

func TestStartNowIsStoredFirst(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.list.happen("old1", time.Now().Add(-time.Hour))
		r.list.happen("old2", time.Now().Add(-time.Minute)) // inside the overlap, which does not reach behind the start
		r.list.happen("now", time.Now().Truncate(time.Second))
		r.poll(t)
		r.want(t, "now")
		for i, c := range r.store.commits {
			pos, err := decodePosition(c.Position)
			if err != nil {
				t.Fatal(err)
			}
			if i == 1 && (pos.Start == nil || !pos.Start.Equal(time.Now().Truncate(time.Second))) {
				t.Errorf("start is %v", pos.Start)
			}
			if i < 2 && len(c.Events) > 0 {
				t.Errorf("commit %d has events before the start was stored", i)
			}
		}
		if told := last[event.Polled](t, r.told); told.History != 2 || told.New != 1 {
			t.Errorf("told %+v", told)
		}
		time.Sleep(time.Minute)
		r.list.late("late", time.Now().Add(-70*time.Second)) // listed after the start, and from before it
		r.list.happen("new", time.Now())
		r.poll(t)
		r.want(t, "now", "new")
	})
}

func TestStartNowCountsFromTheFirstTry(t *testing.T) {
	for _, restart := range []bool{false, true} {
		in(t, func(t *testing.T) {
			r := newRig(Start{Kind: StartNow})
			down := true
			r.list.before = func(int, string) error {
				if down {
					return errors.New("no route to host")
				}
				return nil
			}
			r.list.happen("before", time.Now().Add(-2*time.Second))
			if r.Poll(t.Context()) == nil {
				t.Fatal("the poll succeeded")
			}
			first := time.Now()
			time.Sleep(10 * time.Minute)
			r.list.happen("meanwhile", first.Add(time.Minute))
			_ = r.Poll(t.Context())
			if restart {
				r.restart(Start{Kind: StartNow})
			}
			down = false
			time.Sleep(10 * time.Minute)
			r.list.answer = func(_ string, page event.Page) event.Page {
				page.Date = page.Date.Add(-time.Hour) // a server whose clock, and events, are an hour behind
				for i := range page.Events {
					page.Events[i].Time = page.Events[i].Time.Add(-time.Hour)
				}
				return page
			}
			r.poll(t)
			r.want(t, "meanwhile")
			if start, want := *r.position(t).Start, first.Add(-time.Hour).Truncate(time.Second); !start.Equal(want) {
				t.Errorf("start %v, want %v", start, want)
			}
		})
	}
}

func TestStartWithoutDateIsOurClock(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.list.noDate = true
		r.list.happen("now", time.Now().Truncate(time.Second))
		r.poll(t)
		r.want(t, "now")
	})
}

func TestStartEarliestAndStartAt(t *testing.T) {
	in(t, func(t *testing.T) {
		begin := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
		for start, want := range map[Start][]string{
			{Kind: StartEarliest}:                          ids("e", 1, 35),
			{Kind: StartAt, At: begin.Add(12 * time.Hour)}: ids("e", 12, 35),
			{Kind: StartAt, At: begin.Add(99 * time.Hour)}: nil,
		} {
			r := newRig(start)
			for i := 1; i <= 35; i++ {
				r.list.happen(fmt.Sprint("e", i), begin.Add(time.Duration(i)*time.Hour))
			}
			r.poll(t)
			r.poll(t)
			r.want(t, want...)
		}
	})
}

func TestOnlyTheLastCommitMovesThePosition(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		r.list.happen("e0", time.Now())
		r.poll(t)
		before := len(r.store.commits)
		for i := 1; i <= 35; i++ {
			time.Sleep(time.Minute)
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		r.poll(t)
		r.want(t, ids("e", 0, 35)...)
		commits := r.store.commits[before:]
		if len(commits) != 4 {
			t.Fatalf("%d commits", len(commits))
		}
		for i, c := range commits {
			if (c.Position != nil) != (i == 3) {
				t.Errorf("commit %d of 4: position %s", i+1, c.Position)
			}
		}
	})
}

func TestLateEventsWithinTheOverlap(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		for i := range 40 {
			time.Sleep(10 * time.Second)
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		r.poll(t)
		r.list.late("late", time.Now().Add(-290*time.Second)) // pages of known events lie in front of it
		r.poll(t)
		if got := r.store.log[len(r.store.log)-1]; got != "late" {
			t.Errorf("the last taken in is %s", got)
		}
	})
}

func TestFutureEventHidesNoOther(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.poll(t)
		future := time.Now().AddDate(3, 0, 0)
		r.list.happen("future", future)
		r.poll(t)
		for i := range 30 {
			time.Sleep(time.Minute)
			r.list.late(fmt.Sprint("e", i), time.Now()) // behind the one that is always first
			r.poll(t)
		}
		r.want(t, append([]string{"future"}, ids("e", 0, 29)...)...)
		if pos := r.position(t); pos.Time.After(time.Now()) {
			t.Errorf("the position is at %v, ahead of the clock", pos.Time)
		}
		commits := len(r.store.commits)
		r.poll(t)
		if len(r.store.commits) != commits {
			t.Error("an idle poll wrote")
		}
	})
}

func TestUndatedListHasOrderOnly(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.list.size = 100
		for i := range 250 {
			r.list.happen(fmt.Sprint("old", i), time.Time{})
		}
		r.poll(t)
		r.want(t)
		if r.list.requests != 1 {
			t.Errorf("the first poll made %d requests", r.list.requests)
		}
		var want []string
		for i := range 130 {
			r.list.happen(fmt.Sprint("new", i), time.Time{})
			want = append(want, fmt.Sprint("new", i))
			if i%60 == 0 {
				r.poll(t)
			}
		}
		r.poll(t)
		r.want(t, want...)
		before := r.list.requests
		r.poll(t)
		if r.list.requests != before+1 {
			t.Error("an idle poll made more than one request")
		}
	})
}

func TestUndatedEventAmongDatedOnes(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		for i := range 20 {
			r.list.happen(fmt.Sprint("old", i), time.Now().Add(time.Duration(i-100)*time.Hour))
		}
		r.list.happen("undated history", time.Time{})
		r.poll(t)
		r.want(t)
		time.Sleep(time.Hour)
		r.list.happen("new", time.Time{}) // its older neighbours are from before the start
		r.poll(t)
		r.list.happen("dated", time.Now())
		r.list.happen("newer", time.Time{})
		r.poll(t)
		r.want(t, "new", "dated", "newer")
	})
}

func TestForgottenIDsAreNotNew(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		r.Remember = 30 * 24 * time.Hour
		for i := range 100 {
			time.Sleep(time.Hour)
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		r.list.size = 100
		r.poll(t)
		time.Sleep(31 * 24 * time.Hour)
		clear(r.store.known)
		r.poll(t)
		r.list.happen("new", time.Now())
		r.poll(t)
		r.want(t, append(ids("e", 0, 99), "new")...)
	})
}

// In a burst more events than the boundary holds may lie within the overlap: once they are forgotten they stay history, and what
// comes late beside what the boundary holds does not.
func TestAForgottenBurstIsNotNew(t *testing.T) {
	for _, size := range []int{7, 100} {
		in(t, func(t *testing.T) {
			r := newRig(Start{Kind: StartEarliest})
			r.Remember = 30 * 24 * time.Hour
			r.list.size = size
			r.list.happen("before", time.Now())
			r.poll(t)
			time.Sleep(time.Hour)
			for i := range 200 {
				time.Sleep(time.Second)
				r.list.happen(fmt.Sprint("e", i), time.Now())
				if i == 70 || i == 150 {
					r.poll(t)
				}
			}
			r.poll(t)
			time.Sleep(31 * 24 * time.Hour)
			clear(r.store.known)
			r.poll(t)
			r.list.late("late", r.list.events[3].Time)
			r.poll(t)
			r.want(t, append(append([]string{"before"}, ids("e", 0, 199)...), "late")...)
		})
	}
}

func TestAnotherHeadOfKnownEventsIsStoredOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		r.list.happen("e0", time.Now())
		r.poll(t)
		early := r.store.pos.Data
		for i := 1; i < 50; i++ {
			time.Sleep(time.Hour)
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		r.poll(t)
		r.store.pos = event.Position{Generation: 1, Data: early} // a person set it back
		r.poll(t)
		before, commits := r.list.requests, len(r.store.commits)
		r.poll(t)
		if n := r.list.requests - before; n != 1 || len(r.store.commits) != commits {
			t.Errorf("the next poll made %d requests and %d commits", n, len(r.store.commits)-commits)
		}
		if len(r.store.log) != 50 {
			t.Errorf("taken in %d events", len(r.store.log))
		}
	})
}

func TestInterruptedWalkGoesOn(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		r.list.happen("e0", time.Now())
		r.poll(t)
		for i := 1; i <= 100; i++ {
			time.Sleep(time.Minute)
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		allowed := 0
		r.list.before = func(int, string) error { // an API that answers three requests and then asks for a break
			if allowed++; allowed%4 == 0 {
				return &FetchError{Health: event.SourceLimited, After: time.Second, Err: errors.New("429")}
			}
			return nil
		}
		for i := 0; r.Poll(t.Context()) != nil; i++ {
			if i == 4 {
				t.Fatal("the walk starts again at each failure")
			}
			r.list.happen(fmt.Sprint("e", 101+i), time.Now())
		}
		if n := len(r.store.log); n < 101 || !slices.Equal(r.store.log, ids("e", 0, n-1)) {
			t.Errorf("taken in %q", r.store.log)
		}
		if newest := r.list.events[0].ID; !r.store.known[newest] {
			t.Errorf("%s was listed during the walk and is not taken in by the end of the poll", newest)
		}
	})
}

func TestHashedIsToldOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.list.answer = func(_ string, page event.Page) event.Page { page.Hashed = 2; return page }
		r.poll(t)
		r.poll(t)
		n := 0
		for _, told := range r.told {
			if _, ok := told.(event.Hashed); ok {
				n++
			}
		}
		if n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}
