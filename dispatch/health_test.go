package dispatch

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"tidings/event"
)

func TestAnOutageOf48HoursKillsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var back atomic.Bool
		var attempts atomic.Int32
		w, notices := newWorker(q, func(context.Context, event.Delivery) Result {
			attempts.Add(1)
			if back.Load() {
				return Result{Verdict: Done}
			}
			return Result{Verdict: Retry, Reason: "refused"}
		})
		w.Policy.GiveUpAfter = time.Hour
		stop := running(t, w)
		for range 48 * 6 {
			q.add(1)
			time.Sleep(10 * time.Minute)
		}
		if n := attempts.Load(); n > 500 || n < 48*4 {
			t.Errorf("%d attempts in 48 hours of outage", n)
		}
		back.Store(true)
		time.Sleep(19 * time.Minute)
		stop()
		if len(q.done) != 48*6 || len(q.dead) != 0 {
			t.Errorf("%d delivered, %d dead", len(q.done), len(q.dead))
		}
		for _, n := range *notices {
			if c, ok := n.(event.SinkChanged); ok {
				if c.Health == event.Down && (c.Reason != "refused" || c.Next.Sub(c.At) < 800*time.Millisecond || c.Next.Sub(c.At) > 1200*time.Millisecond) {
					t.Errorf("told %+v", c)
				}
			}
		}
		if changes := changes(*notices); !slices.Equal(changes, []event.Health{event.Down, event.Up}) {
			t.Errorf("the sink went %v", changes)
		}
	})
}

func TestDownIsProbedOneAtATimeOnTheSchedule(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var at []time.Duration
		began := time.Now()
		w, _ := newWorker(q, func(context.Context, event.Delivery) Result {
			at = append(at, time.Since(began))
			return Result{Verdict: Retry, Reason: "refused"}
		})
		w.Concurrency = 1
		w.Policy.Jitter = 0
		q.add(100)
		stop := running(t, w)
		time.Sleep(40 * time.Second)
		if q.now().Health != event.Down || q.now().Probes != 5 {
			t.Fatalf("state %+v", q.now())
		}
		stop()
		if len(at) != downAfter+5 || at[downAfter] != time.Second || at[downAfter+1] != 3*time.Second || at[downAfter+4] != 31*time.Second {
			t.Errorf("attempts at %v", at)
		}
	})
}

func TestTwoPoisonEventsDoNotKeepALaterOneWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			if d.Seq <= 2 {
				return fails(ctx, d)
			}
			return Result{Verdict: Done}
		})
		q.add(2)
		stop := running(t, w)
		time.Sleep(10 * time.Hour)
		if q.now().Health != event.Down {
			t.Fatalf("state %+v, want it down: the premise of this test", q.now())
		}
		for range 50 {
			q.add(1)
			time.Sleep(time.Second)
			if n := get(q, func() int { return len(q.owed) }); n != 2 {
				t.Fatalf("%d are owed, want the poison ones alone", n)
			}
			time.Sleep(time.Hour)
		}
		stop()
	})
}

func TestOnePoisonEventNeverMakesASinkDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, notices := newWorker(q, fails)
		q.add(1)
		stop := running(t, w)
		time.Sleep(71 * time.Hour)
		stop()
		for _, n := range *notices {
			if c, ok := n.(event.SinkChanged); ok {
				t.Fatalf("%+v", c)
			}
		}
		if len(*notices) < 250 {
			t.Errorf("%d attempts in 71 hours", len(*notices))
		}
	})
}

func TestSinkDownCountsNoAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var attempts atomic.Int32
		w, _ := newWorker(q, func(_ context.Context, d event.Delivery) Result {
			if d.Attempts != 0 {
				t.Errorf("event %d was attempted %d times", d.Seq, d.Attempts)
			}
			if attempts.Add(1) < 20 {
				return Result{Verdict: SinkDown, Reason: "can't start"}
			}
			return Result{Verdict: Done}
		})
		w.Concurrency = 2
		q.add(10)
		stop := running(t, w)
		time.Sleep(time.Second / 2)
		if n := attempts.Load(); n > 2 || q.now().Health != event.Down {
			t.Errorf("%d attempts, state %+v", n, q.now())
		}
		time.Sleep(5 * time.Hour)
		stop()
		if len(q.done) != 10 || q.now().Health != event.Up {
			t.Errorf("%d delivered, state %+v", len(q.done), q.now())
		}
	})
}

func TestABatchThatFailsAsAWholeCountsForNoEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var full atomic.Bool
		full.Store(true)
		var batches []int
		w, _ := newWorker(q, nil)
		w.Concurrency, w.Batch = 1, 256
		w.Sink = batchFunc(func(batch []event.Delivery) []Result {
			batches = append(batches, len(batch))
			results := make([]Result, len(batch))
			for i := range results {
				results[i] = Result{Verdict: Done}
				if full.Load() {
					results[i] = Result{Verdict: Retry, Reason: "no space left"}
				}
			}
			return results
		})
		q.add(1000)
		stop := running(t, w)
		time.Sleep(10 * time.Minute)
		if failing := get(q, func() int { return q.failing() }); q.now().Health != event.Down || failing > 12 {
			t.Errorf("state %+v, %d failing singly", q.state, failing)
		}
		full.Store(false)
		time.Sleep(time.Hour)
		stop()
		if len(q.done) != 1000 || slices.Max(batches) != 256 {
			t.Errorf("%d delivered in batches of %v", len(q.done), batches)
		}
	})
}

func TestTooManyFailingMakeTheSinkDownUntilThereIsRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var mended atomic.Bool
		w, notices := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			switch {
			case mended.Load():
			case d.Seq > 400:
				return hangs(ctx, d)
			case d.Seq%4 != 0:
				return fails(ctx, d)
			}
			return Result{Verdict: Done}
		})
		w.MaxFailing = 50
		q.add(400)
		q.addFailing(20) // hang as often as they can: these slots say nothing of how many fail
		stop := running(t, w)
		for range 3600 {
			time.Sleep(time.Second)
			if n := get(q, func() int { return q.failing() }); n > 50 {
				t.Fatalf("%d fail singly, 50 may", n)
			}
		}
		if q.now().Health != event.Down || q.now().Reason == "answered 503" {
			t.Errorf("state %+v", q.now())
		}
		mended.Store(true)
		time.Sleep(time.Hour)
		stop()
		if len(q.owed) != 0 || q.now().Health != event.Up {
			t.Errorf("%d owed, state %+v", len(q.owed), q.now())
		}
		if changes := changes(*notices); !slices.Equal(changes, []event.Health{event.Down, event.Up}) {
			t.Errorf("the sink went %v", changes)
		}
	})
}

func TestStartsDownWithAProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		q.state = event.SinkState{Health: event.Down, Since: time.Now(), Probes: 30}
		w, _ := newWorker(q, done)
		q.add(20)
		stop := running(t, w)
		time.Sleep(time.Millisecond)
		stop()
		if len(q.done) != 20 {
			t.Errorf("%d delivered", len(q.done))
		}
	})
}

// changes are the states that a sink went through.
func changes(notices []event.Notice) (all []event.Health) {
	for _, n := range notices {
		if c, ok := n.(event.SinkChanged); ok {
			all = append(all, c.Health)
		}
	}
	return all
}

func TestOneProbeAtATime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var now, most atomic.Int32
		w, _ := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			return hangs(ctx, d)
		})
		q.state = event.SinkState{Health: event.Down, Since: time.Now()}
		stop := running(t, w)
		for range 100 {
			q.add(1)
			time.Sleep(time.Second)
		}
		stop()
		if most.Load() != 1 {
			t.Errorf("%d probes at once", most.Load())
		}
	})
}

func TestFailuresBetweenSuccessesAreNotInARow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, notices := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			if d.Seq%downAfter != 0 {
				return fails(ctx, d)
			}
			return Result{Verdict: Done}
		})
		w.Concurrency, w.Policy.Initial = 1, w.Policy.Max
		q.add(20 * downAfter)
		stop := running(t, w)
		time.Sleep(time.Second)
		stop()
		if len(q.settled) != 20*downAfter || len(changes(*notices)) != 0 {
			t.Errorf("%d settled, the sink went %v", len(q.settled), changes(*notices))
		}
	})
}

func TestASmallBatchThatFailsAsAWholeMakesTheSinkDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		attempts := 0
		w, _ := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			attempts++
			return fails(ctx, d)
		})
		w.Concurrency, w.Batch = 1, 256
		q.add(2)
		stop := running(t, w)
		stop()
		if q.state.Health != event.Down || q.failing() != 0 || attempts != 2 {
			t.Errorf("state %+v, %d failing singly, %d attempts", q.state, q.failing(), attempts)
		}
	})
}

func TestTooManyFailingAtTheStartAreAllStillOwed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, notices := newWorker(q, done)
		w.MaxFailing = 50
		q.addFailing(60)
		if err := w.Drain(t.Context(), time.Hour); err != nil || len(q.done) != 60 {
			t.Errorf("%v, %d delivered", err, len(q.done))
		}
		if changes := changes(*notices); !slices.Equal(changes, []event.Health{event.Down, event.Up}) {
			t.Errorf("the sink went %v", changes)
		}
	})
}
