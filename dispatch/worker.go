// Package dispatch delivers what sinks are owed: one Worker a sink takes due deliveries from the queue, has the sink attempt
// them, judges the answers and settles them. It knows neither the store nor what a sink is made of.
//
// What it guarantees, each sink for itself:
//
//   - What is attempted is settled, or given back to the queue: nothing is lost, and nothing is attempted twice at once.
//   - An attempt that a shutdown cuts off, or in which the sink itself could not work, counts for nothing. An event for which
//     alone the sink says so fails like any other.
//   - Retries never hold more than half of the slots (at least one), so events that fail or hang delay no fresh ones by more
//     than they delay each other; with one slot the two kinds take turns.
//   - A sink goes down after downAfter failures in a row over at least two events, when a batch of at least two fresh ones fails
//     as a whole, when it says so itself, or when MaxFailing deliveries fail singly. Then one delivery at a time probes it, on
//     the policy's schedule. A sign of life brings it up at once: a success, or an event refused for good, which shows that
//     the sink works. Events that were never tried probe a down sink on a schedule of their own, as if they alone had failed,
//     so that a few events that always fail can't keep others waiting.
//   - A sink that is paused is left alone until the stored state says otherwise.
//   - A batch has at most batchBytes of events and askStep events more.
package dispatch

import (
	"context"
	"errors"
	"time"

	"tidings/event"
)

// ErrStopping is the cause of an attempt's context when a shutdown cuts it off.
var ErrStopping = errors.New("the daemon is stopping")

const (
	downAfter   = 10                    // failures in a row that make a sink down
	grace       = 10 * time.Second      // what attempts in flight get at a shutdown
	lookAgain   = time.Minute           // the longest time until the queue is asked again, whatever it said
	soonest     = 10 * time.Millisecond // the shortest, so that a queue that is wrong about its times can't make us spin
	minTrouble  = 100 * time.Millisecond
	maxTrouble  = 5 * time.Second
	maxFailures = 10               // of the queue in a row, after which Drain ends
	patience    = 30 * time.Second // without a delivery that was settled for good, after which Drain ends
)

// Worker delivers to one sink. Its fields are set before Run or Drain and not changed afterwards.
type Worker struct {
	Name        string
	Sink        Sink
	Queue       Queue
	Policy      Policy
	Timeout     time.Duration      // of one attempt
	Concurrency int                // attempts at once; at least 1
	Batch       int                // deliveries in one attempt; at least 1
	MaxFailing  int                // as soon as that many deliveries fail singly the sink is down; 0: 10,000
	Notify      func(event.Notice) // told what happens, from one goroutine; nil: nobody is

	progress event.Progress
}

// Progress is the worker's promise to a watchdog.
func (w *Worker) Progress() *event.Progress { return &w.progress }

// Run delivers until ctx ends. Then nothing new is attempted; attempts in flight get until their timeout, at most ten
// seconds, and Run returns nil when they have ended.
func (w *Worker) Run(ctx context.Context) error {
	_, err := w.run(ctx, -1)
	return err
}

// Drain delivers like Run and returns nil when nothing is in flight and nothing comes due within horizon: no fresh event,
// no retry, no probe of a sink that is down. It gives up waiting, and returns nil, when for patience no delivery was settled for
// good: short waits between retries must not keep it for ever. It returns an error when ctx ends first or the queue keeps failing.
func (w *Worker) Drain(ctx context.Context, horizon time.Duration) error {
	drained, err := w.run(ctx, horizon)
	if err == nil && !drained {
		err = context.Cause(ctx)
	}
	return err
}

// loop is one run of a worker. All of it belongs to the goroutine of run; an attempt's goroutine only reports to it.
type loop struct {
	*Worker
	most     int             // MaxFailing or its default
	attempts context.Context // what every attempt's context derives from; ends with ErrStopping
	lasting  context.Context // for the queue: does not end
	finished chan attempted

	flying      map[uint64]bool // what is being attempted; true: the queue handed it out once more meanwhile
	suspects    suspects
	busy        int  // slots in use
	retrying    int  // of these, with retries
	fresh       int  // deliveries in flight that were never attempted before
	failing     int  // deliveries failing singly, as far as known
	retriesTurn bool // one slot: whether the retries come first now
	probing     bool // a probe is in flight

	state        event.SinkState
	reread       bool      // the stored state may be another
	failures     int       // in a row
	firstFailed  uint64    // the delivery that began this row
	othersFailed bool      // another one failed in it too
	nextProbe    time.Time // down: no scheduled probe before
	newcomers    int       // down: deliveries that failed at their first try, the one that made it down included
	nextNewcomer time.Time // down: no probe with one that was never tried before
	held         time.Time // no attempt before: the sink asked for it

	settledAt time.Time // a delivery was settled for good, or the run began

	troubles int       // failures of the queue in a row
	released bool      // the queue has released what is in flight, after a failure
	quiet    time.Time // the queue is asked nothing before
	err      error     // the queue's last failure
}

// run is the loop of Run and Drain; a horizon below zero is endless.
func (w *Worker) run(ctx context.Context, horizon time.Duration) (drained bool, err error) {
	lasting := context.WithoutCancel(ctx)
	attempts, cut := context.WithCancelCause(lasting)
	defer cut(nil)
	defer w.progress.Rest()
	l := &loop{Worker: w, most: w.MaxFailing, attempts: attempts, lasting: lasting, finished: make(chan attempted), reread: true,
		flying: map[uint64]bool{}, suspects: suspects{}, settledAt: time.Now()}
	if l.most == 0 {
		l.most = 10_000
	}

	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wake := w.Queue.Wake(w.Name) // before the queue is asked: what comes after that is signalled
		w.progress.Within(lookAgain)
		var next time.Time
		if ctx.Err() == nil {
			next = l.start()
		}
		if l.busy == 0 {
			switch {
			case ctx.Err() != nil:
				return false, nil
			case horizon >= 0 && l.troubles >= maxFailures:
				return false, l.err
			case horizon >= 0 && l.troubles == 0 && (next.IsZero() || time.Until(next) > horizon || time.Since(l.settledAt) > patience):
				return true, nil
			}
		}
		wait := lookAgain
		if !next.IsZero() {
			wait = min(max(time.Until(next), soonest), lookAgain)
		}
		timer.Reset(wait)
		w.progress.Within(wait + lookAgain)
		select {
		case a := <-l.finished:
			l.finish(a)
		case <-wake:
			l.reread = true
		case <-timer.C:
			l.reread = true
		case <-ctx.Done():
			l.stop(cut)
		}
	}
}

// stop waits for the attempts in flight and cuts off those that take longer than the grace.
func (l *loop) stop(cut context.CancelCauseFunc) {
	defer time.AfterFunc(grace, func() { cut(ErrStopping) }).Stop()
	l.progress.Within(grace + lookAgain)
	for l.busy > 0 {
		l.finish(<-l.finished)
	}
}

// trouble notes how the queue answered and reports whether it failed. After a failure everything rests for a while: what was
// in flight has been given back by the queue itself, and goes out again.
func (l *loop) trouble(err error) bool {
	if err == nil {
		l.troubles = 0
		return false
	}
	l.err = err
	l.troubles++
	l.quiet = time.Now().Add(min(minTrouble<<min(l.troubles-1, 10), maxTrouble))
	return true
}

func (l *loop) tell(n event.Notice) {
	if l.Notify != nil {
		l.Notify(n)
	}
}
