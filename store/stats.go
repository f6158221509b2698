package store

import (
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// Sources tells of each source that was ever configured.
func (s *Store) Sources() ([]event.SourceStats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		return nil, s.dead
	}
	var all []event.SourceStats
	for _, name := range slices.Sorted(maps.Keys(s.st.sources)) {
		src := s.st.sources[name]
		all = append(all, event.SourceStats{Name: name, Identity: src.identity, Removed: !src.configured, Position: slices.Clone(src.position), Moved: src.moved,
			Gaps: slices.Clone(src.gaps), GapCount: src.gapCount, Aside: src.aside})
	}
	return all, nil
}

// Sinks tells of each configured sink, and of each that isn't and still has something owed or dead.
func (s *Store) Sinks() ([]event.SinkStats, error) {
	s.mu.Lock()
	if s.dead != nil {
		defer s.mu.Unlock()
		return nil, s.dead
	}
	var all []event.SinkStats
	var plans []plan
	for _, name := range slices.Sorted(maps.Keys(s.st.sinks)) {
		k := s.st.sinks[name]
		if k.frozen && k.owed() == 0 && k.dead == 0 {
			continue
		}
		stats := event.SinkStats{Name: name, Frozen: k.frozen, State: k.state, Owed: k.owed(), Retrying: len(k.failing), Replaying: k.toReplay(), Dead: k.dead}
		p := plan{index: k.index, scan: k.scan, head: s.st.next, unseen: k.unseen()}
		for seq, inFlight := range k.out {
			p.fresh = append(p.fresh, seq)
			if inFlight {
				stats.InFlight++
			}
		}
		for _, r := range k.replays {
			for seq, inFlight := range r.out {
				p.fresh = append(p.fresh, seq)
				if inFlight {
					stats.InFlight++
				}
			}
			if r.scan < r.what.To {
				p.fresh = append(p.fresh, r.scan)
			}
		}
		for seq, x := range k.failing {
			p.fresh = append(p.fresh, seq)
			if x.inFlight {
				stats.InFlight++
			}
		}
		if len(k.due) > 0 {
			stats.NextDue = k.due[0].due.Round(0)
		}
		all = append(all, stats)
		plans = append(plans, p)
	}
	s.mu.Unlock()
	err := s.view(func(tx *bolt.Tx) error {
		log := tx.Bucket([]byte(bucketLog))
		for i, p := range plans {
			if all[i].Owed > 0 {
				all[i].Oldest = oldest(log, p)
			}
		}
		return nil
	})
	return all, err
}

// oldest is when the first of what a sink is owed was taken in. Where a scan would take long it is when the last event that
// was looked at was, which is earlier.
func oldest(log *bolt.Bucket, p plan) time.Time {
	if len(p.fresh) > 0 {
		key := seqKey(slices.Min(p.fresh))
		if h, err := readHead(key, log.Get(key)); err == nil {
			return h.received
		}
	}
	var at time.Time
	c := log.Cursor()
	key, value := c.Seek(seqKey(p.scan))
	for range scanLimit {
		if key == nil || binary.BigEndian.Uint64(key) >= p.head {
			break
		}
		h, err := readHead(key, value)
		if err == nil {
			at = h.received
		}
		if h.wantedBy(p.index) {
			break
		}
		key, value = c.Next()
	}
	return at
}

// Stats tells of the store itself.
func (s *Store) Stats() (event.StoreStats, error) {
	stats := event.StoreStats{Path: s.path}
	if info, err := os.Stat(s.path); err == nil {
		stats.Size = info.Size()
	}
	if free, err := s.opt.free(filepath.Dir(s.path)); err == nil {
		stats.Free = free
	}
	s.file.RLock()
	if s.db == nil {
		s.file.RUnlock()
		return stats, s.gone()
	}
	size, reusable := extent(s.db)
	s.file.RUnlock()
	stats.Used = size - reusable
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Clock = s.clock.trouble()
	stats.Events, stats.IDs, stats.Full, stats.Limit = s.st.events, s.st.memory.count(), s.full, s.limit
	return stats, nil
}
