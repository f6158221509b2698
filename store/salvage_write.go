package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// write fills the new store: what is whole, then the best of what was found, then what has to agree with it.
func (s *salvage) write() error {
	if err := s.identify(); err != nil {
		return err
	}
	if err := s.gather(); err != nil {
		return err
	}
	indices, names := s.names()
	s.settleNames(indices, names)
	s.best()
	for _, c := range s.rescued {
		if listed(c.bucket) {
			continue
		}
		value, err := s.value(c)
		if err != nil {
			continue // it was readable a moment ago: the disk is dying, and the counts will show it
		}
		if c.rank > current {
			s.ranks[c.bucket+"/"+c.key] = c.rank
			s.report.back(c.bucket)
		}
		if err := s.out.put(c.bucket, []byte(c.key), value); err != nil {
			return err
		}
	}
	if err := s.layout(); err != nil {
		return err
	}
	if err := s.sources(); err != nil {
		return err
	}
	sinks, next, err := s.sinks(indices)
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return s.attempts(sinks, next) }, func() error { return s.replays(sinks) }, s.remembered, s.setAside,
		func() error { return s.sequences(next) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// identify decides what makes the new store itself: what the mark beside the old one says, else what the old one says.
func (s *salvage) identify() error {
	if s.outline.newer() {
		return fmt.Errorf("%s: %w", s.path, newerLayout(binary.BigEndian.Uint64(s.outline.meta["schema"])))
	}
	if s.marked {
		return nil
	}
	s.marked = true
	if s.outline.identified() {
		copy(s.mark.uuid[:], s.outline.meta["uuid"])
		copy(s.mark.hashKey[:], s.outline.meta["hashkey"])
		return nil
	}
	s.fresh = true
	rand.Read(s.mark.uuid[:])
	rand.Read(s.mark.hashKey[:])
	s.report.lose("what was remembered of ids: the key to it is gone, with %s", markerPath(s.path))
	return nil
}

func (s *salvage) layout() error {
	for _, name := range buckets() {
		if _, err := s.out.bucket(name); err != nil {
			return err
		}
	}
	meta, err := s.out.bucket(bucketMeta)
	if err != nil {
		return err
	}
	created := s.outline.meta["created"]
	if len(created) != 8 {
		created = seqKey(uint64(time.Now().Unix()))
	}
	return errors.Join(meta.Put([]byte("created"), created), sign(meta, seqKey(schema), s.mark.uuid[:], s.mark.hashKey[:]))
}

// names finds out which index stands for which sink.
func (s *salvage) names() (indices map[string]uint16, names map[uint16]string) {
	indices, names = map[string]uint16{}, map[uint16]string{}
	learn := func(name string, index uint16) {
		if _, known := indices[name]; !known && names[index] == "" {
			indices[name], names[index] = index, name
		}
	}
	var unnamed []uint16
	for _, c := range s.rescued {
		if c.bucket != bucketSink {
			continue
		}
		if value, err := s.value(c); err == nil {
			if k, err := readSink([]byte(c.key), value); err == nil {
				learn(k.name, k.index)
			}
		}
	}
	for name, k := range s.side.Sinks {
		learn(name, k.Index)
	}
	for _, c := range s.rescued { // what remains is known by the names of their buckets
		name, isX := strings.CutPrefix(c.bucket, prefixX)
		if !isX {
			var isDead bool
			if name, isDead = strings.CutPrefix(c.bucket, prefixDead); !isDead {
				continue
			}
		}
		value, err := s.value(c)
		if err != nil {
			continue
		}
		index := uint16((&decoder{b: value[min(recordHead, len(value)):]}).uint())
		if strings.HasPrefix(name, "#") {
			unnamed = append(unnamed, index)
		} else {
			learn(name, index)
		}
	}
	for bucket := range s.seen { // a whole one was copied already
		for _, prefix := range []string{prefixX, prefixDead} {
			name, ok := strings.CutPrefix(bucket, prefix)
			if !ok || !s.whole(bucket) {
				continue
			}
			if b, err := s.out.bucket(bucket); err == nil {
				if _, value := b.Cursor().First(); len(value) > recordHead {
					learn(name, uint16((&decoder{b: value[recordHead:]}).uint()))
				}
			}
		}
	}
	for _, index := range unnamed {
		if names[index] == "" {
			learn(fmt.Sprintf("unnamed-%d", index), index)
		}
	}
	return indices, names
}

func (s *salvage) sources() error {
	have := map[string]bool{}
	for _, c := range s.rescued {
		if c.bucket != bucketSrc {
			continue
		}
		value, err := s.value(c)
		if err != nil {
			continue
		}
		have[c.key] = true
		if c.rank > current {
			s.report.back(c.bucket)
		}
		if err := s.out.put(bucketSrc, []byte(c.key), value); err != nil {
			return err
		}
	}
	if s.f != nil && (s.broken[bucketSrc] || len(s.seen) == 0) {
		without := "goes on from " + sidePath(s.path) + ", or starts anew"
		if s.sideAt.IsZero() {
			without = "starts anew"
		}
		s.report.Notes = append(s.report.Notes, fmt.Sprintf("%d positions were found in the store; a source without one %s", len(have), without))
	}
	for _, name := range slices.Sorted(maps.Keys(s.side.Sources)) {
		if have[name] {
			continue
		}
		c := s.side.Sources[name]
		src := source{identity: c.Identity, generation: c.Generation + 1, position: c.Position, moved: c.Moved}
		s.report.lose("where source %s stood: it goes on from where it stood at %s, and what it lists again is recognised as far as ids are remembered",
			name, s.sideAt.UTC().Format(time.RFC3339))
		if err := s.out.put(bucketSrc, []byte(name), src.record(name)); err != nil {
			return err
		}
	}
	return nil
}

// setAside keeps the bytes of events that nobody can say who wanted.
func (s *salvage) setAside() error {
	if len(s.ruined) == 0 {
		return nil
	}
	b, err := s.out.bucket(bucketAside)
	if err != nil {
		return err
	}
	next := s.seen[bucketAside]
	if key, _ := b.Cursor().Last(); key != nil {
		next = max(next, binary.BigEndian.Uint64(key))
	}
	for _, c := range s.ruined {
		value, err := s.value(c)
		if err != nil {
			continue
		}
		next++
		key := seqKey(next)
		what, why := "the record "+bucketKey(c.bucket, []byte(c.key)), errChecksum.Error()+"; found by a repair"
		if err := s.out.put(bucketAside, key, asideRecord(key, event.SetAside{What: what, Why: why, At: time.Now()}, value)); err != nil {
			return err
		}
	}
	s.report.lose("%d events whose records are damaged: their bytes are set aside", len(s.ruined))
	return nil
}

// sequences continues the numbers, so that none is given out again. next is that of the next event.
func (s *salvage) sequences(next uint64) error {
	if err := s.out.commit(); err != nil {
		return err
	}
	return s.out.db.Update(func(tx *bolt.Tx) error {
		for _, name := range buckets() {
			b := tx.Bucket([]byte(name))
			last := s.seen[name]
			if key, _ := b.Cursor().Last(); len(key) == 8 {
				last = max(last, binary.BigEndian.Uint64(key))
			}
			if name == bucketLog {
				last = max(last, next-1)
			}
			if err := b.SetSequence(last); err != nil {
				return err
			}
		}
		return nil
	})
}
