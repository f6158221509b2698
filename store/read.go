package store

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// found is what reading a plan gave.
type found struct {
	events  map[uint64]event.Event // by seq; those that can't be read are not in it
	scanned []uint64               // fresh ones from scan on
	scan    uint64                 // where the next scan goes on
	spoiled []*request             // one for each that can't be read

	again     []candidate // of a replay, from its scan on
	againScan uint64      // where its next scan goes on
}

// read reads what was planned in one short transaction; all of it is copied.
func (s *Store) read(name string, p plan) (found, error) {
	f := found{events: map[uint64]event.Event{}, scan: p.scan}
	err := s.view(func(tx *bolt.Tx) error {
		log := tx.Bucket([]byte(bucketLog))
		for _, seq := range p.fresh {
			f.take(name, seq, log.Get(seqKey(seq)))
		}
		for _, x := range p.failed {
			f.take(name, x.seq, log.Get(seqKey(x.seq)))
		}
		if p.want > 0 {
			f.walk(log, name, p)
		}
		for _, seq := range p.again {
			f.take(name, seq, log.Get(seqKey(seq)))
		}
		if p.againWant > 0 {
			f.walkReplay(tx, name, p)
		}
		return nil
	})
	return f, err
}

func (f *found) take(name string, seq uint64, value []byte) {
	key := seqKey(seq)
	err := errMissing
	if value != nil {
		var ev event.Event
		if ev, err = readEvent(key, value); err == nil {
			f.events[seq] = ev
			return
		}
	}
	f.spoiled = append(f.spoiled, spoiled(name, seq, bucketKey(bucketLog, key), value, err))
}

// walk scans from p.scan on for what the sink wants. Of the rest it reads only the heads.
func (f *found) walk(log *bolt.Bucket, name string, p plan) {
	c := log.Cursor()
	looked := 0
	for key, value := c.Seek(seqKey(p.scan)); key != nil; key, value = c.Next() {
		seq := binary.BigEndian.Uint64(key)
		if seq >= p.head {
			break
		}
		h, err := readHead(key, value)
		wanted := h.wantedBy(p.index)
		if err != nil {
			// Nobody can say who wanted this one. The count of what is owed can: it was wanted if what follows doesn't make it up.
			wanted = countWanted(log, p, seq+1)+uint64(len(f.scanned)) < p.unseen
		}
		if wanted {
			f.scanned = append(f.scanned, seq)
			f.take(name, seq, value)
		}
		f.scan = seq + 1
		if looked++; len(f.scanned) == p.want || looked == scanLimit {
			return
		}
	}
	f.scan = max(f.scan, p.head)
}

// countWanted counts what the sink certainly wants from seq on.
func countWanted(log *bolt.Bucket, p plan, seq uint64) uint64 {
	n := uint64(0)
	c := log.Cursor()
	for key, value := c.Seek(seqKey(seq)); key != nil && binary.BigEndian.Uint64(key) < p.head; key, value = c.Next() {
		if h, err := readHead(key, value); err == nil && h.wantedBy(p.index) {
			n++
		}
	}
	return n
}
