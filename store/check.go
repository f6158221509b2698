package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// maxFindings bounds what a check reports.
const maxFindings = 20

// checker collects what is wrong.
type checker struct {
	st       *state
	tx       *bolt.Tx
	remember time.Duration
	now      time.Time
	found    []error

	received map[uint64]time.Time // of every readable event of the log, by seq
	present  map[uint64]bool      // events of the log, readable or not
	wants    map[uint16][]uint64  // sink index -> events of the log that it wanted
	whole    map[uint64]bool      // events of the log whose every byte is right
}

// Check verifies the invariants of the package documentation as far as one moment of a file can show them, and that memory says
// what the file says. It runs between two transactions and takes the time of reading everything. The error lists what it found.
func (s *Store) Check() error {
	return s.send(context.Background(), &request{between: func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := &checker{st: s.st, remember: s.opt.Remember, now: s.clock.now()}
		err := s.db.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				c.wrong("pages: %w", pageFault(err))
			}
			c.tx = tx
			c.log()
			c.memory()
			c.sources()
			c.sinks()
			c.attempts()
			c.replays()
			return nil
		})
		return errors.Join(append(c.found, err)...)
	}})
}

// pageFault is what bbolt's own check found, without the words of a program that failed.
func pageFault(err error) error {
	text := strings.TrimPrefix(err.Error(), "panic: ")
	return errors.New(strings.TrimPrefix(text, "assertion failed: "))
}

func (c *checker) wrong(format string, args ...any) {
	if len(c.found) < maxFindings {
		c.found = append(c.found, fmt.Errorf(format, args...))
	}
}

func (c *checker) each(bucket string, fn func(key, value []byte)) int {
	n := 0
	b := c.tx.Bucket([]byte(bucket))
	if b == nil {
		c.wrong("bucket %s is missing", bucket)
		return 0
	}
	_ = b.ForEach(func(key, value []byte) error {
		n++
		fn(key, value)
		return nil
	})
	return n
}

// log: numbers stay below the next one, no (source, id) stands in it twice within the remembered time (4), and what the
// collector has been past is there only for an exception.
func (c *checker) log() {
	c.received, c.wants, c.whole = map[uint64]time.Time{}, map[uint16][]uint64{}, map[uint64]bool{}
	c.present = map[uint64]bool{}
	last := map[fingerprint]time.Time{}
	n := c.each(bucketLog, func(key, value []byte) {
		seq := binary.BigEndian.Uint64(key)
		c.present[seq] = true
		if seq >= c.st.next {
			c.wrong("log: event %d is not before the next number %d", seq, c.st.next)
		}
		if _, pinned := c.st.collector.pinned[seq]; seq < c.st.collector.pos && !pinned {
			c.wrong("log: event %d was forgotten by the collector", seq)
		}
		h, err := readHead(key, value)
		if err != nil {
			return // set aside, or the sinks' counts will show that it is missing
		}
		c.received[seq] = h.received
		for _, w := range h.wants {
			c.wants[w] = append(c.wants[w], seq)
		}
		ev, err := readEvent(key, value)
		if err != nil {
			return
		}
		c.whole[seq] = true
		f := c.st.memory.fingerprint(ev.Source, ev.ID)
		if before, twice := last[f]; twice && (c.remember <= 0 || h.received.Sub(before) < c.remember) {
			c.wrong("log: event %s of source %s entered twice", ev.ID, ev.Source)
		}
		last[f] = h.received
		if (c.remember <= 0 || c.now.Sub(c.st.amended.event(seq, h.received)) < c.remember) && !c.known(f) {
			c.wrong("log: event %s of source %s is not remembered", ev.ID, ev.Source)
		}
	})
	if uint64(n) != c.st.events {
		c.wrong("log: it has %d events, memory says %d", n, c.st.events)
	}
	if stored := c.tx.Bucket([]byte(bucketLog)).Sequence(); stored+1 != c.st.next {
		c.wrong("log: the last number given out is %d, memory says %d", stored, c.st.next-1)
	}
}

func (c *checker) sources() {
	n := c.each(bucketSrc, func(key, value []byte) {
		src, err := readSource(key, value)
		if err != nil {
			c.wrong("source %s: %w", key, err)
			return
		}
		m := c.st.sources[string(key)]
		if src.generation != m.generation || !bytes.Equal(src.position, m.position) || src.identity != m.identity ||
			src.configured != m.configured || src.aside != m.aside || src.gapCount != m.gapCount {
			c.wrong("source %s: memory and file differ", key)
		}
	})
	if n != len(c.st.sources) {
		c.wrong("sources: the file has %d, memory %d", n, len(c.st.sources))
	}
}

// sinks: each delivery is in one place only, what is owed has a whole event, and the counts are right (2, 3).
func (c *checker) sinks() {
	n := c.each(bucketSink, func(key, value []byte) {
		stored, err := readSink(key, value)
		if err != nil {
			c.wrong("sink %s: %w", key, err)
			return
		}
		k := c.st.sinks[string(key)]
		if k == nil {
			c.wrong("sink %s: it is in the file and not in memory", key)
			return
		}
		if stored.fresh != k.fresh || stored.frozen != k.frozen || stored.state.Health != k.state.Health || stored.index != k.index {
			c.wrong("sink %s: memory and file differ", key)
		}
		c.fresh(stored, "the file")
		c.fresh(k, "memory")
		c.deliveries(stored, k)
	})
	if n != len(c.st.sinks) {
		c.wrong("sinks: the file has %d, memory %d", n, len(c.st.sinks))
	}
}

func (c *checker) fresh(k *sink, where string) {
	n := uint64(0)
	owe := func(seq uint64) {
		n++
		if !c.whole[seq] {
			c.wrong("sink %s: %s owes it event %d, which can't be read", k.name, where, seq)
		}
	}
	for seq := range k.out {
		if seq >= k.scan {
			c.wrong("sink %s: %s has %d open, which is not before %d", k.name, where, seq, k.scan)
		}
		owe(seq)
	}
	for _, seq := range c.wants[k.index] {
		if seq >= k.scan && k.fresh > 0 { // a sink that is owed nothing stands at the head
			owe(seq)
		}
	}
	if n != k.fresh {
		c.wrong("sink %s: %s says that %d fresh events are owed, the log has %d", k.name, where, k.fresh, n)
	}
}

// unscanned reports whether the sink is owed seq since nobody has come to it yet.
func (c *checker) unscanned(k *sink, seq uint64) bool {
	_, wanted := slices.BinarySearch(c.wants[k.index], seq)
	return wanted && seq >= k.scan && k.fresh > 0
}

func (c *checker) deliveries(stored, k *sink) {
	failing := map[uint64]bool{}
	c.each(prefixX+k.name, func(key, value []byte) {
		seq := binary.BigEndian.Uint64(key)
		failing[seq] = true
		x, err := readException(key, value)
		m := k.failing[seq]
		_, open := stored.out[seq]
		switch {
		case err != nil:
			c.wrong("sink %s: its failing event %d: %w", k.name, seq, err)
		case m == nil || m.attempts != x.attempts || !m.first.Equal(x.first):
			c.wrong("sink %s: memory and file differ about its failing event %d", k.name, seq)
		case open || c.unscanned(stored, seq):
			c.wrong("sink %s: event %d is failing and fresh", k.name, seq)
		case !c.whole[seq]:
			c.wrong("sink %s: its failing event %d can't be read", k.name, seq)
		}
	})
	if len(failing) != len(k.failing) {
		c.wrong("sink %s: the file has %d failing, memory %d", k.name, len(failing), len(k.failing))
	}
	dead := c.each(prefixDead+k.name, func(key, value []byte) {
		seq := binary.BigEndian.Uint64(key)
		_, open := stored.out[seq]
		if failing[seq] || open || c.unscanned(stored, seq) {
			c.wrong("sink %s: event %d is dead and owed", k.name, seq)
		}
		if _, err := readDead(key, value); err != nil {
			c.wrong("sink %s: its dead letter %d: %w", k.name, seq, err)
		}
	})
	if dead != k.dead {
		c.wrong("sink %s: the file has %d dead letters, memory says %d", k.name, dead, k.dead)
	}
	waiting, counted := 0, 0
	for _, x := range k.failing {
		if !x.inFlight {
			waiting++
		}
		if !x.first.IsZero() {
			counted++
		}
	}
	if waiting != len(k.due) || counted != k.counted {
		c.wrong("sink %s: %d wait for a retry and %d stand in the heap; %d count as failing, %d are counted",
			k.name, waiting, len(k.due), counted, k.counted)
	}
}
