package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

// queue is a shelf that lists what was not acknowledged; some of that it shows for a while longer.
type queue struct {
	*shelf
	stale  map[string]int // acknowledged: how often it is still listed
	only   int            // how many are listed at most; 0: all
	poison string         // the one that can't be acknowledged
}

func newQueue(l *shelf) *queue { return &queue{shelf: l, stale: map[string]int{}} }

func (q *queue) Fetch(ctx context.Context, r Request) (event.Page, error) {
	all := q.things
	defer func() { q.things = all }()
	q.things = slices.DeleteFunc(slices.Clone(all), func(e event.Event) bool {
		n, acked := q.stale[e.ID]
		if acked && n > 0 {
			q.stale[e.ID]--
		}
		return acked && n == 0
	})
	if q.only > 0 {
		q.things = q.things[:min(q.only, len(q.things))]
	}
	return q.shelf.Fetch(ctx, r)
}

func (q *queue) Ack(ctx context.Context, cursor string, events []event.Event) error {
	if err := q.shelf.Ack(ctx, cursor, events); err != nil {
		return err
	}
	var refused error
	for _, e := range events {
		if e.ID == q.poison {
			refused = &FetchError{Health: event.SourceFailing, Err: fmt.Errorf("%s is not known", e.ID), Rest: true}
			continue
		}
		if _, ok := q.stale[e.ID]; !ok {
			q.stale[e.ID] = 0
		}
	}
	return refused
}

func newAckRig(order Order, start Start) (*shelfRig, *queue) {
	r := newShelfRig(Feed{Kind: Ack, Order: order}, start)
	q := newQueue(r.shelf)
	r.feed.Fetcher = q
	r.restart()
	return r, q
}

// TestEveryQueue runs seeded random lives of a list that is acknowledged: acknowledgements fail before or after they count, and what
// they are of is listed again. Nothing is acknowledged before it is durable, and at the end all is taken in once and acknowledged.
func TestEveryQueue(t *testing.T) { lives(t, 400, queueLife) }

func queueLife(t *testing.T, c *chaos) {
	rng := c.rng
	feed := Feed{Kind: Ack, Order: []Order{Newest, Oldest, Unordered}[rng.IntN(3)]}
	l := &shelf{order: feed.Order, size: 1 + rng.IntN(7), counted: c.chance(50), single: c.chance(30), open: true}
	q := newQueue(l)
	feed.Fetcher = q
	start := Start{Kind: StartKind(rng.IntN(3)), At: time.Now().Add(20 * time.Second)}
	store := newFakeStore()
	c.rattle(store)
	memory := []int{1, 100, 1 << 20}[rng.IntN(3)]
	var p *Poller
	boot := func() {
		p = &Poller{Source: "s", Feeds: []Feed{feed}, Store: store, Every: time.Second, Start: start, Overlap: time.Minute, Remember: 24 * time.Hour, Memory: memory}
		c.crashed = false
	}
	boot()
	n := 0
	stir := func(most int) {
		for range rng.IntN(most + 1) {
			n++
			l.put(fmt.Sprint("e", n), l.now().Add(-time.Duration(rng.IntN(2))*time.Second).Truncate(time.Second))
		}
	}
	l.before = func(Request) error {
		time.Sleep(time.Duration(rng.IntN(800)) * time.Millisecond)
		if !c.calm && c.chance(15) {
			stir(2)
		}
		return c.fetch()
	}
	l.ackError = func(ids []string) error {
		for _, id := range ids {
			if !store.known[id] {
				t.Errorf("%s is acknowledged and not durable", id)
			}
			if c.chance(10) && !c.calm {
				q.stale[id] = 1 + rng.IntN(3)
			}
		}
		if !c.calm && c.chance(4) {
			return errors.New("503")
		}
		return nil
	}
	for range 4 + rng.IntN(10) {
		stir([]int{3, 3, 30}[rng.IntN(3)])
		_ = p.Poll(context.Background())
		if c.crashed {
			boot()
		}
		time.Sleep(time.Duration(rng.IntN(20)) * time.Second)
	}
	c.calm = true
	for range 12 { // what was acknowledged may still be listed a few times
		if err := p.Poll(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	pos := ackPosition{}
	if err := decode(store.pos.Data, Ack, &pos); err != nil {
		t.Fatal(err)
	}
	taken := map[string]int{}
	for _, id := range store.log {
		taken[id]++
	}
	for _, e := range l.things {
		want := 1
		if e.Time.Before(*pos.Start) {
			want = 0
		}
		if _, acked := q.stale[e.ID]; taken[e.ID] != want || !acked {
			t.Errorf("%s of %v was taken in %d times, acknowledged %v, want %d; start %v", e.ID, e.Time, taken[e.ID], acked, want, pos.Start)
		}
	}
	before := len(store.commits)
	if err := p.Poll(context.Background()); err != nil || len(store.commits) != before {
		t.Errorf("an idle poll wrote, or failed: %v", err)
	}
}

func TestAcknowledgedAfterTheCommit(t *testing.T) {
	in(t, func(t *testing.T) {
		r, _ := newAckRig(Unordered, Start{Kind: StartEarliest})
		for i := range 120 {
			r.shelf.put(fmt.Sprint("e", i), time.Now())
		}
		r.shelf.ackError = func(ids []string) error {
			if len(r.store.log) != 120 {
				t.Errorf("acknowledged when %d are durable", len(r.store.log))
			}
			return nil
		}
		r.poll(t)
		if n := len(r.shelf.acked); n != 3 {
			t.Errorf("%d calls", n)
		}
		requests := len(r.shelf.requests)
		r.poll(t)
		if n := len(r.shelf.requests) - requests; n != 1 || requests != 2 {
			t.Errorf("%d requests, then %d", requests, n)
		}
	})
}

func TestAFailedAcknowledgementIsMadeAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		r, _ := newAckRig(Unordered, Start{Kind: StartEarliest})
		r.shelf.put("e1", time.Now())
		r.shelf.ackError = func([]string) error { return errors.New("PATCH answered 500") }
		if err := r.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "500") {
			t.Fatal(err)
		}
		r.want(t, "e1")
		r.restart()
		r.shelf.ackError = nil
		r.poll(t)
		r.want(t, "e1")
		if !slices.EqualFunc(r.shelf.acked, [][]string{{"e1"}}, slices.Equal) {
			t.Errorf("acknowledged %q", r.shelf.acked)
		}
	})
}

// An event that can't be acknowledged stays at the head of a list that shows only so many: what comes behind it is taken in all the same.
func TestOneEventThatCanNotBeAcknowledged(t *testing.T) {
	in(t, func(t *testing.T) {
		r, q := newAckRig(Unordered, Start{Kind: StartEarliest})
		q.only = 60
		var want []string
		for i := range 200 {
			want = append(want, fmt.Sprintf("e%03d", i))
			r.shelf.put(want[i], time.Now())
		}
		q.poison = "e000"
		err := r.Poll(t.Context())
		if err == nil || !strings.Contains(err.Error(), "e000 is not known") {
			t.Errorf("told %v", err)
		}
		r.want(t, want...)
		if n := len(q.stale); n != 199 {
			t.Errorf("%d are acknowledged", n)
		}
		q.poison = ""
		r.poll(t)
		if n := len(q.stale); n != 200 {
			t.Errorf("%d are acknowledged", n)
		}
	})
}

func TestWhatIsListedAgainAfterItsAcknowledgement(t *testing.T) {
	in(t, func(t *testing.T) {
		r, q := newAckRig(Oldest, Start{Kind: StartEarliest})
		r.shelf.size, r.shelf.counted = 2, true
		for i := range 6 {
			r.shelf.put(fmt.Sprint("e", i), time.Now())
			q.stale[fmt.Sprint("e", i)] = 1000 // the API never forgets
		}
		r.poll(t)
		r.poll(t)
		r.want(t, ids("e", 0, 5)...)
	})
}

func TestANewestFirstQueueIsTurnedRound(t *testing.T) {
	in(t, func(t *testing.T) {
		r, _ := newAckRig(Newest, Start{Kind: StartEarliest})
		r.shelf.size = 3
		for i := range 20 {
			r.shelf.put(fmt.Sprint("e", i), time.Now())
			time.Sleep(time.Second)
		}
		r.poll(t)
		r.want(t, ids("e", 0, 19)...)
		if first := r.shelf.acked[0]; !slices.Contains(first, "e0") {
			t.Errorf("acknowledged first: %q", first)
		}
	})
}

func TestAnUnorderedQueueIsTakenInByTime(t *testing.T) {
	in(t, func(t *testing.T) {
		r, _ := newAckRig(Unordered, Start{Kind: StartEarliest})
		now := time.Now()
		for _, i := range []int{2, 0, 3, 1} {
			r.shelf.put(fmt.Sprint("e", i), now.Add(time.Duration(i)*time.Second))
		}
		r.poll(t)
		r.want(t, "e0", "e1", "e2", "e3")
	})
}

func TestAQueuesHistoryIsAcknowledgedAndNotTakenIn(t *testing.T) {
	in(t, func(t *testing.T) {
		r, _ := newAckRig(Unordered, Start{Kind: StartNow})
		r.shelf.put("old", time.Now().Add(-time.Hour))
		r.shelf.put("undated", time.Time{})
		r.poll(t)
		r.shelf.put("new", time.Now())
		r.shelf.put("undated2", time.Time{})
		r.poll(t)
		r.want(t, "new", "undated2")
		if told := r.told[0].(event.Polled); told.History != 2 {
			t.Errorf("told %+v", told)
		}
		if !slices.Contains(r.shelf.acked[0], "old") || !r.store.known["old"] {
			t.Errorf("acknowledged %q", r.shelf.acked)
		}
	})
}

func TestABoundedQueueGoesOnBehindItsMemory(t *testing.T) {
	in(t, func(t *testing.T) {
		r, q := newAckRig(Oldest, Start{Kind: StartEarliest})
		r.Memory, r.shelf.size = 100, 5
		for i := range 200 {
			r.shelf.put(fmt.Sprint("e", i), time.Now())
		}
		r.poll(t)
		if len(r.store.log) != 200 || len(q.stale) != 200 {
			t.Errorf("%d taken in, %d acknowledged", len(r.store.log), len(q.stale))
		}
		for _, c := range r.store.commits {
			if len(c.Events) > 15 {
				t.Errorf("%d events in one transaction", len(c.Events))
			}
		}
	})
}

func TestAQueueThatWasNotAskedForLongerThanItKeepsEvents(t *testing.T) {
	in(t, func(t *testing.T) {
		r, _ := newAckRig(Unordered, Start{Kind: StartEarliest})
		r.feed.Retain = 8 * time.Hour
		r.restart()
		r.shelf.put("e1", time.Now())
		r.poll(t)
		for range 20 { // quiet, and asked all the time
			time.Sleep(time.Hour)
			r.poll(t)
		}
		r.restart()
		r.poll(t)
		if len(r.store.gaps) > 0 {
			t.Fatalf("a quiet queue has a gap: %+v", r.store.gaps)
		}
		r.restart()
		time.Sleep(9 * time.Hour)
		r.poll(t)
		r.poll(t)
		if len(r.store.gaps) != 1 || r.store.gaps[0].Certain {
			t.Errorf("gaps %+v", r.store.gaps)
		}
	})
}

func TestAnAckFeedNeedsAnAcker(t *testing.T) {
	r := newShelfRig(Feed{Kind: Ack}, Start{})
	r.feed.Fetcher = &list{}
	r.restart()
	if err := r.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "acknowledged") {
		t.Error(err)
	}
}

// A gap that was told when a source stopped is not told again when a person lets it go on.
func TestAGapIsToldOnceWhenASourceStoppedAndGoesOn(t *testing.T) {
	for _, kind := range []Kind{Ack, TimeWindow} {
		in(t, func(t *testing.T) {
			r := newShelfRig(Feed{Kind: kind, Order: Oldest, Retain: 24 * time.Hour}, Start{Kind: StartEarliest})
			r.shelf.put("e1", time.Now())
			r.poll(t)
			time.Sleep(48 * time.Hour)
			r.restart()
			r.OnLost = LostStop
			r.shelf.put("e2", time.Now())
			for range 2 {
				if r.Poll(t.Context()) == nil {
					t.Fatal("it goes on")
				}
			}
			r.restart()
			r.poll(t)
			r.poll(t)
			r.want(t, "e1", "e2")
			if len(r.store.gaps) != 1 {
				t.Errorf("%s: gaps %+v", kind, r.store.gaps)
			}
			time.Sleep(48 * time.Hour)
			r.restart()
			r.poll(t)
			if len(r.store.gaps) != 2 {
				t.Errorf("%s: the next one is not told: %+v", kind, r.store.gaps)
			}
		})
	}
}

// A queue that gives what it lists another id each time is not asked for ever at once.
func TestAQueueThatNeverEndsIsLeftToTheNextPoll(t *testing.T) {
	in(t, func(t *testing.T) {
		r, _ := newAckRig(Unordered, Start{Kind: StartEarliest})
		r.shelf.before = func(Request) error {
			if len(r.shelf.requests) > maxRounds {
				return errors.New("asked on and on")
			}
			r.shelf.things = nil
			r.shelf.put(fmt.Sprint("e", len(r.shelf.requests)), time.Now())
			return nil
		}
		r.poll(t)
		if n := len(r.store.log); n != maxRounds {
			t.Errorf("%d taken in", n)
		}
	})
}
