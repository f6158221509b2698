package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidings/event"
)

// scanLimit bounds how many events of the log one asking looks at.
const scanLimit = 4096

var errMissing = errors.New("it is missing")

// plan is what one asking means to hand out: decided under the lock, read without it, and void if the store was read anew
// meanwhile.
type plan struct {
	index  uint16
	fresh  []uint64 // from before scan
	want   int      // how many more fresh ones, from scan on
	unseen uint64   // how many fresh ones there are from scan to head
	scan   uint64
	head   uint64 // the first seq not to look at: memory doesn't know of it yet
	failed []*exception

	replay    *replayJob // the one that hands out something, if one does
	again     []uint64   // of it, from before its scan
	againWant int        // how many more, from its scan on
	againScan uint64
	againTo   uint64
	version   uint64 // of the sink
}

// Next hands out at most fresh deliveries that were never attempted and at most retries whose time has come. Of the fresh ones
// half are a replay's, as long as there are both. When it has
// looked at as much of the log as one asking may, it can hand out none and still say More.
func (s *Store) Next(name string, fresh, retries int) (event.Due, error) {
	return s.handOut(name, func(k *sink, p *plan) {
		again := k.share(fresh)
		k.planFresh(p, fresh-again)
		k.planReplay(p, again)
		for now := time.Now(); len(p.failed) < retries && len(k.due) > 0 && !k.due[0].due.After(now); {
			p.failed = append(p.failed, k.due[0])
			k.take(k.due[0])
		}
	})
}

// Probe hands out one delivery to try a sink that is down with: a fresh one, else the failing one attempted longest ago.
func (s *Store) Probe(name string) (event.Delivery, bool, error) {
	for {
		due, err := s.handOut(name, func(k *sink, p *plan) {
			if k.waiting() {
				k.planFresh(p, 1)
			} else if k.replaying() {
				k.planReplay(p, 1)
			} else if len(k.due) > 0 {
				oldest := slices.MinFunc(k.due, func(a, b *exception) int {
					return cmp.Or(a.last.At.Compare(b.last.At), cmp.Compare(a.seq, b.seq))
				})
				k.take(oldest)
				p.failed = append(p.failed, oldest)
			}
		})
		if err != nil {
			return event.Delivery{}, false, err
		}
		if len(due.Deliveries) > 0 {
			return due.Deliveries[0], true, nil
		}
		if !due.More {
			return event.Delivery{}, false, nil
		}
	}
}

// share is how many of n deliveries a replay gets.
func (k *sink) share(n int) int {
	switch {
	case n <= 0 || !k.replaying():
		return 0
	case !k.waiting():
		return n
	case n == 1:
		if k.turn = !k.turn; k.turn {
			return 0
		}
		return 1
	}
	return n / 2
}

// waiting reports whether a fresh delivery is not in flight.
func (k *sink) waiting() bool {
	n := uint64(0)
	for _, inFlight := range k.out {
		if inFlight {
			n++
		}
	}
	return k.fresh > n
}

// planFresh plans for n fresh deliveries: released ones first, then those found by scanning on.
func (k *sink) planFresh(p *plan, n int) {
	for seq, inFlight := range k.out {
		if !inFlight {
			p.fresh = append(p.fresh, seq)
		}
	}
	slices.Sort(p.fresh)
	p.fresh = p.fresh[:min(max(n, 0), len(p.fresh))]
	for _, seq := range p.fresh {
		k.out[seq] = true
	}
	if k.unseen() > 0 {
		p.want = max(n, 0) - len(p.fresh)
	}
}

// handOut plans, reads and puts in flight. What can't be read is made a dead letter on the way.
func (s *Store) handOut(name string, choose func(*sink, *plan)) (event.Due, error) {
	s.mu.Lock()
	desk := s.desk(name)
	s.mu.Unlock()
	desk.turn.Lock()
	defer desk.turn.Unlock()
	for {
		s.mu.Lock()
		if s.dead != nil {
			s.mu.Unlock()
			return event.Due{}, s.gone()
		}
		st := s.st
		k := st.sinks[name]
		if k == nil {
			s.mu.Unlock()
			return event.Due{}, fmt.Errorf("the store knows no sink %s", name)
		}
		p := plan{index: k.index, scan: k.scan, head: st.next, unseen: k.unseen()}
		choose(k, &p)
		s.mu.Unlock()

		f, err := s.read(name, p)

		s.mu.Lock()
		if s.st != st {
			s.mu.Unlock()
			continue
		}
		if err != nil {
			k.takeBack(p)
			s.mu.Unlock()
			return event.Due{}, fmt.Errorf("reading what sink %s is owed: %w", name, err)
		}
		due := k.register(p, f, s.clock.age())
		lost := p.want > 0 && k.unseen() > 0 && f.scan >= p.head && st.next == p.head
		s.mu.Unlock()
		if len(f.spoiled) == 0 && !lost {
			return due, nil
		}
		if lost {
			f.spoiled = append(f.spoiled, vanished(name))
		}
		if err := s.submit(f.spoiled); err != nil || len(due.Deliveries) > 0 {
			return due, nil // the writer's trouble is told by the writer; what was found can go out
		}
	}
}

// takeBack undoes a plan that could not be read. s.mu is held.
func (k *sink) takeBack(p plan) {
	for _, seq := range slices.Concat(p.fresh, p.again) {
		k.release(seq)
	}
	for _, x := range p.failed {
		due := x.due
		k.release(x.seq)
		k.postpone(x, due)
	}
}

// register puts what was found in flight and copies what memory says of it. s.mu is held.
func (k *sink) register(p plan, f found, clock time.Time) event.Due {
	for _, seq := range f.scanned {
		k.out[seq] = true
	}
	k.scan = max(k.scan, f.scan)
	var due event.Due
	for _, seq := range slices.Concat(p.fresh, f.scanned) {
		if ev, ok := f.events[seq]; ok {
			due.Deliveries = append(due.Deliveries, event.Delivery{Seq: seq, Sink: k.name, Event: ev})
		}
	}
	k.registerReplay(p, f, &due)
	slices.SortFunc(p.failed, func(a, b *exception) int { return cmp.Compare(a.seq, b.seq) })
	for _, x := range p.failed {
		if ev, ok := f.events[x.seq]; ok {
			due.Deliveries = append(due.Deliveries, event.Delivery{Seq: x.seq, Sink: k.name, Event: ev,
				Attempts: x.attempts, FailingFor: k.age(x, clock), Replay: x.replay})
		}
	}
	due.Failing, due.More = k.counted, k.waiting() || k.replaying()
	if len(k.due) > 0 {
		due.Next = k.due[0].due
	}
	return due
}

// Release takes deliveries back unsettled, due at once.
func (s *Store) Release(sink string, seqs ...uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.st.sinks[sink]; k != nil {
		for _, seq := range seqs {
			k.release(seq)
		}
	}
}

// State returns the sink's health; one that the store doesn't know is an error.
func (s *Store) State(sink string) (event.SinkState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		return event.SinkState{}, s.dead
	}
	k := s.st.sinks[sink]
	if k == nil {
		return event.SinkState{}, fmt.Errorf("the store knows no sink %s", sink)
	}
	return k.state, nil
}
