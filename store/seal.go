package store

import (
	"encoding/binary"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	sealSlice   = 8192        // fingerprints sorted into a run in one transaction: about 40 pages
	unsealSlice = 500         // chunks of ids deleted in one transaction
	sealPause   = time.Minute // after a transaction of sealing has failed
)

// sealing is a run in the making. It lives in memory only: what of it is in the file has no record yet, and is deleted when the run
// is begun anew after a crash.
type sealing struct {
	table       *table // the oldest
	run         *run
	part, parts int // each part is sorted by itself, in one transaction
}

// seal does one slice of what there is to do and reports whether there is more: it brings the oldest table into a run, then
// deletes the chunks of ids that it came from. Requests get their turn between slices.
func (s *Store) seal() bool {
	m := s.st.memory
	if s.db == nil || time.Now().Before(s.sealAfter) {
		return false
	}
	if m.leftover > 0 {
		return s.unseal(m)
	}
	if m.sealing == nil {
		if oldest := m.tables[0]; len(m.tables) > 1 || m.full(oldest, s.clock.now()) {
			if len(m.tables) == 1 {
				s.mu.Lock()
				m.cut()
				s.mu.Unlock()
			}
			m.sealing = &sealing{table: oldest, parts: (oldest.count + s.opt.sealSlice - 1) / s.opt.sealSlice,
				run: &run{number: m.nextRun, newest: oldest.newest, through: oldest.through, filter: newBloom(oldest.count)}}
		} else {
			return false
		}
	}
	return s.sealPart(m, m.sealing)
}

func (s *Store) sealPart(m *memory, g *sealing) bool {
	prints := g.table.part(g.part, g.parts)
	slices.SortFunc(prints, fingerprint.compare)
	err := s.write([]*request{{prepare: func(b *batch) error {
		if g.part == 0 {
			b.deleteRun(g.run.number)
		}
		for chunk := range slices.Chunk(prints, chunkSize) {
			b.put(runBucket(g.run.number), chunk[0][:], chunkRecord(chunk[0][:], g.run.newest, chunk))
		}
		last := g.part+1 == g.parts
		if last {
			whole := *g.run
			whole.count += len(prints)
			b.put(bucketRuns, seqKey(whole.number), whole.record())
		}
		b.after = append(b.after, func(*state) {
			g.part++
			g.run.count += len(prints)
			for _, f := range prints {
				g.run.filter.add(f)
			}
			if last {
				m.runs = append(slices.Clip(m.runs), g.run)
				m.tables = slices.Clone(m.tables[1:])
				m.sealing, m.leftover, m.nextRun = nil, g.run.through, g.run.number+1
			}
		})
		return nil
	}}})
	if err != nil {
		s.sealAfter = time.Now().Add(sealPause) // the store was read anew, and sealing begins anew
	}
	return err == nil
}

// unseal deletes one slice of the chunks of ids that are in runs.
func (s *Store) unseal(m *memory) bool {
	var keys [][]byte
	more := false
	err := s.view(func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte(bucketIDs)).Cursor()
		for key, _ := c.First(); key != nil && binary.BigEndian.Uint64(key) < m.leftover; key, _ = c.Next() {
			if more = len(keys) == unsealSlice; more {
				break
			}
			keys = append(keys, slices.Clone(key))
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
		b.after = append(b.after, func(*state) {
			if !more {
				m.leftover = 0
			}
		})
		return nil
	}}})
	if err != nil {
		s.sealAfter = time.Now().Add(sealPause) // the store was read anew, and sealing begins anew
	}
	return err == nil
}

// keepUp is a slice after each group of requests, and more when several tables wait: no stream of ids can outrun it.
func (s *Store) keepUp() {
	for range min(max(1, len(s.st.memory.tables)-1), 4) {
		if !s.seal() {
			return
		}
	}
}
