package dispatch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

type batchFunc func(batch []event.Delivery) []Result

func (f batchFunc) Deliver(_ context.Context, batch []event.Delivery) []Result { return f(batch) }

func (q *queue) failing() (n int) {
	for _, o := range q.owed {
		if o.d.Attempts > 0 {
			n++
		}
	}
	return n
}

func TestAttemptsInFlightEndBeforeRunDoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			if d.Seq%2 == 0 {
				time.Sleep(9 * time.Second)
				return Result{Verdict: Done}
			}
			time.Sleep(9 * time.Second)
			return Result{Verdict: Retry, Reason: "answered 500"}
		})
		q.add(20)
		stop := running(t, w)
		began := time.Now()
		stop()
		if took := time.Since(began); took != 9*time.Second {
			t.Errorf("Run took %v to end", took)
		}
		if len(q.done) != 4 || q.failing() != 4 || len(q.owed) != 16 {
			t.Errorf("%d delivered, %d failing, %d owed; want what was in flight settled, and nothing begun", len(q.done), q.failing(), len(q.owed))
		}
	})
}

func TestAnAttemptCutOffDoesNotCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, notices := newWorker(q, func(ctx context.Context, d event.Delivery) Result {
			<-ctx.Done()
			if cause := context.Cause(ctx); !errors.Is(cause, ErrStopping) {
				t.Errorf("cut off by %v", cause)
			}
			if d.Seq == 1 {
				return Result{Verdict: Done} // it had just got there
			}
			return Result{Verdict: Retry, Reason: "cut off"}
		})
		w.Timeout, w.Concurrency = time.Minute, 2*downAfter
		q.add(40)
		stop := running(t, w)
		began := time.Now()
		stop()
		if took := time.Since(began); took != grace {
			t.Errorf("Run took %v to end", took)
		}
		if len(q.done) != 1 || q.failing() != 0 || len(*notices) != 1 || q.state.Health != event.Up {
			t.Errorf("%d delivered, %d failing, told %v, state %+v", len(q.done), q.failing(), *notices, q.state)
		}
		for seq, o := range q.owed {
			if o.inFlight {
				t.Errorf("event %d was kept in flight", seq)
			}
		}
	})
}

func TestATimeoutDuringTheGraceCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, hangs)
		w.Timeout = 5 * time.Second
		q.add(1)
		stop := running(t, w)
		stop()
		if q.failing() != 1 {
			t.Errorf("%d failing, want 1", q.failing())
		}
	})
}

func TestDrain(t *testing.T) {
	const horizon = 5 * time.Second
	for _, c := range []struct {
		name    string
		prepare func(q *queue, w *Worker)
		took    time.Duration
		owed    int
	}{
		{"nothing owed", func(*queue, *Worker) {}, 0, 0},
		{"all delivered", func(q *queue, _ *Worker) { q.add(50) }, 0, 0},
		{"slow ones", func(q *queue, w *Worker) {
			q.add(16)
			w.Sink = sinkFunc(func(context.Context, event.Delivery) Result {
				time.Sleep(10 * time.Second)
				return Result{Verdict: Done}
			})
		}, 20 * time.Second, 0},
		{"a retry within the horizon", func(q *queue, w *Worker) {
			q.add(1)
			w.Sink = sinkFunc(func(ctx context.Context, d event.Delivery) Result {
				if d.Attempts < 2 {
					return fails(ctx, d)
				}
				return Result{Verdict: Done}
			})
		}, 3 * time.Second, 0},
		{"retries until the horizon", func(q *queue, w *Worker) { q.add(1); w.Sink = sinkFunc(fails) }, 7 * time.Second, 1},
		{"down: probes until the horizon", func(q *queue, w *Worker) { q.add(50); w.Sink = sinkFunc(fails) }, 7 * time.Second, 50},
		{"paused", func(q *queue, _ *Worker) { q.add(5); q.state.Health = event.Paused }, 0, 5},
		{"down with nothing owed", func(q *queue, _ *Worker) { q.state.Health = event.Down }, 0, 0},
		{"retries that are always soon due", func(q *queue, w *Worker) {
			q.add(1)
			w.Sink, w.Policy.Max = sinkFunc(fails), 4*time.Second
		}, 31 * time.Second, 1},
		{"down: probes that are always soon due", func(q *queue, w *Worker) {
			q.add(50)
			w.Sink, w.Policy.Max = sinkFunc(fails), 4*time.Second
		}, 31 * time.Second, 50},
		{"slow, and some always fail", func(q *queue, w *Worker) {
			q.add(100)
			w.Concurrency, w.Policy.Max = 1, 4*time.Second
			w.Sink = sinkFunc(func(ctx context.Context, d event.Delivery) Result {
				if d.Seq == 3 {
					return fails(ctx, d)
				}
				time.Sleep(time.Second)
				return Result{Verdict: Done}
			})
		}, 133 * time.Second, 1},
		{"held for long", func(q *queue, w *Worker) {
			q.add(20)
			w.Sink = sinkFunc(func(context.Context, event.Delivery) Result { return Result{Verdict: Retry, RetryAfter: time.Minute} })
		}, 0, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				q := newQueue(t)
				w, _ := newWorker(q, done)
				w.Policy.Jitter = 0
				c.prepare(q, w)
				began := time.Now()
				if err := w.Drain(t.Context(), horizon); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != c.took || len(q.owed) != c.owed {
					t.Errorf("ended after %v with %d owed, want %v and %d", took, len(q.owed), c.took, c.owed)
				}
			})
		})
	}
}

func TestDrainEndsWithAnError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		q := newQueue(t)
		w, _ := newWorker(q, done)
		q.add(1)
		q.broken = errors.New("no disk")
		if err := w.Drain(t.Context(), time.Second); !errors.Is(err, q.broken) {
			t.Errorf("a queue that keeps failing: %v", err)
		}

		q.broken = nil
		w.Sink = sinkFunc(hangs)
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("interrupted")
		go func() { time.Sleep(time.Second); cancel(stopped) }()
		if err := w.Drain(ctx, time.Second); !errors.Is(err, stopped) {
			t.Errorf("interrupted: %v", err)
		}
		synctest.Wait()
	})
}
