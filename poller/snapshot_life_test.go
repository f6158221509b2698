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

// TestEverySnapshot runs seeded random lives of a list of resources, whose pages shift while they are read. What is told, put together
// in its order, is what the list is at the end; no change is told twice, and none that was not.
func TestEverySnapshot(t *testing.T) { lives(t, 400, snapshotLife) }

func snapshotLife(t *testing.T, c *chaos) {
	rng := c.rng
	l := &shelf{size: 1 + rng.IntN(7), counted: c.chance(70)}
	feed := Feed{Kind: Snapshot, Fetcher: l, Name: []string{"", "meters"}[rng.IntN(2)]}
	start := Start{Kind: StartKind(rng.IntN(2))}
	store := newFakeStore()
	c.rattle(store)
	memory := []int{1, 200, 1 << 20}[rng.IntN(3)]
	var p *Poller
	boot := func() {
		p = &Poller{Source: "s", Feeds: []Feed{feed}, Store: store, Every: time.Second, Start: start, Remember: 24 * time.Hour, Memory: memory}
		c.crashed = false
	}
	boot()
	n := 0
	last := map[string]string{} // version
	born := map[string]int{}
	stir := func(most int) {
		for range rng.IntN(most + 1) {
			switch i := rng.IntN(len(l.things) + 1); {
			case i < len(l.things) && c.chance(20):
				l.drop(l.things[i].Resource)
			case i < len(l.things) && c.chance(60):
				l.has(l.things[i].Resource, fmt.Sprint(rng.IntN(3)))
			default:
				n++
				name := fmt.Sprint("r", rng.IntN(40))
				l.has(name, fmt.Sprint(rng.IntN(3)))
				born[name]++
			}
		}
	}
	l.before = func(Request) error {
		time.Sleep(time.Duration(rng.IntN(800)) * time.Millisecond)
		if !c.calm && c.chance(20) {
			stir(2)
		}
		return c.fetch()
	}
	stir(20)
	for range 5 + rng.IntN(15) {
		stir([]int{2, 2, 20}[rng.IntN(3)])
		_ = p.Poll(context.Background())
		if c.crashed {
			boot()
		}
		time.Sleep(time.Duration(rng.IntN(40)) * time.Second)
	}
	c.calm = true
	if len(l.things) == 0 {
		l.has("r0", "0")
	}
	for range 3 {
		time.Sleep(time.Minute)
		if err := p.Poll(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	is := map[string]string{} // by what was told
	for _, e := range store.entered() {
		version, told := is[e.Resource]
		now := strings.TrimPrefix(string(e.Data), fmt.Sprintf(`{"id":%q,"v":`, e.Resource))
		switch Change(e.Type) {
		case Created:
			if told {
				t.Errorf("%s was created twice", e.Resource)
			}
			is[e.Resource] = now
		case Updated:
			if told && version == now || !told && start.Kind == StartEarliest {
				t.Errorf("%s was updated from %q to %q", e.Resource, version, now)
			}
			is[e.Resource] = now
		case Deleted:
			if !told && start.Kind == StartEarliest {
				t.Errorf("%s was deleted and never created", e.Resource)
			}
			delete(is, e.Resource)
		}
	}
	for _, e := range l.things {
		last[e.Resource] = strings.TrimPrefix(string(e.Data), fmt.Sprintf(`{"id":%q,"v":`, e.Resource))
		if version, told := is[e.Resource]; told && version != last[e.Resource] || !told && start.Kind == StartEarliest {
			t.Errorf("%s is %q, and by what was told %q", e.Resource, last[e.Resource], version)
		}
	}
	for resource, version := range is {
		if _, ok := last[resource]; !ok {
			t.Errorf("%s is gone, and by what was told %q", resource, version)
		}
	}
	before := len(store.commits)
	if err := p.Poll(context.Background()); err != nil || len(store.commits) != before {
		t.Errorf("an idle poll wrote, or failed: %v", err)
	}
}

// A list that breaks off has shown what it has shown: it is told, and is not missing.
func TestASnapshotThatBreaksOff(t *testing.T) {
	for _, restart := range []bool{false, true} {
		in(t, func(t *testing.T) {
			r := newSnapshotRig(Start{Kind: StartNow})
			for i := range 25 {
				r.shelf.has(fmt.Sprint("r", i), "1")
			}
			breaks := func(at string) {
				t.Helper()
				r.shelf.before = func(q Request) error {
					if q.Cursor == at {
						return &FetchError{Health: event.SourceFailing, Err: errors.New("503 at " + at)}
					}
					return nil
				}
				time.Sleep(time.Minute)
				if err := r.Poll(t.Context()); err == nil || err.Error() != "503 at "+at {
					t.Fatal(err)
				}
				if r.shelf.before = nil; restart {
					r.restart()
				}
			}
			breaks("20") // the ground of later ones is laid nevertheless
			r.poll(t)
			r.wantChanges(t)
			things := slices.Clone(r.shelf.things)
			r.shelf.drop("r3")
			r.poll(t)
			r.shelf.things = slices.Clone(things) // its page had shifted
			breaks("10")
			r.shelf.drop("r3") // and shifts again
			time.Sleep(time.Minute)
			r.poll(t)
			r.wantChanges(t)
			r.shelf.things = things
			r.poll(t)
			r.shelf.has("r4", "2")
			breaks("10")
			r.wantChanges(t, "updated r4")
			breaks("10")
			r.poll(t)
			r.wantChanges(t, "updated r4")
			r.wantIdle(t)
		})
	}
}
