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
		for _, bucket := range []string{prefixX + name, prefixDead + name} {
			if _, err := s.out.bucket(bucket); err != nil {
				return nil, 0, err
			}
		}
	}
	if s.f != nil && (s.broken[""] || len(s.seen) == 0) {
		s.report.lose("failing deliveries and dead letters, perhaps: those that were found are kept")
	}
	if err := s.out.commit(); err != nil {
		return nil, 0, err
	}
	if next, err = s.next(sinks); err != nil {
		return nil, 0, err
	}
	stand, err := s.standings(sinks, ranks)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(sinks)) {
		k, st := sinks[name], stand[name]
		for prefix, what := range map[string]string{prefixX: "deliveries that were failing at", prefixDead: "dead letters of"} {
			if s.broken[prefix+name] {
				s.report.lose("%s sink %s, perhaps: those that were found are kept", what, name)
			}
		}
		if !exact {
			n := uint64(len(st.owed))
			if ranks[name] == current && k.fresh > n {
				s.report.lose("%d deliveries that sink %s was owed: their events can't be read", k.fresh-n, name)
			}
			k.fresh, k.scan, k.out = n, max(k.scan, st.past), map[uint64]bool{}
			for _, seq := range st.owed {
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

// next is the number of the next event as far as it is known: behind all that the log, the sinks and their deliveries name.
func (s *salvage) next(sinks map[string]*sink) (next uint64, err error) {
	next = s.seen[bucketLog] + 1
	for _, k := range s.side.Sinks {
		next = max(next, k.Floor)
	}
	err = s.out.db.View(func(tx *bolt.Tx) error {
		behind := func(bucket string) {
			if key, _ := tx.Bucket([]byte(bucket)).Cursor().Last(); key != nil {
				next = max(next, binary.BigEndian.Uint64(key)+1)
			}
		}
		behind(bucketLog)
		for name, k := range sinks {
			next = max(next, k.scan)
			behind(prefixX + name)
			behind(prefixDead + name)
		}
		return nil
	})
	return next, err
}

// standing is where the deliveries to a sink stand. Each is in one place only.
type standing struct {
	failing, dead map[uint64]bool
	owed          []uint64 // and never failed
	// past is how far the sink has to have scanned, so that it takes nothing else for owed; what it is owed before that has to stand in
	// its record one by one.
	past uint64
}

// standings finds where the deliveries to each sink stand, and takes out of the failing and dead ones what contradicts that.
func (s *salvage) standings(sinks map[string]*sink, ranks map[string]rank) (map[string]*standing, error) {
	all := map[string]*standing{}
	return all, s.out.db.Update(func(tx *bolt.Tx) error {
		for name := range sinks {
			st, err := s.refused(tx, name)
			if err != nil {
				return err
			}
			all[name] = st
		}
		return tx.Bucket([]byte(bucketLog)).ForEach(func(key, value []byte) error {
			h, err := readHead(key, value)
			for name, k := range sinks {
				if err := s.place(tx, k, ranks[name], all[name], binary.BigEndian.Uint64(key), h, err == nil); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// refused reads what failed at a sink: what is failing is not dead as well, and its event is there.
func (s *salvage) refused(tx *bolt.Tx, name string) (*standing, error) {
	failing, dead := tx.Bucket([]byte(prefixX+name)), tx.Bucket([]byte(prefixDead+name))
	st := &standing{failing: keysOf(failing), dead: keysOf(dead)}
	for seq := range st.dead {
		if st.failing[seq] {
			delete(st.dead, seq)
			if err := dead.Delete(seqKey(seq)); err != nil {
				return nil, err
			}
		}
	}
	log, gone := tx.Bucket([]byte(bucketLog)), 0
	for seq := range st.failing {
		if _, err := readEvent(seqKey(seq), log.Get(seqKey(seq))); err == nil || s.whole(bucketLog) {
			continue
		}
		gone++
		if err := failing.Delete(seqKey(seq)); err != nil {
			return nil, err
		}
	}
	if gone > 0 {
		s.report.lose("%d failing deliveries that sink %s was owed: their events can't be read", gone, name)
	}
	return st, nil
}

// place finds where the delivery of an event to a sink stands.
func (s *salvage) place(tx *bolt.Tx, k *sink, r rank, st *standing, seq uint64, h head, readable bool) error {
	_, open := k.out[seq]
	if !open && (seq < k.scan || readable && !h.wantedBy(k.index)) {
		return nil
	}
	// What the record of the sink no longer says, that of the attempt does.
	if !readable || k.fresh == 0 && r == current || r > current && delivered(tx, k.index, seq) {
		st.past = seq + 1
		return nil
	}
	if r == current { // what this record says is true, so another place is not
		for bucket, there := range map[string]map[uint64]bool{prefixX + k.name: st.failing, prefixDead + k.name: st.dead} {
			if there[seq] && s.ranks[bucket+"/"+string(seqKey(seq))] > current {
				delete(there, seq)
				if err := tx.Bucket([]byte(bucket)).Delete(seqKey(seq)); err != nil {
					return err
				}
			}
		}
	}
	if st.failing[seq] || st.dead[seq] {
		st.past = seq + 1
	} else {
		st.owed = append(st.owed, seq)
	}
	return nil
}

func keysOf(b *bolt.Bucket) map[uint64]bool {
	keys := map[uint64]bool{}
	_ = b.ForEach(func(key, _ []byte) error {
		keys[binary.BigEndian.Uint64(key)] = true
		return nil
	})
	return keys
}
