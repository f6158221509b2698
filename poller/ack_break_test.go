package poller

import (
	"errors"
	"slices"
	"testing"
	"time"

	"tidings/event"
)

// A page that can't be had holds up nothing that was listed before it.
func TestAQueueThatBreaksOffIsTakenInAsFar(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newShelfRig(Feed{Kind: Ack}, Start{Kind: StartEarliest})
		r.shelf.size = 2
		for _, id := range []string{"a", "b", "c"} {
			r.shelf.put(id, time.Now())
		}
		r.shelf.before = func(q Request) error {
			if q.Cursor != "" {
				return &FetchError{Health: event.SourceFailing, Err: errors.New("503")}
			}
			return nil
		}
		for range 2 {
			if r.Poll(t.Context()) == nil {
				t.Fatal("the poll succeeded")
			}
			r.want(t, "a", "b")
		}
		if len(r.shelf.acked) == 0 || !slices.Contains(r.shelf.acked[0], "a") {
			t.Errorf("acknowledged %q", r.shelf.acked)
		}
		r.shelf.before = nil
		r.poll(t)
		r.want(t, "a", "b", "c")
	})
}
