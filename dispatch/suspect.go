package dispatch

import "tidings/event"

// maxSuspects bounds how many deliveries are remembered for having said that the sink is down.
const maxSuspects = 64

// suspects are deliveries whose attempt said SinkDown.
type suspects map[uint64]suspicion

type suspicion int

const (
	accused   suspicion = iota + 1 // nothing has contradicted it: the sink is probed with others first
	acquitted                      // so did all others, so that it is as good to probe with as they are

	// Another one was attempted in full while the sink was down for this one: then it was the event and not the sink, as when a
	// program runs another that is missing for one type of event alone. From then on its SinkDown counts as a failure of its
	// own, so that it is given up by age and delays no other.
	convicted
)

func (s suspects) accuse(seq uint64) {
	if len(s) >= maxSuspects {
		clear(s)
	}
	if s[seq] != convicted {
		s[seq] = accused
	}
}

// contradict takes in that the sink worked for seq.
func (s suspects) contradict(seq uint64) {
	delete(s, seq)
	for other := range s {
		s[other] = convicted
	}
}

func (s suspects) acquit() {
	for seq, suspicion := range s {
		if suspicion == accused {
			s[seq] = acquitted
		}
	}
}

// newcomer hands out one that was never tried, if the queue finds one: not even to say that the sink is down.
func (l *loop) newcomer() (event.Due, error) {
	var passed []event.Delivery
	for {
		due, err := l.next(1, 0)
		if len(due.Deliveries) == 0 || l.suspects[due.Deliveries[0].Seq] == 0 {
			l.release(passed)
			return due, err
		}
		passed = append(passed, event.Delivery{Seq: due.Deliveries[0].Seq})
	}
}

// candidate hands out one to probe with: as long as there is another, none that said already that the sink is down.
func (l *loop) candidate() (event.Delivery, bool, error) {
	var passed []event.Delivery
	for {
		d, found, err := l.Queue.Probe(l.Name)
		switch {
		case err == nil && found && l.suspects[d.Seq] == accused:
			passed = append(passed, event.Delivery{Seq: d.Seq}) // without the event, which may be large
			continue
		case err == nil && !found && len(passed) > 0:
			l.suspects.acquit()
			l.release(passed)
			passed = nil
			continue
		}
		l.release(passed)
		return d, found && !l.isFlying(d), err
	}
}
