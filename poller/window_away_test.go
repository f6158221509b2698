package poller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

func TestAQuietWindowDoesNotForget(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{}, Start{Kind: StartNow})
		r.poll(t)
		r.shelf.put("e1", time.Now())
		time.Sleep(time.Second)
		r.poll(t)
		time.Sleep(91 * 24 * time.Hour)
		clear(r.store.known) // longer than ids are remembered
		r.restart()
		r.poll(t)
		r.shelf.put("e2", time.Now())
		r.poll(t)
		r.want(t, "e1", "e2")
		// Nor is what came in a longer absence taken for forgotten.
		time.Sleep(time.Hour)
		r.shelf.put("e3", time.Now())
		time.Sleep(100 * 24 * time.Hour)
		clear(r.store.known)
		r.restart()
		r.poll(t)
		r.want(t, "e1", "e2", "e3")
	})
}

func TestAWindowsAbsenceIsAGap(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newWindowRig(Feed{Retain: 30 * 24 * time.Hour}, Start{Kind: StartNow})
		r.poll(t)
		r.shelf.put("e1", time.Now())
		r.poll(t)
		for range 100 { // quiet, and asked all the time
			time.Sleep(24 * time.Hour)
			r.poll(t)
		}
		r.restart()
		r.poll(t)
		if len(r.store.gaps) > 0 {
			t.Fatalf("a quiet list has a gap: %+v", r.store.gaps)
		}
		r.restart()
		time.Sleep(40 * 24 * time.Hour)
		r.shelf.put("e2", time.Now())
		time.Sleep(time.Hour)
		r.poll(t)
		r.poll(t)
		if len(r.store.gaps) != 1 || r.store.gaps[0].Certain || time.Since(r.store.gaps[0].To) < time.Hour {
			t.Errorf("gaps %+v", r.store.gaps)
		}
		r.want(t, "e1", "e2")
		r.restart()
		r.OnLost = LostStop
		time.Sleep(40 * 24 * time.Hour)
		r.shelf.put("e3", time.Now())
		for range 3 {
			if r.Poll(t.Context()) == nil {
				t.Fatal("it goes on")
			}
		}
		if len(r.store.gaps) != 2 {
			t.Errorf("gaps %+v", r.store.gaps)
		}
		r.want(t, "e1", "e2")
	})
}

func TestABeginningThatTheAPIDoesNotTake(t *testing.T) {
	for _, policy := range []Lost{LostFromTime, LostFromNow} {
		in(t, func(t *testing.T) {
			r := newWindowRig(Feed{}, Start{Kind: StartEarliest})
			r.OnLost = policy
			r.shelf.put("e1", time.Now())
			time.Sleep(time.Second)
			r.poll(t)
			time.Sleep(200 * 24 * time.Hour)
			r.shelf.put("e2", time.Now())
			r.shelf.before = func(q Request) error {
				if time.Since(q.Since) > 180*24*time.Hour {
					return &FetchError{Health: event.SourceFailing, Lost: true, Err: errors.New("since is too early")}
				}
				return nil
			}
			time.Sleep(time.Hour)
			err := r.Poll(t.Context())
			_ = r.Poll(t.Context())
			if (err == nil) != (policy == LostFromNow) || len(r.store.gaps) != 1 {
				t.Fatalf("%s: %v, gaps %+v", policy, err, r.store.gaps)
			}
			if policy == LostFromTime {
				if text := err.Error(); !strings.Contains(text, "from_time can't be done") || !strings.Contains(text, "from_now goes on") {
					t.Error(text)
				}
				r.want(t, "e1")
				return
			}
			r.shelf.put("e3", time.Now())
			r.poll(t)
			r.want(t, "e1", "e3")
		})
	}
}
