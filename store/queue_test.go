package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

func TestNextHandsOutNothingTwice(t *testing.T) {
	b := fresh(t, Options{}, "app", "archive")
	b.commit("p", events(1, 5)...)
	first := b.next("app", 2, 0)
	if !slices.Equal(ids(first.Deliveries), []string{"evt_1", "evt_2"}) || !first.More {
		t.Fatalf("%v more %v", ids(first.Deliveries), first.More)
	}
	second := b.next("app", 9, 0)
	if !slices.Equal(ids(second.Deliveries), []string{"evt_3", "evt_4", "evt_5"}) || second.More {
		t.Fatalf("%v more %v", ids(second.Deliveries), second.More)
	}
	if third := b.next("app", 9, 9); len(third.Deliveries) > 0 {
		t.Fatalf("handed out twice: %v", ids(third.Deliveries))
	}
	b.Release("app", 2, 4)
	if again := b.next("app", 1, 0); !slices.Equal(ids(again.Deliveries), []string{"evt_2"}) || !again.More {
		t.Fatalf("%v more %v", ids(again.Deliveries), again.More)
	}
	if n := len(b.next("archive", 9, 0).Deliveries); n != 5 {
		t.Fatalf("archive got %d", n)
	}
}

func TestSettledStaysSettled(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p", events(1, 6)...)
	due := b.next("app", 6, 0).Deliveries
	b.settle(event.Delivered, 0, due[1], due[4])
	b.settle(event.Dead, 0, due[2])
	b.settle(event.Retry, time.Hour, due[3])
	if k := b.sink("app"); k.Owed != 3 || k.Retrying != 1 || k.Dead != 1 || k.InFlight != 2 {
		t.Fatalf("%+v", k)
	}
	b = b.again("app")
	got := b.next("app", 9, 9)
	if !slices.Equal(ids(got.Deliveries), []string{"evt_1", "evt_6"}) {
		t.Fatalf("after a restart: %v", ids(got.Deliveries))
	}
	if got.Failing != 1 || time.Until(got.Next) > time.Hour || time.Until(got.Next) < 59*time.Minute {
		t.Fatalf("%+v", got)
	}
	b.settle(event.Delivered, 0, got.Deliveries...)
	if k := b.sink("app"); k.Owed != 1 || k.Oldest.IsZero() {
		t.Fatalf("%+v", k)
	}
}

func TestSettlingWhatIsNotInFlightIsRefusedWhole(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p", events(1, 3)...)
	due := b.next("app", 2, 0).Deliveries
	ctx := context.Background()
	ok := event.Settlement{Sink: "app", Seq: due[0].Seq, Outcome: event.Delivered}
	for _, wrong := range []event.Settlement{
		{Sink: "app", Seq: 3, Outcome: event.Delivered}, // not handed out
		{Sink: "app", Seq: 77, Outcome: event.Delivered},
		{Sink: "nobody", Seq: 1, Outcome: event.Delivered},
		ok, // twice in one settlement
		{Sink: "app", Seq: due[1].Seq},
	} {
		if err := b.Settle(ctx, []event.Settlement{ok, wrong}); err == nil {
			t.Fatalf("%+v was taken", wrong)
		}
		if k := b.sink("app"); k.Owed != 3 || k.InFlight != 0 {
			t.Fatalf("%+v: %+v", wrong, k)
		}
		b.next("app", 2, 0)
	}
	if err := b.Settle(ctx, []event.Settlement{ok}); err != nil {
		t.Fatal(err)
	}
}

func TestRetries(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p", events(1, 3)...)
	due := b.next("app", 9, 0).Deliveries
	b.settle(event.Retry, time.Hour, due[0])
	b.settle(event.Retry, 0, due[1], due[2])
	got := b.next("app", 9, 1)
	if !slices.Equal(ids(got.Deliveries), []string{"evt_2"}) || got.Deliveries[0].Attempts != 1 || got.Failing != 3 || time.Until(got.Next) > 0 {
		t.Fatalf("%+v", got)
	}
	got = b.next("app", 9, 9)
	if !slices.Equal(ids(got.Deliveries), []string{"evt_3"}) || time.Until(got.Next) < 59*time.Minute {
		t.Fatalf("%+v", got)
	}
	b.settle(event.Retry, 0, got.Deliveries...)
	got = b.next("app", 9, 9)
	if d := got.Deliveries[0]; d.Attempts != 2 || d.FailingFor <= 0 || d.FailingFor > time.Minute || d.Replay {
		t.Fatalf("%+v", d)
	}
	b.settle(event.Delivered, 0, got.Deliveries...)
	if k := b.sink("app"); k.Owed != 2 || k.Retrying != 2 || k.InFlight != 1 {
		t.Fatalf("%+v", k)
	}
}

func TestProbe(t *testing.T) {
	b := fresh(t, Options{}, "app")
	if _, ok, err := b.Probe("app"); ok || err != nil {
		t.Fatalf("%v %v", ok, err)
	}
	b.commit("p", events(1, 3)...)
	due := b.next("app", 2, 0).Deliveries
	b.settle(event.Retry, time.Hour, due[1])
	b.settle(event.Retry, time.Hour, due[0])
	for _, want := range []string{"evt_3", "evt_2", "evt_1"} { // the fresh one, then the one attempted longest ago
		d, ok, err := b.Probe("app")
		if !ok || err != nil || d.Event.ID != want {
			t.Fatalf("got %s %v %v, not %s", d.Event.ID, ok, err, want)
		}
	}
	if _, ok, _ := b.Probe("app"); ok {
		t.Fatal("a fourth one")
	}
}

func TestUnwantedEventsCostASinkNothing(t *testing.T) {
	b := fresh(t, Options{}, "app", "rare")
	only := topology("app", "rare")
	only.Sinks[1].Events = event.Filter{"rare"}
	b.apply(only)
	evs := events(1, 2*scanLimit)
	evs[10].Type, evs[len(evs)-1].Type = "rare", "rare"
	for i := 0; i < len(evs); i += 1024 {
		b.commit("p", evs[i:i+1024]...)
	}
	var got []event.Delivery
	asked := 0
	for more := true; more; asked++ {
		due := b.next("rare", 10, 0)
		got, more = append(got, due.Deliveries...), due.More
	}
	if !slices.Equal(ids(got), []string{"evt_11", "evt_8192"}) || asked > 3 {
		t.Fatalf("%v in %d askings", ids(got), asked)
	}
	b.settle(event.Delivered, 0, got...)
	// A sink that is owed nothing stands at the head: it finds the next one without looking at what lies between.
	for i := range 5 {
		b.commit("q", events(10_000+1024*i, 1024)...)
	}
	last := events(20_000, 1)
	last[0].Type = "rare"
	b.commit("r", last...)
	due := b.next("rare", 10, 0)
	if !slices.Equal(ids(due.Deliveries), []string{"evt_20000"}) {
		t.Fatalf("%v", ids(due.Deliveries))
	}
	b.settle(event.Delivered, 0, due.Deliveries...)
	before := b.txid()
	b.next("rare", 10, 10)
	if k := b.sink("rare"); k.Owed != 0 || !k.Oldest.IsZero() || b.txid() != before {
		t.Fatalf("%+v", k)
	}
}

// Two change a sink's state at the same instant: the one that knew another state is refused, and nothing of it is kept.
func TestAStateThatWasChangedMeanwhileIsNotOverwritten(t *testing.T) {
	b := fresh(t, Options{}, "app")
	paused := event.SinkState{Health: event.Paused, Reason: "a person"}
	refused := 0
	var all sync.WaitGroup
	results := make(chan error, 2)
	for _, state := range []event.SinkState{paused, {Health: event.Down}} {
		all.Go(func() { results <- b.SetState(context.Background(), "app", event.Up, state) })
	}
	all.Wait()
	for range 2 {
		if err := <-results; errors.Is(err, event.ErrStale) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d were refused", refused)
	}
	was := b.sink("app").State
	if err := b.SetState(context.Background(), "app", event.Up, event.SinkState{}); !errors.Is(err, event.ErrStale) || b.sink("app").State != was {
		t.Errorf("%v, %+v", err, b.sink("app").State)
	}
}

func TestStateSurvives(t *testing.T) {
	b := fresh(t, Options{}, "app")
	down := event.SinkState{Health: event.Down, Since: time.Unix(1e9, 5).UTC(), Reason: "it refuses", Probes: 3,
		HeldUntil: time.Unix(2e9, 0).UTC()}
	if err := b.SetState(context.Background(), "app", event.Up, down); err != nil {
		t.Fatal(err)
	}
	b = b.again("app")
	if got, err := b.State("app"); err != nil || got != down {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := b.State("nobody"); err == nil {
		t.Fatal("an unknown sink has a state")
	}
}

func TestWake(t *testing.T) {
	b := fresh(t, Options{}, "app", "other")
	only := topology("app", "other")
	only.Sinks[1].Events = event.Filter{"else"}
	b.apply(only)
	app, other := b.Wake("app"), b.Wake("other")
	for _, c := range []<-chan struct{}{app, other} {
		select {
		case <-c:
		default:
			t.Fatal("a new configuration wakes everyone")
		}
	}
	b.commit("p", events(1, 1)...)
	select {
	case <-app:
	default:
		t.Fatal("app was not woken")
	}
	select {
	case <-other:
		t.Fatal("other was woken for nothing")
	default:
	}
}

func TestAgeStandsStillWhileTheSinkIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fresh(t, Options{}, "app")
		b.commit("p", events(1, 1)...)
		b.settle(event.Retry, 0, b.next("app", 1, 0).Deliveries...)
		age := func(want time.Duration) {
			t.Helper()
			d := b.next("app", 0, 1).Deliveries[0]
			b.Release("app", d.Seq)
			if diff := d.FailingFor - want; diff < -time.Second || diff > time.Second {
				t.Fatalf("failing for %v, not %v", d.FailingFor, want)
			}
		}
		set := func(h event.Health) {
			t.Helper()
			if err := b.SetState(context.Background(), "app", b.sink("app").State.Health, event.SinkState{Health: h}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		age(time.Hour)
		b.settle(event.Retry, 0, b.next("app", 0, 1).Deliveries...) // another failure is no new age
		age(time.Hour)
		set(event.Down)
		time.Sleep(2 * time.Hour)
		age(time.Hour)
		set(event.Paused)
		b = b.again("app")
		time.Sleep(2 * time.Hour)
		age(time.Hour)
		set(event.Up)
		time.Sleep(time.Hour)
		age(2 * time.Hour)
		b = b.again("app")
		time.Sleep(time.Hour)
		age(3 * time.Hour)
	})
}

func TestNoRetryWaitsLongerThanItsPolicy(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p", events(1, 1)...)
	b.settle(event.Retry, time.Minute, b.next("app", 1, 0).Deliveries...)
	// As if the wall clock had been ahead by a year when it was settled.
	b.end()
	b.editRecord(prefixX+"app", 1, func(key, value []byte) []byte {
		x, err := readException(key, value)
		if err != nil {
			t.Fatal(err)
		}
		x.due = x.due.AddDate(1, 0, 0)
		return x.record(key, 0)
	})
	b = openAt(t, b.path, b.opt)
	if left := time.Until(b.next("app", 0, 1).Next); left > time.Minute || left < 50*time.Second {
		t.Fatalf("due in %v", left)
	}
}
