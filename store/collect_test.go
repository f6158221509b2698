package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

func (b *bench) stats() event.StoreStats {
	b.t.Helper()
	stats, err := b.Stats()
	if err != nil {
		b.t.Fatal(err)
	}
	return stats
}

func TestDeliveredHistoryIsCollectedAfterKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fresh(t, Options{Keep: time.Hour}, "app", "slow")
		b.commit("p", events(1, 2500)...)
		time.Sleep(2 * time.Hour)
		b.settle(event.Delivered, 0, b.next("app", 2500, 0).Deliveries...)
		time.Sleep(time.Minute)
		if n := b.stats().Events; n != 2500 {
			t.Fatalf("%d events: slow still needs all", n)
		}
		slow := b.next("slow", 2500, 0).Deliveries
		b.settle(event.Delivered, 0, append(slow[:100:100], slow[101:2000]...)...)
		time.Sleep(time.Minute)
		if n := b.stats().Events; n != 2400 {
			t.Fatalf("%d events: all from the one in flight on are needed", n)
		}
		b.settle(event.Retry, time.Hour, slow[100])
		time.Sleep(time.Minute)
		if n := b.stats().Events; n != 501 {
			t.Fatalf("%d events: one failing, 500 in flight", n)
		}
		b.settle(event.Delivered, 0, slow[2000:]...)
		b.commit("q", events(3000, 10)...)
		time.Sleep(time.Hour - time.Minute)
		if n := b.stats().Events; n != 11 {
			t.Fatalf("%d events: one failing, ten wanted", n)
		}
		b = b.again("app", "slow")
		time.Sleep(time.Minute)
		b.settle(event.Delivered, 0, b.next("slow", 10, 1).Deliveries...)
		b.settle(event.Delivered, 0, b.next("app", 10, 1).Deliveries...)
		time.Sleep(2 * time.Hour)
		if n := b.stats().Events; n != 0 {
			t.Fatalf("%d events left", n)
		}
		b.commit("r", events(4000, 1)...)
		if d := b.next("app", 1, 0).Deliveries[0]; d.Seq != 2511 {
			t.Fatalf("numbers go on at %d", d.Seq)
		}
	})
}

func TestNothingExpiresWhileTheClockIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fresh(t, Options{Remember: time.Minute, Keep: time.Minute}, "app")
		b.commit("p", events(1, 3)...)
		b.settle(event.Delivered, 0, b.next("app", 9, 0).Deliveries...)
		if err := b.send(context.Background(), &request{between: func() error {
			b.st.newest = time.Now().Add(time.Hour) // as if the clock had been set back
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		if s := b.stats(); s.Events != 3 || s.IDs != 3 {
			t.Fatalf("%+v", s)
		}
		time.Sleep(2 * time.Minute)
		if s := b.stats(); s.Events != 0 || s.IDs != 0 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestDeletingWhileOthersPutSkipsNothing(t *testing.T) {
	b := fresh(t, Options{}, "app")
	for round := range 3 {
		b.commit(fmt.Sprint(round), events(1+1000*round, 1000)...)
		due := b.next("app", 1000, 0).Deliveries
		for i := range due {
			if i%20 == 0 { // a Put into every few pages, in a transaction before and one after
				b.settle(event.Retry, 0, due[i])
			}
		}
		b.tidyNow()
		var done []event.Delivery
		for i := range due {
			if i%20 != 0 {
				done = append(done, due[i])
			}
		}
		b.settle(event.Delivered, 0, append(done, b.next("app", 0, 1000).Deliveries...)...)
		b.tidyNow()
		if n := b.stats().Events; n != 0 {
			t.Fatalf("round %d: %d events left", round, n)
		}
	}
}

func full(err error) bool { return errors.Is(err, event.ErrFull) }

func (b *bench) tryCommit(evs []event.Event) error {
	p, err := b.Position("api")
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = b.Commit(context.Background(), event.Commit{Source: "api", Generation: p.Generation, Events: evs})
	return err
}

func TestMaxSizePausesTakingInAndNothingElse(t *testing.T) {
	b := fresh(t, Options{MaxSize: 2 << 20, Keep: time.Hour}, "app")
	big := func(n int) []event.Event {
		evs := events(n, 10)
		for i := range evs {
			evs[i].Data = []byte(strings.Repeat("z", 10_000))
		}
		return evs
	}
	n := 0
	for ; n < 1000; n += 10 {
		if err := b.tryCommit(big(n)); err != nil {
			if !full(err) {
				t.Fatal(err)
			}
			break
		}
	}
	if n >= 1000 || n < 100 {
		t.Fatalf("full after %d events", n)
	}
	if s := b.stats(); !strings.Contains(s.Full, "max_size 2.0 MiB") || s.Used > 3<<20 {
		t.Fatalf("%+v", s)
	}
	b.commit("still known", big(0)...)
	// What is owed goes on; once delivered it is history, and history gives way however young.
	due := b.next("app", n/2, 0).Deliveries
	b.settle(event.Retry, time.Hour, due[0])
	b.settle(event.Dead, 0, due[1])
	b.settle(event.Delivered, 0, due[2:]...)
	if err := b.tryCommit(big(n)); err != nil {
		t.Fatalf("after half was delivered: %v", err)
	}
	if s := b.stats(); s.Full != "" || s.Events >= uint64(n) {
		t.Fatalf("%+v", s)
	}
	if k := b.sink("app"); k.Dead != 1 || k.Owed != uint64(n-n/2+1+10) {
		t.Fatalf("%+v", k)
	}
}

func TestMinFreePausesTakingIn(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 40)
	synctest.Test(t, func(t *testing.T) {
		b := fresh(t, Options{MinFree: 1 << 30, free: func(string) (int64, error) { return free.Load(), nil }}, "app")
		b.commit("p", events(1, 1)...)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		free.Store(1 << 20)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := b.tryCommit(events(2, 1)); !full(err) {
			t.Fatalf("got %v", err)
		}
		b.settle(event.Delivered, 0, b.next("app", 1, 0).Deliveries...)
		free.Store(1 << 40)
		time.Sleep(2 * time.Second)
		if err := b.tryCommit(events(2, 1)); err != nil {
			t.Fatal(err)
		}
	})
}
