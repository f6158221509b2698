package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// window is what a sink's worker does after a transaction is durable and before memory says so.
type window struct{ do func() }

func (w *window) commit(tx *bolt.Tx) error {
	err := tx.Commit()
	if do := w.do; do != nil {
		w.do = nil
		do()
	}
	return err
}

func TestReplayMeetsADeadLetterThatIsBeingSentAgain(t *testing.T) {
	for _, collected := range []bool{false, true} {
		w := &window{}
		o := Options{Keep: time.Hour, tick: time.Hour, commit: w.commit}
		if collected {
			o.Keep = 0
		}
		b := fresh(t, o, "app", "other")
		b.commit("p", events(1, 4)...)
		due := b.next("app", 4, 0).Deliveries
		b.settle(event.Dead, 0, due[2])
		b.settle(event.Delivered, 0, due[0], due[1], due[3])
		b.settle(event.Delivered, 0, b.next("other", 3, 0).Deliveries...)
		b.tidyNow()
		want := uint64(2) // 3, which is dead, and 4
		if collected {
			want = 1
		}
		b.replay(event.Replay{Sink: "app", From: 3}, want)
		var flying []event.Delivery
		w.do = func() { flying = b.next("app", 9, 0).Deliveries }
		if n, err := b.RetryDead(context.Background(), "app", []uint64{3}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if err := b.Check(); err != nil {
			t.Error(err)
		}
		flying = append(flying, b.next("app", 9, 9).Deliveries...)
		if got := fmt.Sprint(ids(flying)); got != "[evt_4 evt_3]" {
			t.Errorf("collected %v: handed out %s", collected, got)
		}
		b.settle(event.Delivered, 0, flying...)
		b.tidyNow()
		if k := b.sink("app"); k.Owed != 0 || len(b.replays()) != 0 {
			t.Errorf("%+v", k)
		}
	}
}

func TestReplayThatEndsWhileItIsBeingWritten(t *testing.T) {
	for _, cancel := range []bool{false, true} {
		w := &window{}
		b := fresh(t, Options{Keep: time.Hour, tick: time.Hour, commit: w.commit}, "app")
		b.commit("p", events(1, 3)...)
		due := b.next("app", 3, 0).Deliveries
		b.settle(event.Delivered, 0, due[0])
		b.settle(event.Dead, 0, due[1:]...)
		id := b.replay(event.Replay{Sink: "app"}, 3)
		due = b.next("app", 1, 0).Deliveries
		if cancel {
			w.do = func() { b.Release("app", due[0].Seq) }
			if err := b.CancelReplay(context.Background(), id); err != nil {
				t.Fatal(err)
			}
		} else {
			w.do = func() { b.next("app", 9, 0) } // what is dead is left out
			b.settle(event.Delivered, 0, due...)
		}
		b.tidyNow()
		if k := b.sink("app"); k.Owed != 0 || len(b.replays()) != 0 || b.keys(bucketAgain) != 0 {
			t.Errorf("cancel %v: %+v, %d records", cancel, k, b.keys(bucketAgain))
		}
	}
}
