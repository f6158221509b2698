package dispatch

import (
	"context"
	"slices"
	"time"

	"tidings/event"
)

const (
	batchBytes = 8 << 20 // of events, as soon as a batch has which it gets no more
	askStep    = 8       // how many are asked for at once for a batch: what goes beyond batchBytes is at most these
)

// start begins every attempt that may begin now and returns when to look again if nothing happens until then; zero: no sooner.
func (l *loop) start() time.Time {
	now := time.Now()
	if now.Before(l.quiet) {
		return l.quiet
	}
	if l.released && l.busy > 0 {
		return time.Time{} // what is still being attempted would be handed out a second time
	}
	l.released = false
	if l.reread {
		state, err := l.Queue.State(l.Name)
		if l.trouble(err) {
			return l.quiet
		}
		l.reread = false
		l.resume(state, now)
	}
	if l.state.Health != event.Paused && now.Before(l.held) {
		return l.held
	}
	var next time.Time
	var err error
	switch l.state.Health {
	case event.Up:
		next, err = l.fill()
	case event.Down:
		next, err = l.probe(now)
	}
	if l.trouble(err) {
		return l.quiet
	}
	return next
}

// fill gives the free slots of a sink that is up to what is due, and returns when to look for the next that has a slot.
// Retries go first, up to their share; with one slot the kinds take turns.
func (l *loop) fill() (next time.Time, err error) {
	if l.Concurrency == 1 && !l.retriesTurn {
		if next, err = l.fillFresh(); err != nil {
			return next, err
		}
	}
	retry, err := l.fillRetries()
	if err != nil || l.state.Health != event.Up {
		return retry, err
	}
	next, err = l.fillFresh()
	if next.IsZero() {
		next = retry
	}
	return next, err
}

// fillFresh returns now if the queue has to be asked again to find the fresh ones that it has.
func (l *loop) fillFresh() (time.Time, error) {
	n := min((l.Concurrency-l.busy)*l.Batch, l.most-l.failing-l.fresh)
	if n <= 0 {
		return time.Time{}, nil
	}
	due, _, err := l.take(n, func(n int) (event.Due, error) { return l.next(n, 0) })
	l.attempt(due.Deliveries, attempted{})
	if due.More && l.busy < l.Concurrency && len(due.Deliveries) < n {
		return time.Now(), err
	}
	return time.Time{}, err
}

// fillRetries takes the sink down instead when too many deliveries fail.
func (l *loop) fillRetries() (time.Time, error) {
	slots := min(l.Concurrency-l.busy, max(1, l.Concurrency/2)-l.retrying)
	if slots <= 0 {
		return time.Time{}, nil
	}
	due, more, err := l.take(slots*l.Batch, func(n int) (event.Due, error) { return l.next(0, n) })
	if err == nil && l.full() {
		err = l.change(event.SinkState{Health: event.Down, Reason: l.tooMany()})
		l.release(due.Deliveries)
		return l.nextProbe, err
	}
	l.attempt(due.Deliveries, attempted{retry: true})
	if more {
		return time.Time{}, err // a slot that comes free looks again
	}
	return due.Next, err
}

// take asks for n deliveries in steps, and for no more once it has as many bytes as one batch may have. More says that there may
// be others that are due. What it took before an error it returns beside it.
func (l *loop) take(n int, ask func(n int) (event.Due, error)) (all event.Due, more bool, err error) {
	step := n
	if l.Batch > 1 {
		step = askStep
	}
	size := 0
	for size < batchBytes && len(all.Deliveries) < n {
		asked := min(step, n-len(all.Deliveries))
		due, err := ask(asked)
		taken := append(all.Deliveries, due.Deliveries...)
		for _, d := range due.Deliveries {
			size += len(d.Event.Data)
		}
		if all = due; err != nil || len(due.Deliveries) < asked {
			all.Deliveries = taken
			return all, false, err
		}
		all.Deliveries = taken
	}
	return all, true, nil
}

// probe tries a sink that is down with one delivery if the time has come, and returns when it will have.
func (l *loop) probe(now time.Time) (time.Time, error) {
	switch {
	case l.probing || l.busy == l.Concurrency:
		return time.Time{}, nil
	case now.Before(l.nextProbe):
		return l.probeNewcomer(now)
	}
	if _, err := l.next(0, 0); err != nil {
		return time.Time{}, err
	}
	if l.full() { // only a failing one that succeeds makes room
		due, err := l.next(0, 1)
		l.attempt(due.Deliveries, attempted{probe: true})
		if err != nil || l.probing {
			return time.Time{}, err
		}
	}
	d, found, err := l.candidate()
	if err == nil && found {
		l.attempt([]event.Delivery{d}, attempted{probe: true})
	}
	return time.Time{}, err
}

// probeNewcomer tries a sink that is down before its time, with one that was never tried: newcomers have a schedule of their own.
func (l *loop) probeNewcomer(now time.Time) (time.Time, error) {
	switch {
	case l.full() || !l.nextNewcomer.Before(l.nextProbe):
		return l.nextProbe, nil
	case now.Before(l.nextNewcomer):
		return l.nextNewcomer, nil
	}
	due, err := l.newcomer()
	l.attempt(due.Deliveries, attempted{probe: true})
	if due.More && !l.probing {
		return now, err
	}
	return l.nextProbe, err
}

func (l *loop) next(fresh, retries int) (event.Due, error) {
	due, err := l.Queue.Next(l.Name, fresh, retries)
	if err == nil {
		l.failing = due.Failing
	}
	due.Deliveries = slices.DeleteFunc(due.Deliveries, l.isFlying)
	return due, err
}

// isFlying reports whether a delivery that was handed out is being attempted already. That happens when the queue was read anew
// and knows of nothing in flight: the attempt that runs settles it. And it happens when a retry comes due between its
// settlement and the moment that finish hears of it. It is noted, and given back when the attempt has ended.
func (l *loop) isFlying(d event.Delivery) bool {
	_, flying := l.flying[d.Seq]
	if flying {
		l.flying[d.Seq] = true
	}
	return flying
}

func (l *loop) release(back []event.Delivery) {
	seqs := make([]uint64, len(back))
	for i, d := range back {
		seqs[i] = d.Seq
	}
	if len(seqs) > 0 {
		l.Queue.Release(l.Name, seqs...)
	}
}

// attempted is what an attempt's goroutine reports.
type attempted struct {
	batch   []event.Delivery
	results []Result           // in the batch's order
	settled []event.Settlement // of those that counted
	retry   bool               // it held a retry's slot
	probe   bool               // it tried a sink that is down
	cut     bool               // a shutdown cut it off: only a result that is Done says something
	whole   bool               // it failed as a whole: the sink did, not its events
	alone   bool               // if it says that the sink is down, the event is to blame
	err     error              // of the queue: nothing of settled may be assumed
}

// attempt starts a goroutine a batch. There are slots for them.
func (l *loop) attempt(due []event.Delivery, kind attempted) {
	for batch := range slices.Chunk(due, l.Batch) {
		a := kind
		a.batch = batch
		a.alone = len(batch) == 1 && l.suspects[batch[0].Seq] == convicted
		l.occupy(a, 1)
		if l.Concurrency == 1 {
			l.retriesTurn = !a.retry
		}
		go func() { l.finished <- l.deliver(a) }()
	}
}

// occupy keeps count of what is in flight.
func (l *loop) occupy(a attempted, by int) {
	l.busy += by
	for _, d := range a.batch {
		if by > 0 {
			l.flying[d.Seq] = false
		} else {
			delete(l.flying, d.Seq)
		}
	}
	switch {
	case a.probe:
		l.probing = by > 0
	case a.retry:
		l.retrying += by
	default:
		l.fresh += by * len(a.batch)
	}
}

// deliver has the sink attempt a batch and settles what counts of it. What does not count is left to the loop.
func (l *loop) deliver(a attempted) attempted {
	ctx, cancel := context.WithTimeout(l.attempts, l.Timeout)
	defer cancel()
	at := time.Now()
	a.results = l.Sink.Deliver(ctx, a.batch)
	took := time.Since(at)
	a.cut = context.Cause(ctx) == ErrStopping
	if a.alone && a.results[0].Verdict == SinkDown {
		a.results[0].Verdict = Retry
	}
	a.whole = len(a.batch) > 1 && !a.retry
	for _, r := range a.results {
		a.whole = a.whole && r.Verdict == Retry
	}
	for i, r := range a.results {
		if a.counts(r) {
			a.settled = append(a.settled, l.Policy.settle(a.batch[i], r, at, took))
		}
	}
	if len(a.settled) > 0 {
		a.err = l.Queue.Settle(l.lasting, a.settled)
	}
	return a
}

// counts reports whether r is an attempt of its event.
func (a attempted) counts(r Result) bool {
	switch r.Verdict {
	case Done:
		return true
	case Retry, Permanent:
		return !a.cut && !a.whole
	}
	return false
}
