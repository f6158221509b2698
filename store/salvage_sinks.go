package store

import (
	"encoding/binary"
	"maps"
	"slices"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// sinks writes what each sink is owed, so that it agrees with the events that are left. It returns the sinks as they were
// written, and the number of the next event as far as it is known.
func (s *salvage) sinks(indices map[string]uint16) (sinks map[string]*sink, next uint64, err error) {
	if err := s.out.commit(); err != nil {
		return nil, 0, err
	}
	ranks, exact := map[string]rank{}, true
	sinks = map[string]*sink{}
	for _, c := range s.rescued {
		if c.bucket == bucketSink {
			value, err := s.value(c)
			if err != nil {
				continue
			}
			k, err := readSink([]byte(c.key), value)
			if err != nil {
				continue
			}
			sinks[k.name], ranks[k.name] = k, c.rank
			if c.rank > current {
				s.report.back(bucketSink)
			}
			exact = exact && c.rank == current
		}
	}
	for name, index := range indices {
		if sinks[name] != nil {
			continue
		}
		k, exactly := newSink(name, index, 0), s.side.Sinks[name]
		k.frozen, k.state.Health, k.scan = true, event.Up, exactly.Floor
		sinks[name], ranks[name] = k, loose
		s.report.lose("how sink %s stood: it gets all that is left of what it may not have got, so some of it twice", name)
		exact = false
	}
	exact = exact && s.whole(bucketLog)
	for name := range sinks {
		exact = exact && s.whole(prefixX+name) && s.whole(prefixDead+name)
	}
	if s.f != nil && (s.broken[""] || len(s.seen) == 0) {
		s.report.lose("failing deliveries and dead letters, perhaps: those that were found are kept")
	}
	owed, past, next, err := s.owed(sinks, ranks)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(sinks)) {
		k := sinks[name]
		for prefix, what := range map[string]string{prefixX: "deliveries that were failing at", prefixDead: "dead letters of"} {
			if _, err := s.out.bucket(prefix + name); err != nil {
				return nil, 0, err
			}
			if s.broken[prefix+name] {
				s.report.lose("%s sink %s, perhaps: those that were found are kept", what, name)
			}
		}
		if !exact {
			if n := uint64(len(owed[name])); ranks[name] == current && k.fresh > n {
				s.report.lose("%d deliveries that sink %s was owed: their events can't be read", k.fresh-n, name)
			}
			k.fresh, k.scan, k.out = uint64(len(owed[name])), max(k.scan, past[name]), map[uint64]bool{}
			for _, seq := range owed[name] {
				if seq < k.scan {
					k.out[seq] = false
				}
			}
		}
		if err := s.out.put(bucketSink, []byte(name), k.record(draftOf(k))); err != nil {
			return nil, 0, err
		}
	}
	return sinks, next, s.out.commit()
}

// owed lists the events that each sink is owed and that never failed there, and takes out of the failing and dead ones what
// contradicts that: each delivery is in one place only. past is how far each sink has to have scanned, so that it takes nothing else for
// owed; what it is owed before that has to stand in its record one by one.
func (s *salvage) owed(sinks map[string]*sink, ranks map[string]rank) (owed map[string][]uint64, past map[string]uint64, next uint64, err error) {
	owed, past, next = map[string][]uint64{}, map[string]uint64{}, s.seen[bucketLog]+1
	failing, dead := map[string]map[uint64]bool{}, map[string]map[uint64]bool{}
	doubtful := func(bucket string, seq uint64) bool { return s.ranks[bucket+"/"+string(seqKey(seq))] > current }
	err = s.out.db.Update(func(tx *bolt.Tx) error {
		for name, k := range sinks {
			next = max(next, k.scan)
			failing[name], dead[name] = keysOf(tx, prefixX+name), keysOf(tx, prefixDead+name)
			for seq := range dead[name] {
				next = max(next, seq+1)
				if failing[name][seq] {
					delete(dead[name], seq)
					if err := tx.Bucket([]byte(prefixDead + name)).Delete(seqKey(seq)); err != nil {
						return err
					}
				}
			}
			for seq := range failing[name] {
				next = max(next, seq+1)
			}
		}
		for _, k := range s.side.Sinks {
			next = max(next, k.Floor)
		}
		log := tx.Bucket([]byte(bucketLog))
		for name := range sinks {
			gone := 0
			for seq := range failing[name] {
				if _, err := readEvent(seqKey(seq), log.Get(seqKey(seq))); err == nil || s.whole(bucketLog) {
					continue
				}
				gone++
				if err := tx.Bucket([]byte(prefixX + name)).Delete(seqKey(seq)); err != nil {
					return err
				}
			}
			if gone > 0 {
				s.report.lose("%d failing deliveries that sink %s was owed: their events can't be read", gone, name)
			}
		}
		return log.ForEach(func(key, value []byte) error {
			seq := binary.BigEndian.Uint64(key)
			next = max(next, seq+1)
			h, err := readHead(key, value)
			for name, k := range sinks {
				_, open := k.out[seq]
				if !open && (seq < k.scan || err == nil && !h.wantedBy(k.index)) {
					continue
				}
				// What the record of the sink no longer says, that of the attempt does.
				if err != nil || k.fresh == 0 && ranks[name] == current || ranks[name] > current && delivered(tx, k.index, seq) {
					past[name] = seq + 1
					continue
				}
				if ranks[name] == current { // what this record says is true, so another place is not
					for prefix, there := range map[string]map[uint64]bool{prefixX: failing[name], prefixDead: dead[name]} {
						if there[seq] && doubtful(prefix+name, seq) {
							delete(there, seq)
							if err := tx.Bucket([]byte(prefix + name)).Delete(key); err != nil {
								return err
							}
						}
					}
				}
				if failing[name][seq] || dead[name][seq] {
					past[name] = seq + 1
				} else {
					owed[name] = append(owed[name], seq)
				}
			}
			return nil
		})
	})
	return owed, past, next, err
}

func keysOf(tx *bolt.Tx, bucket string) map[uint64]bool {
	keys := map[uint64]bool{}
	if b := tx.Bucket([]byte(bucket)); b != nil {
		_ = b.ForEach(func(key, _ []byte) error {
			keys[binary.BigEndian.Uint64(key)] = true
			return nil
		})
	}
	return keys
}
