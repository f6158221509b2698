package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// changeSlice is how many dead letters one transaction sends again or drops.
const changeSlice = 500

// Dead lists dead letters, sink by sink, each sink's in the order of taking in. A letter whose record can't be read is set
// aside, and is listed as one that has no event: its id is "unreadable-" and its seq.
func (s *Store) Dead(q event.DeadQuery) ([]event.DeadLetter, error) {
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.st.sinks))
	s.mu.Unlock()
	var letters []event.DeadLetter
	var repairs []*request
	err := s.view(func(tx *bolt.Tx) error {
		for _, name := range names {
			if q.Sink != "" && q.Sink != name {
				continue
			}
			bucket := tx.Bucket([]byte(prefixDead + name))
			if bucket == nil {
				continue
			}
			c := bucket.Cursor()
			for key, value := c.Seek(seqKey(q.After + 1)); key != nil; key, value = c.Next() {
				if q.Limit > 0 && len(letters) == q.Limit {
					return nil
				}
				seq := binary.BigEndian.Uint64(key)
				r, err := readDead(key, value)
				if err != nil {
					r = ruined(seq, s.clock.now(), err)
					repairs = append(repairs, rewritten(name, seq, r, value, err))
				}
				if len(q.IDs) > 0 && !slices.Contains(q.IDs, r.event.ID) {
					continue
				}
				letters = append(letters, event.DeadLetter{Seq: seq, Sink: name, Event: r.event, DeadAt: r.at,
					Attempts: r.attempts, Reason: r.last.Reason, Last: r.last})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing dead letters: %w", err)
	}
	return letters, s.submit(repairs)
}

// ruined stands for a dead letter whose record can't be read.
func ruined(seq uint64, now time.Time, why error) deadRecord {
	return deadRecord{unreadable: true, at: now,
		last:  event.Attempt{At: now, Reason: fmt.Sprintf("its record can't be read: %v; its bytes are set aside", why)},
		event: event.Event{ID: fmt.Sprintf("unreadable-%d", seq), Received: now}}
}

func rewritten(name string, seq uint64, r deadRecord, value []byte, why error) *request {
	value = bytes.Clone(value)
	return &request{prepare: func(b *batch) error {
		d := b.sink(name)
		_, err := b.letter(name, seq)
		if err == nil {
			return nil // repaired or gone meanwhile
		}
		key := seqKey(seq)
		r.sink = d.index
		b.setAside(event.SetAside{Sink: name, What: "the record " + bucketKey(prefixDead+name, key), Why: why.Error()}, value)
		b.put(prefixDead+name, key, r.record(key))
		return nil
	}}
}

// letter reads a dead letter; nil when there is none. It is called before the batch's transaction begins.
func (b *batch) letter(name string, seq uint64) (*deadRecord, error) {
	if _, gone := b.sinks[name].buried[seq]; gone {
		return nil, nil
	}
	var letter *deadRecord
	err := b.s.view(func(tx *bolt.Tx) error {
		key := seqKey(seq)
		value := tx.Bucket([]byte(prefixDead + name)).Get(key)
		if value == nil {
			return nil
		}
		r, err := readDead(key, value)
		letter = &r
		return err
	})
	return letter, err
}

// RetryDead makes dead letters of a sink owed again, due at once, with a new age and the old attempt count. It returns how
// many; what is no dead letter, or has no event that could be read, is left as it is.
func (s *Store) RetryDead(ctx context.Context, sink string, seqs []uint64) (int, error) {
	return s.changeDead(ctx, sink, seqs, func(b *batch, d *sinkDraft, seq uint64, r *deadRecord) (bool, error) {
		if r.unreadable {
			return false, nil
		}
		key := seqKey(seq)
		if ok, err := b.putBack(seq, r.event); !ok || err != nil {
			return false, err
		}
		x := &exception{seq: seq, attempts: r.attempts, due: b.now, replay: true, last: r.last, heap: -1}
		x.earlier = slices.DeleteFunc(b.failures(d.index, seq), func(f event.Tried) bool { return f.At.Equal(r.last.At) })
		b.put(prefixX+sink, key, x.record(key, d.index))
		x.forget()
		x.due = time.Now()
		k := d.sink
		b.s.mu.Lock()
		k.revived[seq] = true
		b.s.mu.Unlock()
		b.after = append(b.after, func(*state) {
			delete(k.revived, seq)
			k.add(x)
		})
		b.wake[sink] = true
		return true, nil
	})
}

// putBack sees to it that the log has the event, whole. It can't where a damaged record still waits for sinks of which nobody
// knows whether they want it.
func (b *batch) putBack(seq uint64, ev event.Event) (bool, error) {
	key := seqKey(seq)
	missing, whole := false, false
	var h head
	var headErr error
	err := b.s.view(func(tx *bolt.Tx) error {
		value := tx.Bucket([]byte(bucketLog)).Get(key)
		_, err := readEvent(key, value)
		missing, whole = value == nil, err == nil
		h, headErr = readHead(key, value)
		return nil
	})
	switch {
	case err != nil || whole || b.returned[seq]:
		return err == nil, err
	case missing:
		b.unlearn(seq)
		b.after = append(b.after, func(st *state) {
			st.events++
			st.collector.pin(seq)
		})
		for _, k := range b.st.sinks {
			for _, r := range k.replays {
				if seq >= r.what.From && seq < r.what.To && r.selects(ev) {
					d := b.replay(r)
					d.returned = append(d.returned, seq)
					b.s.mu.Lock()
					r.coming[seq] = true
					b.s.mu.Unlock()
				}
			}
		}
	case headErr != nil && seq >= b.s.floor():
		return false, nil
	}
	b.returned[seq] = true
	b.put(bucketLog, key, eventRecord(key, ev, h.wants))
	return true, nil
}

// DropDead forgets dead letters of a sink and returns how many.
func (s *Store) DropDead(ctx context.Context, sink string, seqs []uint64) (int, error) {
	return s.changeDead(ctx, sink, seqs, func(*batch, *sinkDraft, uint64, *deadRecord) (bool, error) { return true, nil })
}

// changeDead takes away the dead letters for which change says so, in slices. The count is of what is durable, also beside an
// error.
func (s *Store) changeDead(ctx context.Context, sink string, seqs []uint64,
	change func(*batch, *sinkDraft, uint64, *deadRecord) (bool, error)) (int, error) {
	total := 0
	for slice := range slices.Chunk(seqs, changeSlice) {
		n := 0
		err := s.do(ctx, func(b *batch) error {
			n = 0
			d := b.sink(sink)
			if d == nil {
				return fmt.Errorf("the store knows no sink %s", sink)
			}
			for _, seq := range slice {
				r, err := b.letter(sink, seq)
				if err != nil {
					r = &deadRecord{unreadable: true}
				}
				if r == nil {
					continue
				}
				away, err := change(b, d, seq, r)
				if err != nil {
					return err
				}
				if !away {
					continue
				}
				n++
				d.buried[seq] = struct{}{}
				b.delete(prefixDead+sink, seqKey(seq))
				k := d.sink
				b.after = append(b.after, func(*state) { k.dead-- })
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}
