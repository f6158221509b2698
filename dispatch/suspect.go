package dispatch

import "tidings/event"

// maxSuspects bounds how many deliveries are remembered for having said that the sink is down.
const maxSuspects = 64

// suspects are deliveries whose attempt said SinkDown. The value says whether another one was attempted in full while the sink
// was down for it: then it was that event and not the sink, as when a program runs another that is missing for one type of
// event alone. From then on its SinkDown counts as a failure of its own, so that it is given up by age and delays no other.
type suspects map[uint64]bool

func (s suspects) accuse(seq uint64) {
	if len(s) >= maxSuspects {
		clear(s)
	}
	if _, known := s[seq]; !known {
		s[seq] = false
	}
}

// contradict takes in that the sink worked for seq.
func (s suspects) contradict(seq uint64) {
	delete(s, seq)
	for other := range s {
		s[other] = true
	}
}

// accused reports whether seq said that the sink is down and nothing has contradicted it.
func (s suspects) accused(seq uint64) bool {
	convicted, found := s[seq]
	return found && !convicted
}

// acquit forgets those that nothing has contradicted.
func (s suspects) acquit() {
	for seq, convicted := range s {
		if !convicted {
			delete(s, seq)
		}
	}
}

// candidate hands out one to probe with: as long as there is another, none that said already that the sink is down.
func (l *loop) candidate() (event.Delivery, bool, error) {
	var passed []event.Delivery
	for {
		d, found, err := l.Queue.Probe(l.Name)
		switch {
		case err == nil && found && l.suspects.accused(d.Seq):
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
