package store

import (
	"encoding/binary"
	"slices"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// again is the replay that has handed seq out, if one has.
func (k *sink) again(seq uint64) *replayJob {
	for _, r := range k.replays {
		if _, open := r.out[seq]; open {
			return r
		}
	}
	return nil
}

// planReplay plans for n deliveries of the first replay that waits: released ones first, then those found by scanning on.
func (k *sink) planReplay(p *plan, n int) {
	for _, r := range k.replays {
		if n <= 0 || !r.waiting() || r.cancelled {
			continue
		}
		p.replay = r
		for seq, inFlight := range r.out {
			if !inFlight {
				p.again = append(p.again, seq)
			}
		}
		slices.Sort(p.again)
		p.again = p.again[:min(n, len(p.again))]
		for _, seq := range p.again {
			r.out[seq] = true
		}
		if r.left > uint64(len(r.out)) {
			p.againWant, p.againScan, p.againTo = n-len(p.again), r.scan, r.what.To
		}
		p.version = k.version
		return
	}
}

// replaying reports whether a replay may have something to hand out.
func (k *sink) replaying() bool {
	return slices.ContainsFunc(k.replays, func(r *replayJob) bool { return !r.cancelled && r.waiting() })
}

// candidate is an event that a replay selects.
type candidate struct {
	seq    uint64
	wanted bool
	dead   bool
}

// walkReplay scans on for what the replay selects.
func (f *found) walkReplay(tx *bolt.Tx, name string, p plan) {
	dead := tx.Bucket([]byte(prefixDead + name))
	c := tx.Bucket([]byte(bucketLog)).Cursor()
	looked := 0
	f.againScan = p.againScan
	for key, value := c.Seek(seqKey(p.againScan)); key != nil && binary.BigEndian.Uint64(key) < p.againTo; key, value = c.Next() {
		seq := binary.BigEndian.Uint64(key)
		if h, matches := p.replay.matches(key, value); matches {
			if ev, err := readEvent(key, value); err == nil {
				f.events[seq] = ev
				f.again = append(f.again, candidate{seq, h.wantedBy(p.index), dead.Get(key) != nil})
			}
		}
		f.againScan = seq + 1
		if looked++; len(f.again) == p.againWant || looked == scanLimit {
			return
		}
	}
	f.againScan = p.againTo
}

// registerReplay puts what was found in flight, but for what the sink is owed anyway or has among its dead letters. Where
// something was settled since the log was read nobody can say that any more: the next asking looks again. s.mu is held.
func (k *sink) registerReplay(p plan, f found, due *event.Due) {
	r := p.replay
	if r == nil {
		return
	}
	hand := slices.Clone(p.again)
	if p.againWant > 0 && p.version == k.version && r.scan == p.againScan && !r.cancelled {
		for _, c := range f.again {
			if r.coming[c.seq] {
				continue // it wasn't there yet
			}
			_, open := k.out[c.seq]
			if c.dead || open || k.revived[c.seq] || c.wanted && c.seq >= k.scan && k.fresh > 0 || k.failing[c.seq] != nil || k.again(c.seq) != nil {
				r.left--
				continue
			}
			r.out[c.seq] = true
			hand = append(hand, c.seq)
		}
		r.scan = f.againScan
	}
	for _, seq := range hand {
		if ev, ok := f.events[seq]; ok {
			due.Deliveries = append(due.Deliveries, event.Delivery{Seq: seq, Sink: k.name, Event: ev, Replay: true})
		}
	}
}
