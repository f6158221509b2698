package poller

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"tidings/event"
)

func TestStoreFaults(t *testing.T) {
	for name, fault := range map[string]error{
		"full": event.ErrFull, "outcome unknown": event.ErrUnknownOutcome, "other": errors.New("input/output error"),
	} {
		for _, applied := range []bool{false, true} {
			t.Run(fmt.Sprint(name, applied), func(t *testing.T) {
				in(t, func(t *testing.T) {
					r := seen(t, 1)
					for i := 1; i < 45; i++ {
						r.list.happen(fmt.Sprint("e", i), time.Now())
					}
					n := 0
					r.store.fault = func(event.Commit) (before, after error) {
						if n++; n != 3 {
							return nil, nil
						}
						if applied {
							return nil, fault
						}
						return fault, nil
					}
					if err := r.Poll(t.Context()); !errors.Is(err, fault) {
						t.Fatalf("%v", err)
					}
					if told := last[event.PollFailed](t, r.told); told.Health != event.SourceBlocked || told.Listed < 45 {
						t.Errorf("told %+v", told)
					}
					if pos := r.position(t); pos.IDs[0] != "e0" {
						t.Errorf("the position moved to %s", pos.IDs[0])
					}
					r.poll(t)
					r.want(t, ids("e", 0, 44)...)
				})
			})
		}
	}
}

func TestAStalePositionStartsThePollOver(t *testing.T) {
	in(t, func(t *testing.T) {
		r := seen(t, 1)
		for i := 1; i < 45; i++ {
			r.list.happen(fmt.Sprint("e", i), time.Now())
		}
		n := 0
		r.store.fault = func(event.Commit) (before, after error) {
			if n++; n == 2 {
				r.store.pos.Generation++
			}
			return nil, nil
		}
		r.poll(t)
		r.want(t, ids("e", 0, 44)...)
		r.store.fault = func(event.Commit) (before, after error) { return event.ErrStale, nil }
		r.list.happen("new", time.Now())
		if err := r.Poll(t.Context()); !errors.Is(err, event.ErrStale) {
			t.Errorf("a position that is always stale: %v", err)
		}
	})
}

func TestAnUnreadablePosition(t *testing.T) {
	for _, data := range []string{"", "{", `{"v":2}`, `{"v":1,"walk":{}}`, `{"v":1,"start":"2000-01-01T00:00:00Z","walk":{"pages":[{}]}}`} {
		in(t, func(t *testing.T) {
			r := newRig(Start{Kind: StartNow})
			r.store.pos.Data = []byte(data)
			_ = r.Poll(t.Context())
		})
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte(`{"v":1,"start":"2026-01-02T03:04:05Z","caught_up":true,"time":"2026-01-02T04:00:00Z","ids":["evt_9"]}`))
	f.Add([]byte(`{"v":1,"walk":{"head":"2026-01-02T03:04:05Z","next":"e","pages":[{"c":"a"},{"c":"b","l":"c","b":true}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if place, err := Describe(data); err != nil || place.Kind != HeadWalk {
			return
		}
		pos, err := decodePosition(data)
		if err != nil {
			return // a walk that is none, say
		}
		if _, err := decodePosition(pos.encode()); err != nil {
			t.Errorf("what was read can't be read again: %v", err)
		}
	})
}
