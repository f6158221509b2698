package store

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

func TestDeadLetters(t *testing.T) {
	b := fresh(t, Options{}, "app", "zeta")
	b.commit("p", events(1, 5)...)
	due := b.next("app", 9, 0).Deliveries
	b.settle(event.Retry, 0, due[0])
	again := b.next("app", 0, 1).Deliveries
	b.settle(event.Dead, 0, append(again, due[1:4]...)...)
	b.settle(event.Dead, 0, b.next("zeta", 1, 0).Deliveries...)
	all := b.letters(event.DeadQuery{})
	if len(all) != 5 || all[0].Seq != 1 || all[0].Attempts != 2 || all[4].Sink != "zeta" {
		t.Fatalf("%+v", all)
	}
	l := all[0]
	if l.Reason != "it said 500" || l.Last.Answer != "oops" || string(l.Event.Data) != `{"n":1}` || l.Event.Source != "api" || time.Since(l.DeadAt) > time.Minute {
		t.Fatalf("%+v", l)
	}
	if got := b.letters(event.DeadQuery{Sink: "app", After: 1, Limit: 2}); len(got) != 2 || got[0].Seq != 2 {
		t.Fatalf("%+v", got)
	}
	if got := b.letters(event.DeadQuery{IDs: []string{"evt_1"}}); len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	n, err := b.DropDead(context.Background(), "app", []uint64{2, 2, 99})
	if n != 1 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	n, err = b.RetryDead(context.Background(), "app", []uint64{1, 3, 2})
	if n != 2 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	b = b.again("app", "zeta")
	got := b.next("app", 0, 9)
	if !slices.Equal(ids(got.Deliveries), []string{"evt_1", "evt_3"}) || got.Failing != 0 {
		t.Fatalf("%+v", got)
	}
	if d := got.Deliveries[0]; d.Attempts != 2 || d.FailingFor != 0 || !d.Replay {
		t.Fatalf("%+v", d)
	}
	b.settle(event.Retry, 0, got.Deliveries[0])
	if d := b.next("app", 0, 9).Deliveries[0]; d.Attempts != 3 || !d.Replay || d.FailingFor <= 0 {
		t.Fatalf("%+v", d)
	}
	if k := b.sink("app"); k.Dead != 1 || k.Owed != 3 {
		t.Fatalf("%+v", k)
	}
}

func TestADeadLetterComesBackAfterTheLogLostItsEvent(t *testing.T) {
	b := fresh(t, Options{Keep: 0}, "app", "other")
	b.commit("p", events(1, 3)...)
	for _, sink := range []string{"app", "other"} {
		due := b.next(sink, 9, 0).Deliveries
		b.settle(event.Dead, 0, due[1])
		b.settle(event.Delivered, 0, due[0], due[2])
	}
	b.tidyNow()
	if stats, _ := b.Stats(); stats.Events != 0 {
		t.Fatalf("%d events left", stats.Events)
	}
	for _, sink := range []string{"app", "other"} {
		if n, err := b.RetryDead(context.Background(), sink, []uint64{2}); n != 1 || err != nil {
			t.Fatalf("%d %v", n, err)
		}
	}
	b.tidyNow()
	for _, sink := range []string{"app", "other"} {
		due := b.next(sink, 0, 9)
		if !slices.Equal(ids(due.Deliveries), []string{"evt_2"}) {
			t.Fatalf("%v", ids(due.Deliveries))
		}
		b.settle(event.Delivered, 0, due.Deliveries...)
		b.tidyNow()
	}
	if stats, _ := b.Stats(); stats.Events != 0 {
		t.Fatalf("%d events left", stats.Events)
	}
}

func TestReasonsAndAnswersAreCut(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p", events(1, 1)...)
	d := b.next("app", 1, 0).Deliveries[0]
	v := event.Settlement{Sink: "app", Seq: d.Seq, Outcome: event.Dead,
		Attempt: event.Attempt{Reason: strings.Repeat("ä", 400), Answer: strings.Repeat("ö", 20000) + "end"}}
	if err := b.Settle(context.Background(), []event.Settlement{v}); err != nil {
		t.Fatal(err)
	}
	l := b.letters(event.DeadQuery{})[0]
	if len(l.Reason) != maxReason || len(l.Last.Answer) > maxAnswer || !strings.HasSuffix(l.Last.Answer, "öend") || strings.ToValidUTF8(l.Last.Answer, "?") != l.Last.Answer {
		t.Fatalf("%d and %d bytes", len(l.Reason), len(l.Last.Answer))
	}
}

// What was collected has no history, also where other events keep the block of its attempts alive.
func TestWhatComesBackIntoTheLogBeginsAnew(t *testing.T) {
	b := fresh(t, Options{}, "app", "other", "third")
	b.commit("p", events(1, 3)...)
	for _, sink := range []string{"app", "other"} {
		b.settle(event.Dead, 0, b.next(sink, 1, 0).Deliveries...)
		b.settle(event.Delivered, 0, b.next(sink, 2, 0).Deliveries...)
	}
	b.settle(event.Delivered, 0, b.next("third", 2, 0).Deliveries...) // 3 stays owed to it
	retry := func(sink string) {
		t.Helper()
		if n, err := b.RetryDead(context.Background(), sink, []uint64{1}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	retry("app")
	b.settle(event.Delivered, 0, b.next("app", 0, 1).Deliveries...)
	b.replay(event.Replay{Sink: "app", To: 2}, 1)
	time.Sleep(2 * time.Millisecond)
	b.settle(event.Dead, 0, b.next("app", 1, 0).Deliveries...)
	b.tidyNow()
	if n := b.stats().Events; n != 1 {
		t.Fatalf("%d events are left", n)
	}
	retry("other")
	if n, err := b.DropDead(context.Background(), "app", []uint64{1}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for _, sink := range []string{"app", "third"} {
		if k := b.history("evt_1", sink); k.State != event.StateUnwanted || len(k.Tried) != 0 {
			t.Errorf("%+v", k)
		}
	}
	if k := b.history("evt_1", "other"); k.State != event.StateOwed || k.Attempts != 1 || len(k.Tried) != 1 {
		t.Errorf("%+v", k)
	}
	if k := b.history("evt_3", "app"); k.State != event.StateDelivered || len(k.Tried) != 1 {
		t.Errorf("%+v", k) // the rest of the block stands
	}
}
