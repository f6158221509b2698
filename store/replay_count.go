package store

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// matches reports whether the replay selects the event. One that can't be read is not selected: nobody knows.
func (r *replayJob) matches(key, value []byte) (head, bool) {
	if _, err := open(kindEvent, key, value); err != nil {
		return head{}, false
	}
	h, ev, err := readFacts(key, value)
	return h, err == nil && r.selects(ev)
}

func (r *replayJob) selects(ev event.Event) bool {
	return (len(r.what.Sources) == 0 || r.what.Sources.Match(ev.Source)) && (len(r.what.Events) == 0 || r.what.Events.Match(ev.Type))
}

// CountReplay returns how many events a replay would deliver now, and where they stand: from is the first that it looks at, to
// the one after the last.
func (s *Store) CountReplay(q event.Replay) (count, from, to uint64, err error) {
	s.mu.Lock()
	from, to, amended := max(q.From, 1), s.st.next, s.st.amended
	s.mu.Unlock()
	if q.To > 0 {
		to = min(to, q.To)
	}
	r := &replayJob{what: q}
	began := q.Since.IsZero()
	for at := from; at < to; {
		err := s.view(func(tx *bolt.Tx) error {
			c := tx.Bucket([]byte(bucketLog)).Cursor()
			looked := 0
			for key, value := c.Seek(seqKey(at)); ; key, value = c.Next() {
				if key == nil || binary.BigEndian.Uint64(key) >= to {
					at = to
					return nil
				}
				if at = binary.BigEndian.Uint64(key); looked == scanLimit {
					return nil
				}
				looked++
				h, matches := r.matches(key, value)
				received := amended.event(at, h.received)
				switch readable := !h.received.IsZero(); {
				case !began && (!readable || received.Before(q.Since)):
					from = at + 1
					continue
				case readable && !q.Until.IsZero() && !received.Before(q.Until):
					to = at
					return nil
				}
				began = true
				if matches {
					count++
				}
			}
		})
		if err != nil {
			return 0, 0, 0, fmt.Errorf("counting what is to be replayed: %w", err)
		}
	}
	return count, from, to, nil
}
