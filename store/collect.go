package store

import (
	"encoding/binary"
	"maps"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	collectSlice = 1000 // events looked at, and so deleted at most, in one transaction
	tidySlices   = 20   // transactions in a row before requests and ticks get their turn
)

// collector deletes events that every sink has settled and that are older than Keep. It walks the log from its front; what an
// exception holds it leaves behind, and takes once it is settled.
type collector struct {
	pos       uint64              // it has been at everything before
	pinned    map[uint64]struct{} // before pos, and there still
	notBefore time.Time           // what stands at pos is not old enough until then
}

// pin says that the log has an event again that the collector has been past.
func (c *collector) pin(seq uint64) {
	if seq >= c.pos {
		return
	}
	if c.pinned == nil {
		c.pinned = map[uint64]struct{}{}
	}
	c.pinned[seq] = struct{}{}
}

// tidy is the writer's second duty. When nothing is old enough it reads nothing and writes nothing.
func (s *Store) tidy() {
	if len(s.repairs) > 0 {
		repairs := s.repairs
		s.repairs = nil
		_ = s.write(repairs) // its failure was told, and the next reading finds them again
	}
	s.side.write(s, false)
	s.ripen()
	s.tellClock()
	s.endReplays()
	s.room.measure(s)
	if s.room.full != "" {
		s.makeRoom()
		for s.expire() && len(s.requests) == 0 { // ids that are old enough leave room too
		}
		return
	}
	for range tidySlices {
		collecting, sealing, expiring := s.collect(false), s.seal(), s.expire()
		if !collecting && !sealing && !expiring {
			s.shrink(true)
			return
		}
		if len(s.requests) > 0 {
			return
		}
	}
}

// makeRoom lets delivered history go, however young, until the limits are kept or nothing is left that may go.
func (s *Store) makeRoom() {
	for range tidySlices {
		if s.room.full == "" {
			return
		}
		more := s.collect(true)
		s.room.measure(s)
		if !more {
			return
		}
	}
}

// collect deletes one slice and reports whether there may be more to delete at once.
func (s *Store) collect(pressed bool) bool {
	if s.db == nil || s.held() {
		return false
	}
	st, now, floor := s.st, s.clock.now(), s.floor()
	c := st.collector
	idle := c.pos >= floor || !pressed && (!s.clock.trusted(st.newest) || now.Before(c.notBefore))
	c.pinned = maps.Clone(c.pinned)
	var keys [][]byte
	for seq := range c.pinned {
		if !st.held(seq) && len(keys) < collectSlice {
			keys = append(keys, seqKey(seq))
			delete(c.pinned, seq)
		}
	}
	if idle && len(keys) == 0 {
		return false
	}
	more := false
	var failsKeys, triesKeys [][]byte
	err := s.view(func(tx *bolt.Tx) error {
		if !idle {
			var old [][]byte
			old, more = s.sweep(tx, &c, floor, now, pressed)
			keys = append(keys, old...)
		}
		failsKeys, triesKeys = triesOf(tx, keys, c.pos)
		return nil
	})
	if err != nil {
		return false
	}
	err = s.write([]*request{{prepare: func(b *batch) error {
		for _, gone := range []struct {
			bucket string
			keys   [][]byte
		}{{bucketLog, keys}, {bucketFails, failsKeys}, {bucketTries, triesKeys}} {
			for _, key := range gone.keys {
				b.delete(gone.bucket, key)
			}
		}
		b.after = append(b.after, func(st *state) {
			st.collector = c
			st.events -= uint64(len(keys))
		})
		return nil
	}}})
	return err == nil && more
}

// sweep moves c on to what is too young to go, or through one slice, and returns what may go. What an exception holds is pinned.
func (s *Store) sweep(tx *bolt.Tx, c *collector, floor uint64, now time.Time, pressed bool) (old [][]byte, more bool) {
	cursor := tx.Bucket([]byte(bucketLog)).Cursor()
	looked := 0
	for key, value := cursor.Seek(seqKey(c.pos)); key != nil && binary.BigEndian.Uint64(key) < floor; key, value = cursor.Next() {
		seq := binary.BigEndian.Uint64(key)
		// One that can't be read has been set aside by whoever wanted it.
		if h, err := readHead(key, value); err == nil && !pressed {
			if at := s.st.amended.event(seq, h.received).Add(s.opt.Keep); now.Before(at) {
				c.notBefore = at
				return old, false
			}
		}
		if looked++; looked > collectSlice {
			return old, true
		}
		if c.pos = seq + 1; s.st.held(seq) {
			c.pin(seq)
		} else {
			old = append(old, seqKey(seq))
		}
	}
	c.pos = floor
	return old, false
}

// floor is the seq before which no sink has a fresh delivery.
func (s *Store) floor() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	floor := s.st.next
	for _, k := range s.st.sinks {
		if low, ok := k.floor(); ok {
			floor = min(floor, low)
		}
		for _, r := range k.replays {
			floor = min(floor, r.pin)
		}
	}
	return floor
}

// held reports whether somebody wants nothing collected now.
func (s *Store) held() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.holds > 0
}

// held reports whether a sink's exception needs the event. Only the writer asks.
func (st *state) held(seq uint64) bool {
	for _, k := range st.sinks {
		if k.failing[seq] != nil {
			return true
		}
		for _, r := range k.replays {
			if seq >= r.pin && seq < r.what.To {
				return true
			}
		}
	}
	return false
}
