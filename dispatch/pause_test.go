package dispatch

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"tidings/event"
)

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
		q.order(t, event.SinkState{})
		time.Sleep(time.Second)
		q.order(t, event.SinkState{Health: event.Paused, Since: time.Now()})
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

// A person's pause that is stored a moment before the worker stores what it found itself.
func TestAPauseAtTheSameInstantIsNotOverwritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		var attempts atomic.Int32
		w, _ := newWorker(q, func(context.Context, event.Delivery) Result {
			attempts.Add(1)
			return Result{Verdict: SinkDown, Reason: "no such program"}
		})
		w.Concurrency = 1
		q.meanwhile = &event.SinkState{Health: event.Paused, Since: time.Now(), Reason: "a person"}
		q.add(5)
		stop := running(t, w)
		time.Sleep(time.Hour)
		stop()
		if q.now().Reason != "a person" || attempts.Load() != 1 {
			t.Errorf("state %+v after %d attempts", q.state, attempts.Load())
		}
	})
}

// What a sink asked for holds over a restart, and no longer than it may ask for, whatever the wall clock did.
func TestAHoldSurvivesARestart(t *testing.T) {
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
		time.Sleep(time.Minute)
		stop()
		if until := time.Until(q.now().HeldUntil); q.now().Health != event.Up || until < 58*time.Minute || until > time.Hour {
			t.Errorf("state %+v", q.now())
		}
		stop = running(t, w)
		time.Sleep(58 * time.Minute)
		if attempts.Load() != 1 {
			t.Errorf("%d attempts while held", attempts.Load())
		}
		time.Sleep(2 * time.Minute)
		stop()
		if len(q.done) != 5 {
			t.Errorf("%d delivered after the hold, want 5", len(q.done))
		}

		q.order(t, event.SinkState{Since: time.Now(), HeldUntil: time.Now().AddDate(30, 0, 0)})
		q.add(5)
		stop = running(t, w)
		time.Sleep(longest + time.Minute)
		stop()
		if len(q.done) != 10 {
			t.Errorf("%d delivered, want 10", len(q.done))
		}
	})
}

func TestResumeEndsAHold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, func(_ context.Context, d event.Delivery) Result {
			if d.Attempts == 0 && d.Seq == 1 {
				return Result{Verdict: Retry, Reason: "answered 429", RetryAfter: time.Hour}
			}
			return Result{Verdict: Done}
		})
		w.Concurrency = 1
		q.add(5)
		stop := running(t, w)
		for _, state := range []event.SinkState{{Health: event.Paused, Since: time.Now()}, {}} {
			q.order(t, state)
			time.Sleep(time.Second)
		}
		stop()
		if len(q.done) != 4 {
			t.Errorf("%d delivered, want all but the one that has to wait", len(q.done))
		}
	})
}
