package dispatch

import (
	"errors"
	"fmt"
	"time"

	"tidings/event"
)

// finish takes in what an attempt brought: it frees the slot, tells what was settled, and judges from it how the sink does.
// What did not count is given back last, when the sink that could not take it may be down already.
func (l *loop) finish(a attempted) {
	var again []event.Delivery
	for _, d := range a.batch {
		if l.flying[d.Seq] {
			again = append(again, event.Delivery{Seq: d.Seq})
		}
	}
	defer l.release(again)
	l.occupy(a, -1)
	if len(a.settled) > 0 && l.trouble(a.err) {
		l.released = true // all that was in flight, by the queue itself
		return
	}
	var back []event.Delivery
	var err error
	settled := a.settled
	for i, r := range a.results {
		d := a.batch[i]
		if a.counts(r) {
			l.settled(d, settled[0])
			settled = settled[1:]
		} else {
			back = append(back, d)
		}
		if err == nil && (!a.cut || r.Verdict == Done) {
			err = l.judge(a, d, r)
		}
	}
	if err != nil {
		l.trouble(err)
	}
	l.release(back)
}

// settled tells of a durable settlement.
func (l *loop) settled(d event.Delivery, s event.Settlement) {
	if s.Outcome == event.Dead {
		delete(l.suspects, d.Seq)
	}
	if s.Outcome != event.Retry {
		l.settledAt = time.Now()
	}
	if s.Outcome == event.Retry && d.Attempts == 0 {
		l.failing++
	}
	l.tell(event.Attempted{
		Sink: l.Name, At: s.Attempt.At, Source: d.Event.Source, ID: d.Event.ID, Type: d.Event.Type, Number: d.Attempts + 1,
		Took: s.Attempt.Took, Outcome: s.Outcome, Reason: s.Attempt.Reason, Wait: s.Wait, Received: d.Event.Received,
	})
}

// judge moves the sink's health by one result.
func (l *loop) judge(a attempted, d event.Delivery, r Result) error {
	if l.state.Health == event.Paused {
		return nil // begun before: a person ends the pause and nothing else
	}
	isDown := l.state.Health == event.Down
	newcomer := d.Attempts == 0 && l.suspects[d.Seq] == 0
	switch r.Verdict {
	case Done, Permanent:
		l.failures = 0
		l.suspects.contradict(d.Seq)
		if isDown {
			return l.recover()
		}
		return nil
	case SinkPause:
		return l.change(event.SinkState{Health: event.Paused, Reason: r.Reason})
	case SinkDown:
		l.suspects.accuse(d.Seq)
	}

	if newcomer && (a.probe || !isDown) {
		l.newcomers++
		if !isDown {
			l.newcomers = 1
		}
		l.nextNewcomer = time.Now().Add(l.Policy.Delay(l.newcomers))
	}
	held := false
	if r.RetryAfter > 0 {
		until := time.Now().Add(min(r.RetryAfter, longest))
		if until.After(l.held) {
			l.held = until
		}
		held = l.held.Sub(l.state.HeldUntil) >= time.Second // less is not worth a write
	}
	if isDown {
		if !a.probe { // begun before the sink went down
			return l.keepHold(held)
		}
		state := event.SinkState{Health: event.Down, Since: l.state.Since, Reason: r.Reason, Probes: l.state.Probes + 1}
		if l.full() {
			state.Reason = l.tooMany()
		}
		return l.change(state)
	}
	if l.failures == 0 {
		l.firstFailed, l.othersFailed = d.Seq, false
	}
	l.failures++
	l.othersFailed = l.othersFailed || d.Seq != l.firstFailed
	if r.Verdict == SinkDown || a.whole || l.failures >= downAfter && l.othersFailed {
		return l.change(event.SinkState{Health: event.Down, Reason: r.Reason})
	}
	return l.keepHold(held)
}

// keepHold stores a new hold, so that a restart keeps it too.
func (l *loop) keepHold(held bool) error {
	if !held {
		return nil
	}
	probe, state := l.nextProbe, l.state
	err := l.change(state)
	if l.state.Health == state.Health {
		l.nextProbe = probe
	}
	return err
}

// recover brings a down sink up. While too many deliveries still fail singly it stays down and its probes start anew.
func (l *loop) recover() error {
	if _, err := l.next(0, 0); err != nil {
		return err
	}
	if l.full() {
		return l.change(event.SinkState{Health: event.Down, Since: l.state.Since, Reason: l.tooMany()})
	}
	return l.change(event.SinkState{Health: event.Up})
}

func (l *loop) full() bool { return l.failing >= l.most }

func (l *loop) tooMany() string {
	return fmt.Sprintf("%d events fail singly at this sink, as many as may: mend what refuses them, or drop them", l.failing)
}

// change stores another state and adopts it, unless somebody changed the stored one meanwhile: then that one counts.
func (l *loop) change(state event.SinkState) error {
	now := time.Now()
	if state.Since.IsZero() {
		state.Since = now
	}
	if l.held.After(now) && state.Health != event.Paused {
		state.HeldUntil = l.held
	}
	err := l.Queue.SetState(l.lasting, l.Name, l.state.Health, state)
	if errors.Is(err, event.ErrStale) {
		stored, err := l.Queue.State(l.Name)
		if err == nil {
			l.resume(stored, now)
		}
		return err
	}
	if err != nil {
		return err
	}
	l.adopt(state, now.Add(l.Policy.Delay(state.Probes+1)))
	return nil
}

// resume goes on with a stored state, which may be what a former run left, or what a person said.
func (l *loop) resume(stored event.SinkState, now time.Time) {
	if stored.Health == event.Up && l.state.Health != event.Up {
		l.held = time.Time{} // a person resumed it: try at once
	}
	// By the wall clock, which may have been set: no hold is longer than a sink may ask for.
	if until := stored.HeldUntil; !until.Equal(l.state.HeldUntil) && until.After(l.held) {
		l.held = now.Add(min(until.Sub(now), longest))
	}
	if stored.Health != l.state.Health {
		l.adopt(stored, now)
	}
	l.state = stored
}

// adopt goes by a state from now on; probe is when a sink that is down is probed next.
func (l *loop) adopt(state event.SinkState, probe time.Time) {
	was := l.state.Health
	l.state, l.nextProbe = state, probe
	if state.Health == was {
		return
	}
	l.failures = 0
	n := event.SinkChanged{Sink: l.Name, At: time.Now(), Health: state.Health, Reason: state.Reason}
	if state.Health == event.Down {
		n.Next = probe
	}
	l.tell(n)
}
