package dispatch

import (
	"context"
	"errors"
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

func TestAfterAnUnknownOutcomeNothingIsAttemptedTwiceAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var now [30]atomic.Int32
		w, _ := newWorker(q, func(_ context.Context, d event.Delivery) Result {
			if now[d.Seq].Add(1) > 1 {
				t.Errorf("event %d is attempted twice at once", d.Seq)
			}
			time.Sleep(time.Duration(d.Seq) * time.Second)
			now[d.Seq].Add(-1)
			return Result{Verdict: Done}
		})
		q.unknown = 1
		q.add(8)
		if err := w.Drain(t.Context(), time.Second); err != nil || len(q.done) != 8 {
			t.Errorf("%v, %d delivered", err, len(q.done))
		}
	})
}

func TestTheWatchdogSeesAStuckQueueAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, hangs)
		w.Timeout = time.Hour
		stop := running(t, w)
		q.add(20)
		for range 1000 {
			time.Sleep(7 * time.Second)
			if w.Progress().Overdue() {
				t.Fatal("the worker is taken for stuck")
			}
		}
		stuck := make(chan struct{})
		q.mu.Lock()
		q.stuck = stuck
		q.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if !w.Progress().Overdue() {
			t.Error("the worker is not taken for stuck")
		}
		close(stuck)
		stop()
		time.Sleep(time.Hour)
		if w.Progress().Overdue() {
			t.Error("the worker is taken for stuck after its end")
		}
	})
}

// A retry that comes due before the loop has heard of its settlement is handed out while the attempt still counts as running.
func TestARetryDueBeforeItsSettlementIsHeardOfIsNotForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		q.lag = time.Second
		w, _ := newWorker(q, func(_ context.Context, d event.Delivery) Result {
			if d.Attempts < 3 {
				return Result{Verdict: Retry, Reason: "not yet"}
			}
			return Result{Verdict: Done}
		})
		w.Policy = Policy{Initial: 10 * time.Millisecond, Max: 10 * time.Millisecond, Multiplier: 1, GiveUpAfter: time.Hour}
		stop := running(t, w)
		for range 20 {
			q.add(1) // wakes the loop while others are being settled
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		stop()
		if len(q.done) != 20 {
			t.Errorf("%d of 20 delivered, the rest is in flight for ever", len(q.done))
		}
	})
}
