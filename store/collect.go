package store

import (
	"encoding/binary"
	"maps"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	collectSlice = 1000 // events looked at, and so deleted at most, in one transaction
	expireSlice  = 200  // chunks of ids in one transaction
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
	s.room.measure(s)
	if s.room.full != "" {
		s.makeRoom()
		return
	}
	for range tidySlices {
		more := s.collect(false)
		if !s.expire() && !more || len(s.requests) > 0 {
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

// clockIsBehind reports whether the wall clock stands before the newest stored time, and so is wrong.
func (s *Store) clockIsBehind() bool { return time.Now().Before(s.st.newest) }

// collect deletes one slice and reports whether there may be more to delete at once.
func (s *Store) collect(pressed bool) bool {
	if s.db == nil {
		return false
	}
	st, now := s.st, time.Now()
	c := st.collector
	floor := s.floor()
	idle := c.pos >= floor || !pressed && (s.clockIsBehind() || now.Before(c.notBefore))
	var keys [][]byte
	pinned := maps.Clone(c.pinned)
	for seq := range pinned {
		if !st.held(seq) && len(keys) < collectSlice {
			keys = append(keys, seqKey(seq))
			delete(pinned, seq)
		}
	}
	if idle && len(keys) == 0 {
		return false
	}
	more := false
	if !idle {
		if pinned == nil {
			pinned = map[uint64]struct{}{}
		}
		err := s.view(func(tx *bolt.Tx) error {
			cursor := tx.Bucket([]byte(bucketLog)).Cursor()
			looked := 0
			for key, value := cursor.Seek(seqKey(c.pos)); ; key, value = cursor.Next() {
				if key == nil || binary.BigEndian.Uint64(key) >= floor {
					c.pos = floor
					return nil
				}
				seq := binary.BigEndian.Uint64(key)
				// One that can't be read has been set aside by whoever wanted it.
				if h, err := readHead(key, value); err == nil && !pressed && now.Before(h.received.Add(s.opt.Keep)) {
					c.notBefore = h.received.Add(s.opt.Keep)
					return nil
				}
				if looked++; looked > collectSlice {
					more = true
					return nil
				}
				if st.held(seq) {
					pinned[seq] = struct{}{}
				} else {
					keys = append(keys, seqKey(seq))
				}
				c.pos = seq + 1
			}
		})
		if err != nil {
			return false
		}
	}
	c.pinned = pinned
	err := s.write([]*request{{prepare: func(b *batch) error {
		for _, key := range keys {
			b.delete(bucketLog, key)
		}
		b.after = append(b.after, func(st *state) {
			st.collector = c
			st.events -= uint64(len(keys))
		})
		return nil
	}}})
	return err == nil && more
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
	}
	return floor
}

// held reports whether a sink's exception needs the event. Only the writer asks.
func (st *state) held(seq uint64) bool {
	for _, k := range st.sinks {
		if k.failing[seq] != nil {
			return true
		}
	}
	return false
}

// expire forgets one slice of ids that are older than Remember and reports whether there may be more.
func (s *Store) expire() bool {
	m := s.st.memory
	// A chunk's time is cut to the second.
	old := func(at time.Time) bool { return time.Now().After(at.Add(s.opt.Remember + time.Second)) }
	if s.db == nil || s.opt.Remember <= 0 || m.oldest.IsZero() || !old(m.oldest) || s.clockIsBehind() {
		return false
	}
	var keys [][]byte
	var prints []fingerprint
	var oldest time.Time
	more := false
	err := s.view(func(tx *bolt.Tx) error {
		cursor := tx.Bucket([]byte(bucketIDs)).Cursor()
		for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
			at, chunk, err := readChunk(key, value)
			if err != nil {
				continue // it is set aside at the next opening
			}
			if more = old(at) && len(keys) == expireSlice; !old(at) || more {
				oldest = at
				return nil
			}
			keys = append(keys, append([]byte(nil), key...))
			prints = append(prints, chunk...)
		}
		return nil
	})
	if err != nil {
		return false
	}
	err = s.write([]*request{{prepare: func(b *batch) error {
		for _, key := range keys {
			b.delete(bucketIDs, key)
		}
		b.after = append(b.after, func(st *state) {
			for _, f := range prints {
				delete(st.memory.table, f)
			}
			st.memory.oldest = oldest
		})
		return nil
	}}})
	return err == nil && more
}
