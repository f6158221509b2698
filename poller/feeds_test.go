package poller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

// pair is a rig with two feeds: a, a walk from the head, and b, a tail.
type pair struct {
	tailRig
}

func newPair() *pair {
	r := &pair{}
	r.list, r.tail, r.store = &list{size: 10}, &tail{size: 10}, newFakeStore()
	r.reboot()
	return r
}

func (r *pair) reboot() {
	r.restart(Start{Kind: StartEarliest})
	r.Feeds = []Feed{{Name: "a", Kind: HeadWalk, Fetcher: r.list}, {Name: "b", Kind: TailCursor, Fetcher: r.tail}}
}

func (r *pair) parts(t *testing.T) map[string]string {
	t.Helper()
	var all composite
	if err := json.Unmarshal(r.store.pos.Data, &all); err != nil || all.Version != 2 {
		t.Fatalf("position %s: %v", r.store.pos.Data, err)
	}
	parts := map[string]string{}
	for name, part := range all.Feeds {
		parts[name] = string(part)
	}
	return parts
}

func TestFeedsKeepTheirOwnPlaces(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newPair()
		for i := range 15 {
			r.list.happen(fmt.Sprint("a", i), time.Now().Add(-time.Minute))
			r.tail.happen(fmt.Sprint("b", i), time.Now())
		}
		r.poll(t)
		r.want(t, append(ids("a", 0, 14), ids("b", 0, 14)...)...)
		if told := last[event.Polled](t, r.told); told.New != 30 || told.Listed != 30 || told.Pages != 4 {
			t.Errorf("told %+v", told)
		}
		if parts := r.parts(t); !strings.Contains(parts["a"], `"a14"`) || !strings.Contains(parts["b"], `"0:15"`) {
			t.Errorf("position %s", r.store.pos.Data)
		}
		commits := len(r.store.commits)
		r.reboot()
		r.poll(t)
		if len(r.store.commits) != commits {
			t.Error("an idle poll wrote")
		}
		place, err := Describe(r.store.pos.Data)
		if err != nil || len(place.Feeds) != 2 || place.Feeds[0].Name != "a" || place.Feeds[0].Newest != "a14" || place.Feeds[1].Cursor != "0:15" ||
			place.Newest != "b14" || place.Kind != "" {
			t.Errorf("place %+v, %v", place, err)
		}
	})
}

func TestAFailingFeedLeavesTheOthersTheirProgress(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newPair()
		r.poll(t)
		r.list.happen("a", time.Now())
		r.tail.happen("b", time.Now())
		r.list.before = func(int, string) error {
			return &FetchError{Health: event.SourceRefused, After: time.Minute, Err: errors.New("403 at a")}
		}
		r.fails(t, "403 at a")
		r.want(t, "b")
		before := r.parts(t)
		r.tail.before = func(Request) error {
			return &FetchError{Health: event.SourceLimited, After: time.Hour, Err: errors.New("429 at b")}
		}
		r.fails(t, "403 at a; 429 at b")
		if told := last[event.PollFailed](t, r.told); told.Health != event.SourceRefused || told.Failures != 2 {
			t.Errorf("told %+v", told)
		}
		if text := (failures{errors.New("x"), errors.New("y"), errors.New("x")}).Error(); text != "x; y" {
			t.Errorf("told %q", text)
		}
		if _, after := judgeFailure(failures{errors.New("x"), &FetchError{After: time.Hour, Err: errors.New("y")}}); after != time.Hour {
			t.Errorf("asked again after %v", after)
		}
		r.list.before = nil
		r.fails(t, "429 at b")
		r.want(t, "b", "a")
		if after := r.parts(t); after["b"] != before["b"] || after["a"] == before["a"] {
			t.Errorf("position %s", r.store.pos.Data)
		}
	})
}

func TestAFullStoreEndsThePollOfAllFeeds(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newPair()
		r.poll(t)
		r.list.happen("a", time.Now())
		asked := len(r.tail.requests)
		r.store.fault = func(event.Commit) (before, after error) { return event.ErrFull, nil }
		r.fails(t, "full")
		if len(r.tail.requests) != asked {
			t.Error("the other feed was asked though nothing is taken in")
		}
	})
}

func TestTheContextEndsAPollOfFeeds(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newPair()
		ctx, cancel := context.WithCancel(t.Context())
		r.list.before = func(int, string) error { cancel(); return ctx.Err() }
		if err := r.Poll(ctx); !errors.Is(err, context.Canceled) || len(r.tail.requests) > 0 {
			t.Errorf("%v, %d requests to the other feed", err, len(r.tail.requests))
		}
	})
}

// What a person sets changes all feeds' places at once: none of them goes on from what it held.
func TestFeedsSeeAPositionThatWasSet(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newPair()
		r.list.happen("a", time.Now())
		r.tail.happen("b", time.Now())
		r.poll(t)
		r.store.pos = event.Position{Generation: 1}
		r.list.happen("a2", time.Now())
		r.poll(t)
		if parts := r.parts(t); len(parts) != 2 || len(r.store.log) != 3 {
			t.Errorf("position %s, taken in %q", r.store.pos.Data, r.store.log)
		}
		n := 0
		r.store.fault = func(event.Commit) (before, after error) {
			if n++; n == 1 {
				r.store.pos.Generation++
			}
			return nil, nil
		}
		r.tail.happen("b2", time.Now())
		r.poll(t)
		r.want(t, "a", "b", "a2", "b2")
	})
}

func TestAFeedThatIsGoneKeepsItsPlace(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newPair()
		r.list.happen("a", time.Now())
		r.tail.happen("b", time.Now())
		r.poll(t)
		before := r.parts(t)
		r.restart(Start{Kind: StartEarliest})
		r.Feeds = []Feed{{Name: "a", Kind: HeadWalk, Fetcher: r.list}}
		r.list.happen("a2", time.Now())
		r.poll(t)
		if after := r.parts(t); after["b"] != before["b"] || after["a"] == before["a"] {
			t.Errorf("position %s", r.store.pos.Data)
		}
		r.tail.happen("b2", time.Now())
		r.reboot() // it is back
		r.poll(t)
		r.want(t, "a", "b", "a2", "b2")
	})
}

func TestFeedsThatCantWork(t *testing.T) {
	l := &list{}
	for name, feeds := range map[string][]Feed{
		"no list":          nil,
		"no kind":          {{Kind: "none", Fetcher: l}},
		"two feeds by the": {{Name: "a", Kind: HeadWalk, Fetcher: l}, {Name: "a", Kind: HeadWalk, Fetcher: l}},
		"by the name \"\"": {{Name: "a", Kind: HeadWalk, Fetcher: l}, {Kind: HeadWalk, Fetcher: l}},
	} {
		p := &Poller{Source: "s", Feeds: feeds, Store: newFakeStore(), Every: time.Minute}
		if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "source s") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An API that turns one of its lists down for ever, or allows no more than that one asks for, keeps us from no other.
func TestAFeedThatIsLimitedStarvesNoOther(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newPair()
		r.list.happen("a", time.Now())
		r.tail.happen("b", time.Now())
		r.list.before = func(int, string) error { return &FetchError{Health: event.SourceLimited, Err: errors.New("429 at a")} }
		r.fails(t, "429 at a")
		if len(r.tail.requests) > 0 {
			t.Error("the other list was asked at once")
		}
		r.fails(t, "429 at a")
		r.want(t, "b")
		r.tail.happen("b2", time.Now())
		r.fails(t, "429 at a")
		r.want(t, "b", "b2")
		r.list.before = nil
		r.poll(t)
		r.want(t, "b", "b2", "a")
		r.list.happen("first", time.Now())
		r.tail.happen("second", time.Now())
		r.poll(t)
		r.want(t, "b", "b2", "a", "first", "second")
	})
}

// A list that never ends, or takes long, keeps no other from its turn; and one that takes long is taken in whole.
func TestAFeedThatTakesLongStarvesNoOther(t *testing.T) {
	for _, memory := range []int{0, 1000} {
		for _, which := range []string{"a", "b"} {
			t.Run(fmt.Sprint(which, memory), func(t *testing.T) {
				in(t, func(t *testing.T) {
					r := newPair()
					r.Memory = memory
					r.list.size, r.tail.size = 1, 1
					var want []string
					for i := range 500 {
						if id := fmt.Sprint("e", i); which == "a" {
							r.list.happen(id, time.Now())
						} else {
							r.tail.happen(id, time.Now())
						}
						want = append(want, fmt.Sprint("e", i))
					}
					other := -1 // requests of the long list before the first of the other one
					r.list.before = func(n int, _ string) error {
						time.Sleep(time.Second)
						if which == "b" && other < 0 {
							other = len(r.tail.requests)
						}
						return nil
					}
					r.tail.before = func(Request) error {
						time.Sleep(time.Second)
						if which == "a" && other < 0 {
							other = r.list.requests
						}
						return nil
					}
					if which == "b" { // its turn is first
						r.Feeds[0], r.Feeds[1] = r.Feeds[1], r.Feeds[0]
					}
					r.poll(t)
					if other < 59 || other > 61 {
						t.Errorf("the other list had to wait for %d requests", other)
					}
					r.want(t, want...)
					r.poll(t)
					r.want(t, want...)
				})
			})
		}
	}
}
