package poller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tidings/event"
)

// TestEverySchedule runs seeded random schedules: events arrive at the head and late while pages are fetched, fetches and
// commits fail, cursors are lost, the process crashes before or after a commit, and memory is so small that most walks
// become long. Whatever happened, each event is taken in once, none from before the start, and no gap is claimed.
func TestEverySchedule(t *testing.T) { lives(t, 400, schedule) }

func schedule(t *testing.T, c *chaos) {
	rng, chance := c.rng, c.chance
	start := Start{Kind: StartKind(rng.IntN(2))}
	undated := chance(30)
	l := &list{size: 1 + rng.IntN(7)}
	store := newFakeStore()
	c.rattle(store)
	const overlap = 20 * time.Second
	memory := []int{1, 100, 400, 1000, 1 << 20}[rng.IntN(5)]

	var p *Poller
	boot := func() {
		p = &Poller{
			Source: "s", Feeds: []Feed{{Kind: HeadWalk, Fetcher: l}}, Store: store, Every: time.Second, Start: start, Overlap: overlap, Remember: 24 * time.Hour, Memory: memory,
		}
		c.crashed = false
	}
	boot()

	n := 0
	begun := func() bool { pos, _ := decodePosition(store.pos.Data); return pos.CaughtUp }
	arrive := func(most int) {
		for range rng.IntN(most + 1) {
			n++
			id := fmt.Sprint("e", n)
			switch {
			case chance(20):
				l.late(id, time.Now().Add(-time.Duration(rng.Int64N(int64(overlap-2*time.Second)))).Truncate(time.Second))
			case undated && chance(30) && (start.Kind == StartEarliest || begun()):
				l.happen(id, time.Time{})
			default:
				l.happen(id, time.Now().Truncate(time.Second))
			}
		}
	}
	l.before = func(_ int, cursor string) error {
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		if c.calm {
			return nil
		}
		if chance(30) {
			arrive(3)
		}
		if cursor != "" && chance(2) {
			return &FetchError{Health: event.SourceFailing, Lost: true, Err: errors.New("410")}
		}
		return c.fetch()
	}
	arrive(30)
	time.Sleep(time.Duration(rng.IntN(60)) * time.Second)
	for range 5 + rng.IntN(10) {
		if chance(30) {
			arrive(40)
		} else {
			arrive(4)
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
	if err := p.Poll(context.Background()); err != nil {
		t.Fatal(err)
	}

	pos, err := decodePosition(store.pos.Data)
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]int{}
	for _, id := range store.log {
		taken[id]++
	}
	for _, e := range l.events {
		want := 1
		if !e.Time.IsZero() && e.Time.Before(*pos.Start) {
			want = 0
		}
		if taken[e.ID] != want {
			t.Errorf("%s of %v was taken in %d times, want %d; start %v, position %v", e.ID, e.Time, taken[e.ID], want, pos.Start, pos.Time)
		}
	}
	if len(store.gaps) > 0 {
		t.Errorf("claims a gap: %+v", store.gaps[0])
	}
	if pos.Trail != nil {
		t.Errorf("a walk is still open: %s", store.pos.Data)
	}
	before := len(store.commits)
	if err := p.Poll(context.Background()); err != nil || len(store.commits) != before {
		t.Errorf("an idle poll wrote, or failed: %v", err)
	}
}
