package dispatch

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

// bubble runs f where time is fake.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestDeliversAllInOrderOfTakingInWithinItsConcurrency(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var now, most atomic.Int32
		w, notices := newWorker(q, func(context.Context, event.Delivery) Result {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			return Result{Verdict: Done}
		})
		q.add(100)
		stop := running(t, w)
		time.Sleep(14 * time.Second)
		if most.Load() != 8 {
			t.Errorf("%d attempts at once, want 8", most.Load())
		}
		q.add(1) // wakes
		time.Sleep(1001 * time.Millisecond)
		stop()
		if len(q.done) != 101 || len(*notices) != 101 {
			t.Errorf("%d delivered and %d told, want 101", len(q.done), len(*notices))
		}
		for i, seq := range q.done {
			if int(seq)/8 > i/8+1 {
				t.Errorf("event %d came as number %d", seq, i)
			}
		}
	})
}

func TestOneEventFollowsTheScheduleAndIsGivenUpByAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, notices := newWorker(q, fails)
		w.Policy = Policy{Initial: time.Second, Max: 15 * time.Minute, Multiplier: 2, GiveUpAfter: 24 * time.Hour}
		q.add(1)
		began := time.Now()
		stop := running(t, w)
		time.Sleep(48 * time.Hour)
		stop()
		var at []time.Duration
		for _, n := range *notices {
			at = append(at, n.(event.Attempted).At.Sub(began).Round(time.Second))
		}
		for i, want := range []time.Duration{0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1923, 2823} {
			if i >= len(at) || at[i] != want*time.Second {
				t.Fatalf("attempts at %v, want number %d at %ds", at, i+1, want)
			}
		}
		last := (*notices)[len(*notices)-1].(event.Attempted)
		if len(q.dead) != 1 || last.Outcome != event.Dead || at[len(at)-1] < 24*time.Hour || at[len(at)-1] > 24*time.Hour+15*time.Minute {
			t.Errorf("dead %v, last attempt %+v at %v, want it given up at 24h", q.dead, last, at[len(at)-1])
		}
		if q.now().Health != event.Up {
			t.Error("one poison event made the sink down")
		}
	})
}

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
		var changes []event.Health
		for _, n := range *notices {
			if c, ok := n.(event.SinkChanged); ok {
				changes = append(changes, c.Health)
				if c.Health == event.Down && (c.Reason != "refused" || c.Next.Sub(c.At) < 800*time.Millisecond || c.Next.Sub(c.At) > 1200*time.Millisecond) {
					t.Errorf("told %+v", c)
				}
			}
		}
		if !slices.Equal(changes, []event.Health{event.Down, event.Up}) {
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

func TestPoisonEventsDelayNoOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			if d.Seq%3 == 0 {
				return fails(ctx, d)
			}
			time.Sleep(100 * time.Millisecond)
			return Result{Verdict: Done}
		})
		q.add(300)
		stop := running(t, w)
		time.Sleep(200*100*time.Millisecond/4 + time.Second) // at least four slots for those that succeed
		if n := get(q, func() int { return len(q.done) }); n != 200 {
			t.Errorf("%d delivered, want 200", n)
		}
		stop()
	})
}

func TestAThousandHangingRetriesDoNotStarveFreshOnes(t *testing.T) {
	for _, concurrency := range []int{1, 2, 8} {
		bubble(t, func(t *testing.T) {
			q := newQueue(t)
			w, _ := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
				if d.Seq <= 1000 {
					return hangs(ctx, d)
				}
				return Result{Verdict: Done}
			})
			w.Concurrency = concurrency
			q.addFailing(1000)
			stop := running(t, w)
			for range 20 {
				q.add(1)
				began, want := time.Now(), q.last
				for get(q, func() bool { return q.owed[want] != nil }) {
					time.Sleep(100 * time.Millisecond)
				}
				if took := time.Since(began); took > 16*time.Second || concurrency > 1 && took > 200*time.Millisecond {
					t.Fatalf("with %d slots a fresh event waited %v", concurrency, took)
				}
			}
			stop()
		})
	}
}

func TestFreshOnesDoNotStarveRetries(t *testing.T) {
	for _, concurrency := range []int{1, 8} {
		bubble(t, func(t *testing.T) {
			q := newQueue(t)
			w, _ := newWorker(q, func(context.Context, event.Delivery) Result {
				time.Sleep(time.Second)
				return Result{Verdict: Done}
			})
			w.Concurrency = concurrency
			q.addFailing(20)
			q.add(1000)
			stop := running(t, w)
			time.Sleep(50 * time.Second)
			stop()
			for seq := uint64(1); seq <= 20; seq++ {
				if q.owed[seq] != nil {
					t.Fatalf("with %d slots retry %d waits still", concurrency, seq)
				}
			}
		})
	}
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

func TestRetryAfterHoldsTheWholeSink(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var attempts atomic.Int32
		w, _ := newWorker(q, func(context.Context, event.Delivery) Result {
			if attempts.Add(1) == 1 {
				return Result{Verdict: Retry, Reason: "answered 429", RetryAfter: time.Hour}
			}
			return Result{Verdict: Done}
		})
		w.Concurrency = 1
		q.add(5)
		stop := running(t, w)
		time.Sleep(time.Hour - time.Second)
		if attempts.Load() != 1 || q.now().Health != event.Up {
			t.Errorf("%d attempts while held, state %+v", attempts.Load(), q.now())
		}
		time.Sleep(2 * time.Second)
		stop()
		if len(q.done) != 5 {
			t.Errorf("%d delivered after the hold, want 5", len(q.done))
		}
	})
}

func TestWaitHoldsItsEventAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, func(_ context.Context, d event.Delivery) Result {
			if d.Seq == 1 && d.Attempts == 0 {
				return Result{Verdict: Retry, Reason: "answered 425", Wait: time.Hour}
			}
			return Result{Verdict: Done}
		})
		q.add(5)
		stop := running(t, w)
		time.Sleep(time.Hour - time.Second)
		if n := get(q, func() int { return len(q.done) }); n != 4 {
			t.Errorf("%d delivered, want the other 4", n)
		}
		time.Sleep(2 * time.Second)
		stop()
		if len(q.done) != 5 {
			t.Errorf("%d delivered, want 5", len(q.done))
		}
	})
}

func TestPauseLosesNothingAndWaitsForAPerson(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var attempts atomic.Int32
		var gone atomic.Bool
		gone.Store(true)
		w, _ := newWorker(q, func(context.Context, event.Delivery) Result {
			attempts.Add(1)
			if gone.Load() {
				return Result{Verdict: SinkPause, Reason: "answered 410 Gone"}
			}
			return Result{Verdict: Done}
		})
		q.add(20)
		stop := running(t, w)
		time.Sleep(100 * time.Hour)
		if n := attempts.Load(); n > 8 || q.now().Health != event.Paused || get(q, func() int { return len(q.settled) }) != 0 {
			t.Errorf("%d attempts, state %+v", n, q.now())
		}
		gone.Store(false)
		if err := q.SetState(t.Context(), "s", event.SinkState{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := q.SetState(t.Context(), "s", event.SinkState{Health: event.Paused, Since: time.Now()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		q.add(1)
		time.Sleep(time.Hour)
		stop()
		if len(q.done) != 20 || len(q.owed) != 1 {
			t.Errorf("%d delivered and %d owed, want 20 and 1", len(q.done), len(q.owed))
		}
		for _, s := range q.settled {
			if s.Outcome != event.Delivered {
				t.Errorf("%+v", s)
			}
		}
	})
}

func TestAPauseOrderedMeanwhileIsNotOverwritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			if d.Seq == 1 {
				q.mu.Lock()
				q.state = event.SinkState{Health: event.Paused, Since: time.Now(), Reason: "a person"} // and the signal is late
				q.mu.Unlock()
			}
			return Result{Verdict: SinkDown, Reason: "no such program"}
		})
		w.Concurrency = 1
		q.add(5)
		stop := running(t, w)
		time.Sleep(time.Hour)
		stop()
		if q.now().Reason != "a person" || len(q.owed) != 5 {
			t.Errorf("state %+v, %d owed", q.state, len(q.owed))
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
		w, _ := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			if d.Seq%2 == 0 && !mended.Load() {
				return fails(ctx, d)
			}
			return Result{Verdict: Done}
		})
		w.MaxFailing = 50
		q.add(400)
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
	})
}

func TestAnUnknownOutcomeGoesOutAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, notices := newWorker(q, done)
		q.unknown = 3
		q.add(20)
		stop := running(t, w)
		time.Sleep(time.Minute)
		q.mu.Lock()
		q.broken = errors.New("no disk")
		q.mu.Unlock()
		q.add(5)
		time.Sleep(time.Hour)
		q.mu.Lock()
		q.broken = nil
		q.mu.Unlock()
		time.Sleep(6 * time.Second)
		stop()
		if len(q.done) != 25 || len(*notices) != 25 {
			t.Errorf("%d delivered and %d told, want 25", len(q.done), len(*notices))
		}
	})
}

func TestAsksAgainWhenTheQueueHasMoreThanItFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, done)
		q.blind = 20
		q.add(3)
		if err := w.Drain(t.Context(), 0); err != nil || len(q.done) != 3 {
			t.Errorf("%v, %d delivered", err, len(q.done))
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
