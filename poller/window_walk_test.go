package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tidings/event"
)

// TestEveryWindow runs seeded random lives of a list that is asked for by time: what it has appears late, is filled in, changes and goes,
// while pages are read; bounds are rounded, clocks differ, fetches and commits fail, the process crashes. Whatever is listed at the end is
// taken in, nothing twice, and nothing from before the start.
func TestEveryWindow(t *testing.T) { lives(t, 600, windowLife) }

func windowLife(t *testing.T, c *chaos) {
	rng := c.rng
	const overlap = time.Minute
	feed := Feed{Kind: TimeWindow, Order: []Order{Newest, Oldest, Unordered}[rng.IntN(3)], Changes: c.chance(40), Late: c.chance(30), Counted: c.chance(40)}
	l := &shelf{order: feed.Order, size: 1 + rng.IntN(6), counted: feed.Counted, skew: time.Duration(rng.IntN(1200)-600) * time.Second, open: c.chance(20)}
	if c.chance(30) {
		l.grain = time.Hour
	}
	if c.chance(40) && !l.open {
		feed.Lag = time.Duration(rng.IntN(20)) * time.Second
	}
	if c.chance(40) && !l.open {
		feed.Step = time.Duration(10+rng.IntN(200)) * time.Second
	}
	if !l.counted && !feed.Changes && l.grain == 0 && (!l.open || feed.Order == Oldest) && c.chance(30) {
		feed.Single, l.single, l.size = true, true, 100
	}
	feed.Fetcher = l
	start := Start{Kind: StartKind(rng.IntN(3)), At: l.now().Add(time.Duration(rng.IntN(40)) * time.Second)}
	store := newFakeStore()
	c.rattle(store)
	memory := []int{1, 100, 1 << 20}[rng.IntN(3)]
	var p *Poller
	boot := func() {
		p = &Poller{Source: "s", Feeds: []Feed{feed}, Store: store, Every: time.Second, Start: start, Overlap: overlap, Remember: 24 * time.Hour, Memory: memory}
		c.crashed = false
	}
	boot()

	n, versions := 0, map[string]int{}
	caughtUp := func() bool {
		pos := windowPosition{}
		_ = decode(store.pos.Data, TimeWindow, &pos)
		return pos.CaughtUp
	}
	listed := map[string]time.Time{} // when a version was first listed, by the server's clock
	filled := map[string]bool{}      // whether it was listed first after the first walk
	late := func() time.Time {       // a time that may still be listed now
		span := overlap - 3*time.Second - feed.Lag
		if feed.Late && !caughtUp() {
			span = 0 // what is filled in before the first walk is history
		}
		return l.now().Add(-time.Duration(rng.Int64N(int64(span) + 1)))
	}
	put := func() {
		at := l.now()
		if c.chance(30) {
			at = late()
		}
		n++
		e := event.Event{ID: fmt.Sprint("e", n), Time: at.Truncate(time.Second)}
		if feed.Changes {
			e.Resource, e.Born = fmt.Sprint("r", n), e.Time
			e.ID = e.Resource + "@0"
		}
		e.Data = fmt.Appendf(nil, `{"id":%q}`, e.ID)
		listed[e.ID], filled[e.ID] = l.now(), caughtUp()
		l.things = append(l.things, e)
	}
	stir := func(most int) {
		for range rng.IntN(most + 1) {
			switch {
			case feed.Changes && len(l.things) > 0 && c.chance(40):
				e := &l.things[rng.IntN(len(l.things))]
				versions[e.Resource]++
				e.ID, e.Time = fmt.Sprintf("%s@%d", e.Resource, versions[e.Resource]), l.now().Truncate(time.Second)
				listed[e.ID] = l.now()
			case len(l.things) > 0 && c.chance(5):
				i := rng.IntN(len(l.things))
				l.things = slices.Delete(l.things, i, i+1)
			default:
				put()
			}
		}
	}
	l.before = func(Request) error {
		time.Sleep(time.Duration(rng.IntN(800)) * time.Millisecond)
		if !c.calm && c.chance(15) {
			stir(2)
		}
		return c.fetch()
	}
	stir(20)
	time.Sleep(time.Duration(rng.IntN(100)) * time.Second)
	for range 4 + rng.IntN(12) {
		stir([]int{3, 3, 30}[rng.IntN(3)])
		_ = p.Poll(context.Background())
		if c.crashed {
			boot()
		}
		pause := time.Duration(rng.IntN(20)) * time.Second
		if c.chance(5) {
			pause = time.Duration(rng.IntN(900)) * time.Second
		}
		time.Sleep(pause)
	}
	c.calm = true
	if feed.Lag > 0 {
		time.Sleep(feed.Lag + time.Second)
	}
	time.Sleep(2 * time.Second)
	for range 2 {
		if err := p.Poll(context.Background()); err != nil {
			t.Fatal(err)
		}
	}

	pos := windowPosition{}
	if err := decode(store.pos.Data, TimeWindow, &pos); err != nil {
		t.Fatal(err)
	}
	if pos.Time.After(l.now()) {
		t.Errorf("the place stands at %v, the server's clock at %v", pos.Time, l.now())
	}
	entered := map[string]event.Event{}
	var first []event.Event
	for _, e := range store.entered() {
		entered[e.ID] = e
		first = append(first, e)
	}
	for _, e := range l.things {
		_, in := entered[e.ID]
		want := !e.Time.Before(*pos.Start) || pos.Late && filled[e.ID]
		if in != want {
			t.Errorf("%s of %v, listed at %v: taken in %v, want %v; start %v, position %s", e.ID, e.Time, listed[e.ID], in, want, pos.Start, store.pos.Data)
		}
	}
	seen := map[string]bool{}
	for _, e := range first {
		if !feed.Changes {
			break
		}
		want := string(Created)
		if seen[e.Resource] || e.Born.Before(*pos.Start) {
			want = string(Updated)
		}
		seen[e.Resource] = true
		if e.Type != want {
			t.Errorf("%s, born %v, is %s, want %s; start %v", e.ID, e.Born, e.Type, want, pos.Start)
		}
	}
	if len(store.log) != len(entered) {
		t.Errorf("%d events make %d", len(entered), len(store.log))
	}
	before := len(store.commits)
	if err := p.Poll(context.Background()); err != nil || feed.Step == 0 && len(store.commits) != before {
		t.Errorf("an idle poll wrote, or failed: %v", err)
	}
}

// A list that pays no heed to a window's end fills its only page with what lies beyond: all of the window came before that.
func TestAFullPageThatReachesBeyondItsWindow(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Order: Oldest, Single: true, Step: time.Hour}, Start{Kind: StartNow})
		r.shelf.single, r.shelf.open = true, true
		r.poll(t)
		var want []string
		for i := range 60 {
			time.Sleep(17 * time.Minute)
			r.shelf.put(fmt.Sprint("e", i), time.Now())
			want = append(want, fmt.Sprint("e", i))
		}
		r.shelf.before = func(q Request) error {
			if q.Since.After(q.Until) {
				return &FetchError{Health: event.SourceFailing, Err: errors.New("since lies behind until")}
			}
			return nil
		}
		r.poll(t)
		r.want(t, want...)
	})
}

// Where an only page is not quite in its order, the next window begins where the page ended, not at the newest event on it.
func TestAFullPageThatIsNotQuiteInItsOrder(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Order: Oldest, Single: true}, Start{Kind: StartEarliest})
		r.shelf.single = true
		begun := time.Now()
		var want []string
		for i := range 30 {
			r.shelf.put(fmt.Sprint("e", i), begun.Add(time.Duration(i)*time.Minute))
			want = append(want, fmt.Sprint("e", i))
		}
		time.Sleep(time.Hour)
		r.feed.Fetcher = hasty{r.shelf}
		r.restart()
		r.poll(t)
		slices.Sort(want)
		if got := slices.Sorted(slices.Values(r.store.log)); !slices.Equal(got, want) {
			t.Errorf("taken in %q", got)
		}
	})
}

// hasty is a shelf that lists its last event among the first.
type hasty struct{ *shelf }

func (l hasty) Fetch(ctx context.Context, r Request) (event.Page, error) {
	page, err := l.shelf.Fetch(ctx, r)
	if n := len(page.Events); n == l.size {
		page.Events = slices.Insert(page.Events[:n-1], 2, l.things[len(l.things)-1])
	}
	return page, err
}
