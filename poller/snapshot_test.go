package poller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

// has lists a resource as it is now, or anew.
func (l *shelf) has(resource, version string) {
	e := event.Event{ID: resource + "#" + version, Resource: resource, Data: fmt.Appendf(nil, `{"id":%q,"v":%q}`, resource, version)}
	if i := l.index(resource); i >= 0 {
		l.things[i] = e
	} else {
		l.things = append(l.things, e)
	}
}

func (l *shelf) index(resource string) int {
	return slices.IndexFunc(l.things, func(e event.Event) bool { return e.Resource == resource })
}

func (l *shelf) drop(resource string) {
	i := l.index(resource)
	l.things = slices.Delete(l.things, i, i+1)
}

func newSnapshotRig(start Start) *shelfRig {
	r := newShelfRig(Feed{Kind: Snapshot}, start)
	r.shelf.size, r.shelf.counted = 10, true
	return r
}

// wantChanges checks what was told, as "created a".
func (r *shelfRig) wantChanges(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, e := range r.store.entered() {
		got = append(got, e.Type+" "+e.Resource)
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if len(r.store.log) != len(got) {
		t.Errorf("%d events entered, of %d ids", len(got), len(r.store.log))
	}
}

func (r *shelfRig) wantIdle(t *testing.T) {
	t.Helper()
	commits := len(r.store.commits)
	r.poll(t)
	if n := len(r.store.commits) - commits; n != 0 {
		t.Errorf("a poll without a change made %d commits", n)
	}
}

func TestTheFirstSnapshotIsTheGround(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartNow})
		r.shelf.has("a", "1")
		r.shelf.has("b", "1")
		r.poll(t)
		r.wantChanges(t)
		r.wantIdle(t)
		r.restart()
		r.shelf.has("b", "2")
		r.shelf.has("c", "1")
		r.poll(t)
		r.wantChanges(t, "updated b", "created c")
		r.wantIdle(t)
		if told := r.told[0].(event.Polled); told.History != 2 {
			t.Errorf("told %+v", told)
		}
	})
}

func TestTheEarliestSnapshotIsAllCreated(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartEarliest})
		r.shelf.has("a", "1")
		r.shelf.has("quiet", "1") // of which the recipe makes no event
		r.shelf.has("b", "1")
		r.poll(t)
		r.wantChanges(t, "created a", "created b")
		r.wantIdle(t)
	})
}

func TestThereAndBackAreThreeChanges(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartEarliest})
		for _, version := range []string{"A", "B", "A", "B"} {
			r.shelf.has("a", version)
			r.poll(t)
			r.restart()
		}
		r.wantChanges(t, "created a", "updated a", "updated a", "updated a")
	})
}

func TestDeletedWhenMissingTwice(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartNow})
		r.shelf.has("a", "1")
		r.shelf.has("b", "1")
		r.poll(t)
		r.shelf.drop("a")
		r.poll(t)
		r.wantChanges(t)
		r.shelf.has("a", "1") // a page had shifted
		r.restart()
		time.Sleep(time.Minute)
		r.poll(t)
		r.wantChanges(t)
		r.shelf.drop("a")
		r.restart() // as each run of a program that polls once
		time.Sleep(time.Minute)
		r.poll(t)
		r.wantChanges(t)
		r.restart()
		time.Sleep(time.Minute)
		r.poll(t)
		r.wantChanges(t, "deleted a")
		r.wantIdle(t)
		r.shelf.has("a", "1")
		r.poll(t)
		r.wantChanges(t, "deleted a", "created a")
		e := r.store.entered()[0]
		if e.ID == "" || !e.Time.Equal(e.Time.Truncate(time.Second)) || e.Time.IsZero() || e.Data != nil {
			t.Errorf("%+v", e)
		}
	})
}

func TestAnEmptySnapshotIsDoubted(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartNow})
		for i := range 25 {
			r.shelf.has(fmt.Sprint("r", i), "1")
		}
		r.poll(t)
		all := r.shelf.things
		r.shelf.things = nil
		if err := r.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "had 25 resources") {
			t.Fatalf("%v", err)
		}
		r.shelf.things = all
		r.poll(t)
		r.wantChanges(t)
		r.shelf.things = nil
		for i := range 3 {
			time.Sleep(time.Minute)
			r.restart()
			if err := r.Poll(t.Context()); (err != nil) != (i == 0) {
				t.Fatalf("poll %d: %v", i, err)
			}
			if n := len(r.store.log); n != 0 && i < 2 {
				t.Fatalf("poll %d: %d deletions", i, n)
			}
		}
		if n := len(r.store.log); n != 25 {
			t.Errorf("%d deletions", n)
		}
		r.wantIdle(t)
	})
}

func TestABrokenItemHidesWhatIsMissing(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartNow})
		r.shelf.has("a", "1")
		r.shelf.has("b", "1")
		r.poll(t)
		r.shelf.things[0] = event.Event{ID: "sha256_1", Broken: "it is a number, not an object", Data: []byte("1")}
		for range 4 {
			r.poll(t)
		}
		r.want(t, "sha256_1")
	})
}

func TestAResetTellsNoChangeByAnEarliersID(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartEarliest})
		r.shelf.has("a", "1")
		r.poll(t)
		r.store.pos = event.Position{Generation: 1}
		r.poll(t)
		r.wantChanges(t, "created a", "created a")
	})
}

// A position that a person sets back leads to changes that were never told, under numbers that were.
func TestAPositionThatIsSetBack(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartEarliest})
		r.shelf.has("a", "1")
		r.poll(t)
		back := r.store.pos.Data
		r.shelf.has("a", "2")
		r.poll(t)
		r.store.pos = event.Position{Generation: 1, Data: back}
		r.shelf.has("a", "3")
		r.poll(t)
		r.wantChanges(t, "created a", "updated a", "updated a")
	})
}

// What is listed twice under one id is no change, for ever, between the one and the other.
func TestTwoResourcesByOneID(t *testing.T) {
	for name, size := range map[string]int{"on one page": 10, "on two pages": 1} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := newSnapshotRig(Start{Kind: StartNow})
				r.shelf.size = size
				r.shelf.has("a", "1")
				r.shelf.has("b", "1")
				r.poll(t)
				r.shelf.things = append(r.shelf.things, event.Event{ID: "a#2", Resource: "a", Data: []byte("{}")})
				for range 3 {
					err := r.Poll(t.Context())
					if err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), "changes.resource") {
						t.Fatalf("%v", err)
					}
				}
				r.shelf.things[2] = r.shelf.things[0] // the same twice is harmless
				r.poll(t)
				r.wantIdle(t)
				r.shelf.has("b", "2")
				r.poll(t)
				r.wantChanges(t, "updated b")
			})
		})
	}
}

// A resource that changes while the list is read, and is listed again then, is no such thing: the next poll takes it in.
func TestAResourceThatChangesWhileItIsRead(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartNow})
		r.shelf.size = 1
		r.shelf.has("a", "0")
		r.shelf.has("b", "0")
		r.poll(t)
		n, failed := 0, 0
		r.shelf.before = func(q Request) error { // what has changed last stands last
			if q.Cursor == "1" {
				n++
				r.shelf.things = r.shelf.things[:2]
				r.shelf.things = append(r.shelf.things, event.Event{ID: fmt.Sprint("a#", n), Resource: "a", Data: []byte("{}")})
			}
			return nil
		}
		for range 5 {
			if r.Poll(t.Context()) != nil {
				failed++
			}
			r.shelf.things = []event.Event{r.shelf.things[2], r.shelf.things[1]}
		}
		if failed != 1 {
			t.Errorf("%d polls failed", failed)
		}
		r.shelf.before = nil
		r.poll(t)
		if len(r.store.log) < 4 {
			t.Errorf("%d changes were told", len(r.store.log))
		}
		r.wantIdle(t)
		var pos snapshotPosition
		if err := decode(r.store.pos.Data, Snapshot, &pos); err != nil || pos.Resources["a"].version != hashVersion("a#5") {
			t.Errorf("a is not what it was listed as last: %v", err)
		}
	})
}

func TestTooManyResources(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartNow})
		r.shelf.size = 0
		for i := range maxResources {
			r.shelf.things = append(r.shelf.things, event.Event{ID: fmt.Sprint(i), Resource: fmt.Sprintf("00000000-0000-4000-8000-%012d", i)})
		}
		r.poll(t)
		t.Logf("%d bytes for %d resources", len(r.store.pos.Data), maxResources)
		if len(r.store.pos.Data) > 4<<20 {
			t.Errorf("the position has %d bytes", len(r.store.pos.Data))
		}
		r.shelf.has("one", "1")
		if err := r.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 50000 resources") {
			t.Fatalf("%v", err)
		}
		r.shelf.drop("one")
		r.wantIdle(t)
	})
}

func TestAnUnchangedSnapshotIsNotReadAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartNow})
		r.shelf.has("a", "1")
		r.shelf.has("b", "1")
		etag := &tagged{shelf: r.shelf}
		r.feed.Fetcher = etag
		r.restart()
		r.poll(t)
		r.poll(t)
		if etag.unchanged != 1 {
			t.Errorf("%d answers of 304", etag.unchanged)
		}
		r.shelf.drop("a")
		r.poll(t)
		r.poll(t) // it is the same list, and the second that lacks a
		r.wantChanges(t, "deleted a")
		r.poll(t)
		if etag.unchanged != 2 {
			t.Errorf("%d answers of 304", etag.unchanged)
		}
	})
}

// tagged is a shelf with an ETag.
type tagged struct {
	*shelf
	unchanged int
}

func (l *tagged) Fetch(ctx context.Context, r Request) (event.Page, error) {
	page, err := l.shelf.Fetch(ctx, r)
	tag := fmt.Sprint(page.Events)
	if r.Validator == tag {
		l.unchanged++
		return event.Page{NotModified: true, Date: page.Date}, err
	}
	page.Validator = tag
	return page, err
}

func FuzzSnapshotPosition(f *testing.F) {
	f.Add([]byte(`{"v":1,"kind":"snapshot","epoch":"AQIDBAUGBwg","changes":7,"resources":{"mtr_1":"iKXTnCB1vkE","mtr_2":"q83vEjRWeJA?"}}`))
	f.Add([]byte(`{"v":1,"kind":"snapshot","resources":{"a":"?","b":""}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		pos := snapshotPosition{Resources: map[string]resource{}}
		if decode(data, Snapshot, &pos) != nil {
			return
		}
		again := snapshotPosition{}
		if err := decode(encode(pos), Snapshot, &again); err != nil {
			t.Errorf("what was read can't be read again: %v", err)
		}
	})
}

func TestMissingOnceMuchLaterCountsAnew(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartNow})
		r.shelf.has("a", "1")
		r.shelf.has("b", "1")
		r.poll(t)
		r.shelf.drop("a")
		r.poll(t)
		r.shelf.has("a", "1")
		r.poll(t) // at once: its return is stored all the same
		r.restart()
		r.shelf.drop("a")
		r.poll(t)
		r.wantChanges(t)
	})
}

func TestAFullPageThatIsTheOnlyOneMissesNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newSnapshotRig(Start{Kind: StartNow})
		r.feed.Single, r.shelf.single, r.shelf.size = true, true, 2
		r.restart()
		r.shelf.has("a", "1")
		r.shelf.has("b", "1")
		r.poll(t)
		r.shelf.things = slices.Insert(r.shelf.things, 0, event.Event{ID: "c#1", Resource: "c"})
		for range 4 {
			r.poll(t)
		}
		r.wantChanges(t, "created c")
	})
}
