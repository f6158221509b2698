package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"tidings/event"
)

func (b *bench) replay(q event.Replay, want uint64) uint64 {
	b.t.Helper()
	id, n, err := b.StartReplay(context.Background(), q)
	if err != nil || n != want {
		b.t.Fatalf("replay of %d, not %d: %v", n, want, err)
	}
	return id
}

func (b *bench) replays() []event.ReplayStats {
	b.t.Helper()
	all, err := b.Replays()
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// deliverAll delivers what is due until nothing is, and returns the ids, replays with an R.
func (b *bench) deliverAll(sink string, n int) (got []string) {
	b.t.Helper()
	for {
		due := b.next(sink, n, n)
		for _, d := range due.Deliveries {
			name := d.Event.ID
			if d.Replay {
				name += "R"
			}
			got = append(got, name)
		}
		if len(due.Deliveries) > 0 {
			b.settle(event.Delivered, 0, due.Deliveries...)
		} else if !due.More {
			return got
		}
	}
}

func TestReplayIsOneRecordBesideWhatIsOwed(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app")
	b.commit("p", events(1, 1000)...)
	b.deliverAll("app", 500)
	b.commit("q", events(2001, 20)...)
	b.replay(event.Replay{Sink: "app"}, 1020) // what is owed already is left out when its turn comes
	if k := b.sink("app"); k.Owed != 1040 || k.Replaying != 1020 || k.Retrying != 0 || b.keys(bucketAgain) != 1 || b.keys(prefixX+"app") != 0 {
		t.Fatalf("%+v", k)
	}
	due := b.next("app", 10, 10).Deliveries
	var fresh, again int
	for _, d := range due {
		if d.Replay {
			again++
		} else {
			fresh++
		}
	}
	if fresh != 5 || again != 5 {
		t.Errorf("%d fresh and %d replayed", fresh, again)
	}
	b.settle(event.Delivered, 0, due[:7]...)
	one, two := b.next("app", 1, 0).Deliveries, b.next("app", 1, 0).Deliveries
	if one[0].Replay == two[0].Replay {
		t.Error("one at a time they don't take turns")
	}
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	b = b.again("app") // what was not settled is handed out again
	if k := b.sink("app"); k.Owed != 1040-7 {
		t.Fatalf("%+v", k)
	}
	got := b.deliverAll("app", 50)
	if n := len(slices.Compact(slices.Sorted(slices.Values(got)))); n != len(got) || n < 1013 || n > 1033 {
		t.Errorf("%d deliveries, %d of them different", len(got), n)
	}
	b.tidyNow()
	if k := b.sink("app"); k.Owed != 0 || len(b.replays()) != 0 || b.keys(bucketAgain) != 0 {
		t.Errorf("%+v %+v", k, b.replays())
	}
	if k := b.history("evt_9", "app"); k.State != event.StateDelivered || !k.Replay || len(k.Tried) != 2 || k.Attempts != 1 {
		t.Errorf("%+v", k)
	}
	if k := b.sink("app"); k.Dead != 0 {
		t.Errorf("%+v", k)
	}
}

func TestReplaySelects(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app", "late")
	topo := topology("app")
	topo.Sinks[0].Events = event.Filter{"a"}
	b.apply(topo)
	evs := events(1, 9000)
	for i := range evs {
		evs[i].Type = []string{"a", "b", "c"}[i%3]
	}
	b.commit("p", evs...)
	b.deliverAll("app", 1000)
	time.Sleep(5 * time.Millisecond)
	middle := time.Now()
	b.commit("q", events(10_001, 10)...)
	b.replay(event.Replay{Sink: "app", Events: event.Filter{"b"}, Until: middle}, 3000) // it never wanted these
	if k := b.history("evt_2", "app"); k.State != event.StateOwed || !k.Replay {
		t.Errorf("%+v", k)
	}
	if got := b.deliverAll("app", 700); len(got) != 3000 || got[0] != "evt_2R" || got[2999] != "evt_8999R" {
		t.Errorf("%d", len(got))
	}
	b.replay(event.Replay{Sink: "app", Since: middle}, 10)
	b.replay(event.Replay{Sink: "app", From: 5, To: 7}, 2)
	b.replay(event.Replay{Sink: "app", Sources: event.Filter{"other"}}, 0)
	if got := b.deliverAll("app", 700); len(got) != 12 || got[0] != "evt_10001R" || got[10] != "evt_5R" {
		t.Errorf("%v", got)
	}
	b.tidyNow()
	if len(b.replays()) != 0 {
		t.Errorf("%+v", b.replays())
	}
	if _, _, err := b.StartReplay(context.Background(), event.Replay{Sink: "nobody"}); err == nil {
		t.Error("a sink that isn't there")
	}
}

func TestReplayPinsItsRange(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app")
	b.opt.Keep = 0
	b.end()
	b = openAt(t, b.path, Options{Keep: 0, tick: time.Hour})
	b.apply(topology("app"))
	b.commit("p", events(1, 3000)...)
	b.deliverAll("app", 3000)
	b.replay(event.Replay{Sink: "app", From: 1001, To: 2001}, 1000)
	b.tidyNow()
	if n := b.stats().Events; n != 2000 {
		t.Fatalf("%d events", n) // the collector goes by the front of the log
	}
	b.settle(event.Delivered, 0, b.next("app", 600, 0).Deliveries...)
	b = b.again("app")
	b.tidyNow()
	if n := b.stats().Events; n != 1400 {
		t.Fatalf("%d events", n)
	}
	b.deliverAll("app", 100)
	b.tidyNow()
	if n := b.stats().Events; n != 0 || b.keys(bucketTries) > 1 {
		t.Fatalf("%d events", n)
	}
}

func TestReplayedOnesFailLikeOthers(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app")
	b.commit("p", events(1, 5)...)
	first := b.next("app", 5, 0).Deliveries
	b.settle(event.Delivered, 0, first[:3]...)
	b.settle(event.Dead, 0, first[3])
	b.settle(event.Retry, time.Hour, first[4])
	b.replay(event.Replay{Sink: "app"}, 5)
	due := b.next("app", 9, 0).Deliveries
	if fmt.Sprint(ids(due)) != "[evt_1 evt_2 evt_3]" || !due[0].Replay || due[0].Attempts != 0 {
		t.Fatalf("%v", ids(due))
	}
	b.settle(event.Retry, 0, due[0])
	b.settle(event.Dead, 0, due[1])
	b.Release("app", due[2].Seq)
	if k := b.sink("app"); k.Owed != 3 || k.Retrying != 2 || k.Dead != 2 || k.Replaying != 1 {
		t.Errorf("%+v", k)
	}
	b = b.again("app")
	due = b.next("app", 9, 9).Deliveries
	if fmt.Sprint(ids(due)) != "[evt_3 evt_1]" || !due[0].Replay || !due[1].Replay || due[1].Attempts != 1 {
		t.Fatalf("%+v", due)
	}
	b.settle(event.Delivered, 0, due...)
	b.tidyNow()
	if k := b.sink("app"); k.Owed != 1 || k.Dead != 2 || len(b.replays()) != 0 {
		t.Errorf("%+v", k)
	}
}

func TestCancelledReplaySettlesWhatIsInFlight(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app")
	b.commit("p", events(1, 100)...)
	b.deliverAll("app", 100)
	id := b.replay(event.Replay{Sink: "app"}, 100)
	due := b.next("app", 10, 0).Deliveries
	b.Release("app", due[9].Seq)
	if err := b.CancelReplay(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if k := b.sink("app"); k.Owed != 9 || k.InFlight != 9 {
		t.Errorf("%+v", k)
	}
	b.settle(event.Delivered, 0, due[:4]...)
	b.settle(event.Retry, 0, due[4])
	b.Release("app", due[5].Seq)
	if again := b.next("app", 10, 0); len(again.Deliveries) != 0 || again.More {
		t.Errorf("%+v", again)
	}
	b.settle(event.Delivered, 0, due[6:9]...)
	b.tidyNow()
	if k := b.sink("app"); k.Owed != 1 || len(b.replays()) != 0 || b.keys(bucketAgain) != 0 {
		t.Errorf("%+v", k)
	}
	if err := b.CancelReplay(context.Background(), id); err == nil {
		t.Error("it is gone")
	}
	b.replay(event.Replay{Sink: "app"}, 100)
	b.next("app", 10, 0)
	_ = b.CancelReplay(context.Background(), id+1)
	b = b.again("app") // a stop ends it
	if k := b.sink("app"); k.Owed != 1 || b.keys(bucketAgain) != 0 {
		t.Errorf("%+v", k)
	}
}

func TestReplayOfWhatCanNotBeReadIsTold(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app")
	b.commit("p", events(1, 10)...)
	b.deliverAll("app", 100)
	b.replay(event.Replay{Sink: "app"}, 10)
	b.Close()
	b.editRecord(bucketLog, 4, func(_, value []byte) []byte { value[len(value)-1] ^= 1; return value })
	b = openAt(t, b.path, b.opt)
	b.apply(topology("app"))
	if got := b.deliverAll("app", 3); len(got) != 9 {
		t.Errorf("%v", got)
	}
	b.tidyNow()
	if k := b.sink("app"); k.Owed != 0 || len(b.replays()) != 0 {
		t.Errorf("%+v", k)
	}
	if told := b.told(); !slices.ContainsFunc(told, func(n event.Notice) bool { _, ok := n.(event.SetAside); return ok }) {
		t.Error("nothing tells of it")
	}
}

func TestCancelledReplayIsNotOwedAnyMore(t *testing.T) {
	br := &breaker{err: syscall.EIO}
	b := fresh(t, Options{Keep: time.Hour, tick: time.Hour, commit: br.commit}, "app")
	b.commit("p", events(1, 100)...)
	b.deliverAll("app", 100)
	id := b.replay(event.Replay{Sink: "app"}, 100)
	b.next("app", 10, 0)
	if err := b.CancelReplay(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if k := b.history("evt_5", "app"); k.State != event.StateOwed || !k.Replay {
		t.Errorf("in flight: %+v", k)
	}
	if k := b.history("evt_50", "app"); k.State != event.StateDelivered {
		t.Errorf("not handed out: %+v", k)
	}
	br.times.Store(1)
	if err := b.tryCommit(events(101, 1)); !errors.Is(err, event.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	if k := b.history("evt_5", "app"); k.State != event.StateDelivered || len(b.replays()) != 0 { // the reading ended it
		t.Errorf("%+v %+v", k, b.replays())
	}
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	b.tidyNow()
	if b.keys(bucketAgain) != 0 {
		t.Error("its record is left")
	}
}
