package poller

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidings/event"
)

// long returns a rig that took in e0, and whose list then grew by n events, far more than it may hold.
func long(t *testing.T, n int) *rig {
	t.Helper()
	r := seen(t, 1)
	r.Memory = 500
	for i := 1; i <= n; i++ {
		time.Sleep(time.Minute)
		r.list.happen(fmt.Sprint("e", i), time.Now())
	}
	return r
}

func TestLongWalk(t *testing.T) {
	in(t, func(t *testing.T) {
		r := long(t, 1000)
		before := len(r.store.commits)
		r.poll(t)
		r.want(t, ids("e", 0, 1000)...)
		pos := r.position(t)
		if pos.Trail != nil || pos.IDs[0] != "e1000" || !pos.Time.Equal(time.Now().Truncate(time.Second)) {
			t.Errorf("position %s", r.store.pos.Data)
		}
		taken := 0
		for _, c := range r.store.commits[before:] {
			taken += len(c.Events)
			if c.Position == nil {
				continue
			}
			pos, err := decodePosition(c.Position)
			if err != nil {
				t.Fatal(err)
			}
			if moved := pos.IDs[0] != "e0"; moved && taken < 990 {
				t.Errorf("the position moved to %v when %d of 1000 events were committed", pos.Time, taken)
			}
		}
		if told := last[event.Polled](t, r.told); told.New != 1000 {
			t.Errorf("told %+v", told)
		}
	})
}

func TestALongWalkWritesInProportion(t *testing.T) {
	in(t, func(t *testing.T) {
		r := long(t, 3000)
		r.poll(t)
		bytes := 0
		for _, e := range r.list.events {
			bytes += len(e.Data)
		}
		if r.store.written > bytes {
			t.Errorf("%d bytes of positions were written for %d bytes of events", r.store.written, bytes)
		}
	})
}

func TestALongWalkGoesOnAfterACrash(t *testing.T) {
	in(t, func(t *testing.T) {
		r := long(t, 1000)
		down := func(request int) func(int, string) error {
			return func(n int, _ string) error {
				if n > request {
					return errors.New("connection refused")
				}
				return nil
			}
		}
		for _, request := range []int{60, 100, 150, 180} { // walking back, at its end, committing
			r.list.before = down(request)
			if r.Poll(t.Context()) == nil {
				t.Fatalf("the poll succeeded with %d requests", request)
			}
			r.restart(Start{Kind: StartEarliest})
			r.Memory = 500
			r.list.happen(fmt.Sprint("during", request), time.Now())
		}
		r.list.before = nil
		r.poll(t)
		if n := len(r.store.log); n != 1005 {
			t.Errorf("taken in %d events, want 1005", n)
		}
		if r.list.requests > 320 {
			t.Errorf("%d requests for 100 pages walked twice with four crashes: it starts again", r.list.requests)
		}
	})
}

// What is listed late pushes others over the edge of a page that is fetched again. No later poll looks at those that are older than the
// overlap.
func TestLateEventsShiftThePagesOfALongWalk(t *testing.T) {
	for _, apart := range []time.Duration{200 * time.Millisecond, time.Minute} {
		t.Run(apart.String(), func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := long(t, 300)
				for i := range r.list.events[:300] {
					r.list.events[i].Time = time.Now().Add(-time.Duration(i) * apart)
				}
				seen := map[string]bool{}
				r.list.before = func(n int, cursor string) error {
					if cursor != "" && seen[cursor] { // a page that is fetched again
						at := slices.IndexFunc(r.list.events, func(e event.Event) bool { return e.ID == cursor })
						r.list.events = slices.Insert(r.list.events, at+1, event.Event{
							ID: fmt.Sprint("late", n), Time: r.list.events[at].Time, Data: []byte(`{"id":"somewhat longer"}`),
						})
					}
					seen[cursor] = true
					return nil
				}
				r.poll(t)
				r.list.before = nil
				r.poll(t)
				for _, e := range r.list.events {
					if !r.store.known[e.ID] {
						t.Errorf("%s was never taken in", e.ID)
					}
				}
				if len(r.store.log) < 320 {
					t.Errorf("only %d events were listed", len(r.store.log))
				}
			})
		})
	}
}

func TestALostCursorStartsTheWalkAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		r := long(t, 300)
		position := r.position(t)
		r.list.before = func(n int, cursor string) error {
			if cursor != "" && n > 45 {
				return &FetchError{Health: event.SourceFailing, Lost: true, Err: errors.New("410 Gone")}
			}
			return nil
		}
		err := r.Poll(t.Context())
		if !isLost(err) {
			t.Fatalf("%v", err)
		}
		if pos := r.position(t); !pos.Time.Equal(position.Time) || pos.Trail != nil {
			t.Errorf("position %s", r.store.pos.Data)
		}
		heads := 0
		for _, cursor := range r.list.cursors[1:] {
			if cursor == "" {
				heads++
			}
		}
		if heads != 1+maxRestarts {
			t.Errorf("asked for the head %d times", heads)
		}
		r.list.before = func(n int, _ string) error {
			if n == r.list.requests && n%50 == 0 {
				return &FetchError{Lost: true, Err: errors.New("410 Gone")}
			}
			return nil
		}
		for range 3 {
			_ = r.Poll(t.Context())
		}
		r.list.before = nil
		r.poll(t)
		if len(r.store.log) != 301 {
			t.Errorf("taken in %d events", len(r.store.log))
		}
	})
}

func TestTheEndOfALongWalkIsLost(t *testing.T) {
	in(t, func(t *testing.T) {
		r := long(t, 300)
		r.list.before = func(n int, cursor string) error {
			if cursor == "e1" { // the retention moves on: of what was just walked, the oldest third is gone
				r.list.events = r.list.events[:200]
			}
			return nil
		}
		r.poll(t)
		if n := len(r.store.log); n != 201 {
			t.Errorf("taken in %d events, want e0 and the 200 that are left", n)
		}
		if len(r.store.gaps) != 1 || !r.store.gaps[0].Certain {
			t.Errorf("gaps %+v, want a certain one: they were listed before", r.store.gaps)
		}
	})
}

func TestTrailJoinsNeighbours(t *testing.T) {
	var tr trail
	const n = 3 * maxMarks
	for i := range n {
		tr.add(mark{Cursor: fmt.Sprint(i), Last: fmt.Sprint(i + 1)})
		if len(tr.Marks) > maxMarks {
			t.Fatalf("%d marks", len(tr.Marks))
		}
	}
	next := n
	for len(tr.Marks) > 0 {
		m := tr.Marks[len(tr.Marks)-1]
		tr.pop()
		if m.Last != fmt.Sprint(next) {
			t.Fatalf("a mark ends with %s, want %d", m.Last, next)
		}
		if _, err := fmt.Sscan(m.Cursor, &next); err != nil {
			t.Fatal(err)
		}
	}
	if next != 0 {
		t.Errorf("the marks begin with %d", next)
	}
}

func TestUndatedEventsInALongWalk(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.Memory, r.list.size = 100, 1
		down := true
		r.list.before = func(int, string) error {
			if down {
				return errors.New("connection refused")
			}
			return nil
		}
		r.list.happen("before", time.Now().Add(-time.Minute))
		r.list.happen("undated before", time.Time{})
		_ = r.Poll(t.Context())
		var want []string
		for i := range 70 { // while the API is down; all within the overlap
			time.Sleep(time.Second)
			dated, undated := fmt.Sprint("e", i), fmt.Sprint("u", i)
			r.list.happen(dated, time.Now())
			r.list.happen(undated, time.Time{})
			want = append(want, dated, undated)
		}
		down = false
		r.poll(t)
		r.want(t, want...)
		for i := range 20 {
			r.list.happen(fmt.Sprint("n", i), time.Now())
		}
		r.poll(t) // goes back to the start, past the boundary: what is undated there is history still
		r.want(t, append(want, ids("n", 0, 19)...)...)
	})
}

func TestWhatIsListedTwiceInAWalkIsCommittedOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seen(t, 1)
		for i := 1; i <= 30; i++ {
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		r.list.answer = func(cursor string, page event.Page) event.Page {
			if cursor != "" && len(page.Events) > 3 {
				page.Events[3] = r.list.events[2]
			}
			return page
		}
		before := len(r.store.commits)
		r.poll(t)
		times := 0
		for _, c := range r.store.commits[before:] {
			for _, e := range c.Events {
				if e.ID == r.list.events[2].ID {
					times++
				}
			}
		}
		if times != 1 {
			t.Errorf("it was committed %d times", times)
		}
	})
}

// A page may begin with the last events of the one before, and hold nothing else that is new.
func TestPagesThatOverlapMakeNoGap(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartEarliest})
		for i := range 15 { // all within the overlap, so that each walk goes to the list's end
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		r.poll(t)
		r.Memory = 1
		head := r.list.requests + 1
		for i := range 10 {
			r.list.happen(fmt.Sprint("new", i), time.Now())
		}
		r.list.answer = func(_ string, page event.Page) event.Page {
			if r.list.requests == head+1 {
				page.Events = slices.Concat(r.list.events[8:10], page.Events)
			}
			return page
		}
		r.poll(t)
		r.poll(t)
		if len(r.store.gaps) != 0 || len(r.store.log) != 25 {
			t.Errorf("taken in %q, gaps %+v", r.store.log, r.store.gaps)
		}
	})
}

func TestALoopAfterARestartForgetsTheWalk(t *testing.T) {
	in(t, func(t *testing.T) {
		r := long(t, 300)
		r.list.before = func(n int, _ string) error {
			if n == 20 {
				return errors.New("connection refused")
			}
			return nil
		}
		_ = r.Poll(t.Context())
		r.restart(Start{Kind: StartEarliest})
		r.Memory = 500
		if r.position(t).Trail == nil {
			t.Fatal("no walk is stored")
		}
		r.list.answer = func(_ string, page event.Page) event.Page {
			page.Events, page.Next = r.list.events[100:110], r.list.events[109].ID
			return page
		}
		if err := r.Poll(t.Context()); !errors.Is(err, errRepeats) {
			t.Fatalf("%v", err)
		}
		if r.position(t).Trail != nil {
			t.Error("the walk is still stored")
		}
		r.list.answer = nil
		r.poll(t)
		if len(r.store.log) != 301 {
			t.Errorf("taken in %d events", len(r.store.log))
		}
	})
}

func TestAGapInsideAListIsCertain(t *testing.T) {
	for _, gone := range []int{100, 5} { // with the cursors of their pages, and without
		in(t, func(t *testing.T) {
			r := long(t, 300)
			r.list.before = func(n int, cursor string) error {
				if n == 33 { // e0, which is known, stays; the oldest that were walked are taken away
					r.list.events = slices.Concat(r.list.events[:300-gone], r.list.events[300:])
				}
				return nil
			}
			r.poll(t)
			if n := len(r.store.log); n != 301-gone {
				t.Errorf("taken in %d events", n)
			}
			if len(r.store.gaps) != 1 || !r.store.gaps[0].Certain {
				t.Errorf("gaps %+v", r.store.gaps)
			}
			r.list.happen("new", time.Now())
			r.poll(t)
			if len(r.store.gaps) != 1 {
				t.Errorf("it is told again: %+v", r.store.gaps)
			}
		})
	}
}
