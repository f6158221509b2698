package poller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tidings/event"
)

// An id says which event it is and nothing of when it came: whether ids rise, fall or are drawn, the same is taken in, in the same order.
func TestIDsAreOnlyEqualOrNot(t *testing.T) {
	drawn := rand.New(rand.NewPCG(1, 1)).Perm(1000)
	names := map[string]func(i int) string{
		"rising":             func(i int) string { return fmt.Sprint(1000 + i) },
		"falling":            func(i int) string { return fmt.Sprint(2000 - i) },
		"drawn":              func(i int) string { return fmt.Sprint(drawn[i]) },
		"of several lengths": func(i int) string { return fmt.Sprintf("%0*d", i%5, 500-i) },
	}
	for _, kind := range []Kind{HeadWalk, TailCursor, TimeWindow, Ack, Snapshot} {
		for name, id := range names {
			t.Run(fmt.Sprint(kind, " ", name), func(t *testing.T) {
				in(t, func(t *testing.T) { idLife(t, kind, id) })
			})
		}
	}
}

// idLife polls a list in which three things happen before each poll, the second of them listed late; a poll in the middle fails, and the
// process is then started anew.
func idLife(t *testing.T, kind Kind, id func(i int) string) {
	l, tl, sh := &list{size: 4}, &tail{size: 4}, &shelf{size: 4, counted: kind == Snapshot}
	store := newFakeStore()
	var p *Poller
	boot := func() {
		feed := Feed{Kind: kind, Fetcher: sh}
		switch kind {
		case HeadWalk:
			feed.Fetcher = l
		case TailCursor:
			feed.Fetcher = tl
		}
		p = &Poller{Source: "s", Feeds: []Feed{feed}, Store: store, Every: time.Minute, Start: Start{Kind: StartEarliest}, Overlap: 5 * time.Minute,
			Remember: 24 * time.Hour, Memory: 100}
	}
	boot()
	var happened []string
	for round := range 30 {
		time.Sleep(20 * time.Second)
		for i := range 3 {
			id, at := id(3*round+i), time.Now().Add(time.Duration(i)*time.Second)
			switch {
			case kind == Snapshot:
				sh.has(id, "1")
			case kind == HeadWalk && i == 1:
				l.late(id, at.Add(-15*time.Second))
			case kind == HeadWalk:
				l.happen(id, at)
			case kind == TailCursor:
				tl.happen(id, at)
			case i == 1:
				sh.put(id, at.Add(-15*time.Second))
			default:
				sh.put(id, at)
			}
			happened = append(happened, id)
		}
		time.Sleep(10 * time.Second)
		if round == 15 {
			store.fault = func(event.Commit) (before, after error) { return errCrash, nil }
			_ = p.Poll(t.Context())
			store.fault = nil
			boot()
			continue // this and the next are one poll's
		}
		if err := p.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var taken []string
	if taken = slices.Clone(store.log); kind == Snapshot {
		taken = nil
		for _, e := range store.entered() {
			taken = append(taken, e.Resource)
		}
	}
	for round := range 30 { // what is late comes late or before, but with its poll
		slices.Sort(happened[3*round : 3*round+3])
		slices.Sort(taken[min(3*round, len(taken)):min(3*round+3, len(taken))])
	}
	if !slices.Equal(taken, happened) {
		t.Errorf("taken in %q\nhappened %q", taken, happened)
	}
	if len(store.gaps) > 0 {
		t.Errorf("a gap is told: %+v", store.gaps[0])
	}
}
