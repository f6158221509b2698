package dispatch

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"tidings/event"
)

func TestLateFailuresDoNotEndAPause(t *testing.T) {
	for name, late := range map[string]Result{
		"failures": {Verdict: Retry, Reason: "answered 503"}, "a program gone": {Verdict: SinkDown, Reason: "no such program"},
		"a sink that asks for a pause": {Verdict: SinkPause, Reason: "answered 410"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				q := newQueue(t)
				var attempts atomic.Int32
				w, _ := newWorker(q, func(context.Context, event.Delivery) Result {
					attempts.Add(1)
					time.Sleep(2 * time.Second)
					return late
				})
				w.Concurrency = 2 * downAfter
				q.add(100)
				stop := running(t, w)
				q.order(t, event.SinkState{Health: event.Paused, Since: time.Now(), Reason: "a person"})
				time.Sleep(time.Hour)
				stop()
				if s := q.now(); s.Health != event.Paused || s.Reason != "a person" || attempts.Load() != 2*downAfter {
					t.Errorf("state %+v, %d attempts", s, attempts.Load())
				}
			})
		})
	}
}

func TestOneEventThatSaysTheSinkIsDownDelaysNoOther(t *testing.T) {
	for _, concurrency := range []int{1, 8} {
		bubble(t, func(t *testing.T) {
			q := newQueue(t)
			w, _ := newWorker(q, func(_ context.Context, d event.Delivery) Result {
				if d.Seq == 3 || d.Seq == 40 {
					return Result{Verdict: SinkDown, Reason: "exited with code 127"}
				}
				return Result{Verdict: Done}
			})
			w.Concurrency = concurrency
			w.Policy.GiveUpAfter = time.Hour
			q.add(100)
			stop := running(t, w)
			time.Sleep(time.Minute)
			if n := get(q, func() int { return len(q.done) }); n != 98 {
				t.Errorf("with %d slots %d delivered within a minute, want 98", concurrency, n)
			}
			for range 40 {
				time.Sleep(10 * time.Minute)
				q.add(1)
				time.Sleep(5 * time.Second)
				if n := get(q, func() int { return len(q.owed) }); n > 2 {
					t.Fatalf("with %d slots %d are owed", concurrency, n)
				}
			}
			stop()
		})
	}
}

// A sink that a few poison events hold down knows nothing of the next event: that one is tried soon, even when the last one to be
// tried for the first time was poison too, and when poison makes the sink say that it is down.
func TestPoisonThatComesToADownSinkDelaysTheNextEventLittle(t *testing.T) {
	for name, verdict := range map[string]Verdict{"retry": Retry, "the sink is down": SinkDown} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				q := newQueue(t)
				w, _ := newWorker(q, func(_ context.Context, d event.Delivery) Result {
					if d.Seq <= 3 {
						return Result{Verdict: verdict, Reason: "refused"}
					}
					return Result{Verdict: Done}
				})
				q.add(2)
				stop := running(t, w)
				time.Sleep(10 * time.Hour)
				q.add(1)
				time.Sleep(10 * time.Millisecond)
				if q.now().Health != event.Down {
					t.Fatalf("state %+v, want it down: the premise of this test", q.now())
				}
				q.add(1)
				time.Sleep(5 * time.Second)
				if done := get(q, func() []uint64 { return q.done }); !slices.Equal(done, []uint64{4}) {
					t.Errorf("delivered %v, want 4", done)
				}
				stop()
			})
		})
	}
}

func TestWhatTheQueueForgotIsNotAttemptedTwiceAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var now [100]atomic.Int32
		var attempts atomic.Int32
		w, _ := newWorker(q, func(_ context.Context, d event.Delivery) Result {
			if now[d.Seq].Add(1) > 1 {
				t.Errorf("event %d is attempted twice at once", d.Seq)
			}
			attempts.Add(1)
			time.Sleep(10 * time.Second)
			now[d.Seq].Add(-1)
			return Result{Verdict: Done}
		})
		q.add(5)
		stop := running(t, w)
		q.forget() // as a store does that was opened again after another one's transaction
		q.add(1)
		time.Sleep(time.Minute)
		stop()
		if len(q.owed) != 0 || attempts.Load() > 6 {
			t.Errorf("%d owed after %d attempts", len(q.owed), attempts.Load())
		}
	})
}

func TestProbesAreNotMadeTwiceAtOnceEither(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var now atomic.Int32
		w, _ := newWorker(q, func(context.Context, event.Delivery) Result {
			if now.Add(1) > 1 {
				t.Error("it is attempted twice at once")
			}
			defer now.Add(-1)
			time.Sleep(10 * time.Second)
			return Result{Verdict: Done}
		})
		q.add(1)
		stop := running(t, w)
		q.forget()
		q.order(t, event.SinkState{Health: event.Down, Since: time.Now()})
		time.Sleep(time.Minute)
		stop()
		if len(q.owed) != 0 {
			t.Errorf("%d owed", len(q.owed))
		}
	})
}

func TestBatchesAreBoundedInBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		const each = 1 << 20
		data := make([]byte, each)
		var batches []int
		w, _ := newWorker(q, nil)
		w.Concurrency, w.Batch = 1, 256
		w.Sink = batchFunc(func(batch []event.Delivery) []Result {
			if n := q.handedOut(); n > batchBytes/each+askStep {
				t.Errorf("%d MB are in flight", n)
			}
			batches = append(batches, len(batch))
			results := make([]Result, len(batch))
			for i, d := range batch {
				results[i] = Result{Verdict: Done}
				if d.Attempts == 0 && d.Seq%2 == 0 {
					results[i] = Result{Verdict: Retry, Reason: "the first time"}
				}
			}
			return results
		})
		q.add(200)
		q.fatten(data)
		q.add(600)
		stop := running(t, w)
		time.Sleep(3 * time.Second)
		stop()
		if len(q.owed) != 0 || slices.Max(batches) != 256 {
			t.Errorf("%d owed, batches of %v", len(q.owed), batches)
		}
	})
}

func TestRetriesThatFailAsAWholeAreGivenUpByAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, notices := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			if d.Seq <= 3 {
				return fails(ctx, d)
			}
			return Result{Verdict: Done}
		})
		w.Concurrency, w.Batch = 1, 256
		w.Policy = Policy{Initial: time.Second, Max: time.Minute, Multiplier: 2, GiveUpAfter: time.Hour}
		q.add(4)
		stop := running(t, w)
		for range 3 * 3600 {
			q.add(1)
			time.Sleep(time.Second)
		}
		stop()
		if len(q.dead) != 3 || len(changes(*notices)) > 2 {
			t.Errorf("%d were given up on after three hours, want 3; the sink went %d times up and down", len(q.dead), len(changes(*notices)))
		}
	})
}
