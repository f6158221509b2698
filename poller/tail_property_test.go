package poller

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

// TestEveryTail runs seeded random schedules of one or two lists that go on from a cursor: pages of any size, empty ones and null cursors,
// events that are listed late or bear no time, fetches and commits that fail, cursors that are lost, and processes that end before or after
// a commit. Whatever happened, each event is taken in once, and none from before the start; each loss that was met is told, and nothing else
// is; what is committed never lies behind what is not.
func TestEveryTail(t *testing.T) { lives(t, 200, tailSchedule) }

func tailSchedule(t *testing.T, c *chaos) {
	rng, chance := c.rng, c.chance
	const overlap = 20 * time.Second
	start := Start{Kind: StartKind(rng.IntN(2))}
	undated := chance(30)
	store := newFakeStore()
	c.rattle(store)
	fault := store.fault
	store.fault = func(commit event.Commit) (before, after error) {
		if len(commit.Events) > 0 && commit.Position == nil {
			t.Errorf("events were committed without the place behind them")
		}
		return fault(commit)
	}
	lists := make([]*tail, 1+rng.IntN(2))
	feeds := make([]Feed, len(lists))
	lost := make([]int, len(lists))  // cursors that were refused
	known := make([]int, len(lists)) // of these, that were stored: a loss of another one is none, since the list is read again before it
	n := 0

	for i := range lists {
		l := &tail{size: 1 + rng.IntN(7), null: chance(40), late: chance(30)}
		lists[i] = l
		feeds[i] = Feed{Kind: TailCursor, Fetcher: l}
		switch rng.IntN(3) {
		case 0:
			feeds[i].CanSeek = true
		case 1:
			feeds[i].Fetcher = &seekable{tail: l}
		}
		if len(lists) > 1 {
			feeds[i].Name = string(rune('a' + i))
		}
		short := chance(20) // pages may end early, or be empty and say that there is nothing at once
		l.answer = func(r Request, page event.Page) event.Page {
			if !c.calm && short && chance(20) && len(page.Events) > 0 && r.Cursor != "" {
				half := rng.IntN(len(page.Events))
				var epoch, at int
				_, _ = fmt.Sscanf(r.Cursor, "%d:%d", &epoch, &at)
				page.Events, page.Idle, page.Next = page.Events[:half], half == 0, l.cursor(at+half)
			}
			return page
		}
	}
	begun := func() bool { return len(store.commits) > 3*len(lists) }
	arrive := func(l *tail, most int) {
		for range rng.IntN(most + 1) {
			n++
			id := fmt.Sprint("e", n)
			switch {
			case chance(20) && (start.Kind == StartEarliest || begun()):
				l.happen(id, time.Now().Add(-time.Duration(rng.Int64N(int64(overlap-2*time.Second)))).Truncate(time.Second))
			case undated && chance(30) && start.Kind == StartEarliest:
				l.happen(id, time.Time{})
			default:
				l.happen(id, time.Now().Truncate(time.Second))
			}
		}
	}
	for i, l := range lists {
		l.before = func(r Request) error {
			time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
			if c.calm {
				return nil
			}
			if chance(30) {
				arrive(l, 3)
			}
			if err := c.fetch(); err != nil {
				return err
			}
			if r.Cursor != "" && chance(2) && !undated {
				l.epoch++
			}
			var epoch int
			if _, err := fmt.Sscanf(r.Cursor, "%d:", &epoch); err == nil && epoch != l.epoch {
				lost[i]++
				if strings.Contains(string(store.pos.Data), `"`+r.Cursor+`"`) {
					known[i]++
				}
			}
			return nil
		}
	}
	var p *Poller
	boot := func() {
		p = &Poller{Source: "s", Feeds: feeds, Store: store, Every: time.Second, Start: start, Overlap: overlap, Remember: 24 * time.Hour}
		c.crashed = false
	}
	boot()
	for _, l := range lists {
		arrive(l, 30)
	}
	time.Sleep(time.Duration(rng.IntN(60)) * time.Second)
	for range 5 + rng.IntN(10) {
		for _, l := range lists {
			arrive(l, 20)
		}
		_ = p.Poll(context.Background())
		if c.crashed {
			boot()
		}
		time.Sleep(time.Duration(rng.IntN(20)) * time.Second)
	}
	c.calm = true
	for i := 0; p.Poll(context.Background()) != nil; i++ {
		if i > 3 {
			t.Fatal("it does not recover")
		}
	}
	for range 2 {
		time.Sleep(time.Minute)
		if err := p.Poll(context.Background()); err != nil {
			t.Fatal(err)
		}
	}

	taken := map[string]int{}
	for _, id := range store.log {
		taken[id]++
	}
	losses, certain := 0, 0
	for i, l := range lists {
		data := store.pos.Data
		if feeds[i].Name != "" {
			all, err := decodeComposite(data)
			if err != nil {
				t.Fatal(err)
			}
			data = all.Feeds[feeds[i].Name]
		}
		var pos tailPosition
		if err := decode(data, TailCursor, &pos); err != nil {
			t.Fatal(err)
		}
		if !pos.CaughtUp || pos.Lost {
			t.Errorf("position %s", data)
		}
		for _, e := range l.events {
			want := 1
			if !e.Time.IsZero() && e.Time.Before(*pos.Start) {
				want = 0
			}
			if taken[e.ID] != want {
				t.Errorf("%s of %v was taken in %d times, want %d; %s", e.ID, e.Time, taken[e.ID], want, data)
			}
		}
		losses += lost[i]
		certain += known[i]
	}
	if len(store.gaps) > losses {
		t.Errorf("%d gaps are told, and %d cursors were lost", len(store.gaps), losses)
	}
	if certain > 0 && len(store.gaps) == 0 {
		t.Errorf("no gap is told, and %d cursors were lost", certain)
	}
	before := len(store.commits)
	if err := p.Poll(context.Background()); err != nil || len(store.commits) != before {
		t.Errorf("an idle poll wrote, or failed: %v", err)
	}
}
