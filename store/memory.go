package store

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// fingerprint stands for a source's event id in the dedupe memory. Sixteen bytes, since a false match would be an event lost.
type fingerprint [16]byte

const (
	chunkSize = 60             // fingerprints that share a record: four such records fill a page
	runSize   = 250_000        // fingerprints after which a table is sealed
	runSpan   = 24 * time.Hour // and the time after which it is, if what is remembered is forgotten some day
)

// memory is which ids were taken in. New fingerprints go, in the order of taking in, to chunks of the bucket ids and to the
// last table. A table that is full or a day old is sealed: sorted into a run of its own in the file, of which only a Bloom filter stays
// in memory, and its chunks are deleted. What is forgotten is the oldest run, whole.
//
// A fingerprint stands in one place only: in a chunk and its table, or in a run. While a run is being built its fingerprints count as
// not sealed, and while its chunks are being deleted they count as gone.
type memory struct {
	key  []byte // of the fingerprints, made with the file
	size int    // of a run
	span time.Duration

	tables []*table // oldest first; the last takes in
	runs   []*run   // oldest first; never changed in place

	// The writer's own.
	sealing  *sealing
	leftover uint64 // the chunks of ids before this one are in runs; zero: all of these are deleted
	nextRun  uint64
}

func newMemory(key []byte, o Options) *memory {
	m := &memory{key: key, size: o.runSize, nextRun: 1}
	if o.Remember > 0 {
		m.span = min(runSpan, o.Remember)
	}
	m.tables = []*table{newTable(m.size)}
	return m
}

// fingerprint is a keyed hash: the key is a prefix, which is sound since the hash is cut and no one sees it.
func (m *memory) fingerprint(source, id string) fingerprint {
	var space [128]byte
	text := append(space[:0], m.key...)
	text = append(text, source...)
	text = append(text, 0)
	text = append(text, id...)
	sum := sha256.Sum256(text)
	return fingerprint(sum[:16])
}

// count is how many ids are remembered.
func (m *memory) count() (n uint64) {
	for _, t := range m.tables {
		n += uint64(t.count)
	}
	for _, r := range m.runs {
		n += uint64(r.count)
	}
	return n
}

// unsealed reports whether a table has f.
func (m *memory) unsealed(f fingerprint) bool {
	for _, t := range m.tables {
		if t.has(f) {
			return true
		}
	}
	return false
}

// full reports whether a table takes no more at that time.
func (m *memory) full(t *table, at time.Time) bool {
	return t.count >= m.size || t.count > 0 && m.span > 0 && at.Sub(t.oldest).Abs() >= m.span
}

// take adds a chunk to the last table.
func (m *memory) take(chunk uint64, at time.Time, prints []fingerprint) {
	t := m.tables[len(m.tables)-1]
	if m.full(t, at) {
		m.cut()
		t = m.tables[len(m.tables)-1]
	}
	if t.count == 0 {
		t.oldest = at
	}
	if at.After(t.newest) {
		t.newest = at
	}
	for _, f := range prints {
		t.add(f)
	}
	t.through = chunk + 1
}

// cut lets the last table take no more.
func (m *memory) cut() {
	if m.tables[len(m.tables)-1].count > 0 {
		m.tables = append(m.tables, newTable(m.size))
	}
}

// chunkRecord is that of a chunk of ids, and of a sorted one of a run: there the time is when the run's newest was taken in.
func chunkRecord(key []byte, at time.Time, prints []fingerprint) []byte {
	e := newRecord(kindIDs, 8+len(prints)*len(fingerprint{}))
	e.b = binary.BigEndian.AppendUint64(e.b, uint64(at.Unix()))
	for i := range prints {
		e.b = append(e.b, prints[i][:]...)
	}
	return e.seal(key)
}

// readChunk appends the chunk's fingerprints to prints.
func readChunk(key, value []byte, prints []fingerprint) (time.Time, []fingerprint, error) {
	d, err := open(kindIDs, key, value)
	if err != nil {
		return time.Time{}, prints, err
	}
	if len(d.b) < 8 || len(d.b)%len(fingerprint{}) != 8 {
		return time.Time{}, prints, errShort
	}
	at := time.Unix(int64(binary.BigEndian.Uint64(d.b)), 0)
	for b := d.b[8:]; len(b) > 0; b = b[len(fingerprint{}):] {
		prints = append(prints, fingerprint(b[:len(fingerprint{})]))
	}
	return at, prints, nil
}

func (st *state) loadMemory(tx *bolt.Tx, o Options) (repairs []*request, err error) {
	m := newMemory(slices.Clone(tx.Bucket([]byte(bucketMeta)).Get([]byte("hashkey"))), o)
	st.memory = m
	through := uint64(0)
	_ = tx.Bucket([]byte(bucketRuns)).ForEach(func(key, value []byte) error {
		r, sound := loadRun(tx, key, value)
		m.runs = append(m.runs, r)
		m.nextRun = r.number + 1
		through = max(through, r.through)
		st.seen(st.amended.chunk(r.through-1, r.newest))
		if !sound {
			repairs = append(repairs, &request{prepare: func(b *batch) error { return b.mend(r) }})
		}
		return nil
	})
	// What a crash left of a run is the next one's, also where all runs with a record have expired.
	if key, _ := tx.Bucket([]byte(bucketRun)).Cursor().Seek(seqKey(m.nextRun)); key != nil {
		m.nextRun = max(m.nextRun, binary.BigEndian.Uint64(key))
	}
	var prints []fingerprint
	err = tx.Bucket([]byte(bucketIDs)).ForEach(func(key, value []byte) error {
		chunk := binary.BigEndian.Uint64(key)
		if chunk < through {
			m.leftover = through
			return nil
		}
		var at time.Time
		if at, prints, err = readChunk(key, value, prints[:0]); err != nil {
			repairs = append(repairs, forgotten(key, value, err))
			return nil
		}
		at = st.amended.chunk(chunk, at)
		st.seen(at)
		m.take(chunk, at, prints)
		return nil
	})
	return repairs, err
}

// remember writes fingerprints that were not known; they are known once the batch is durable.
func (b *batch) remember(prints []fingerprint) {
	for len(prints) > 0 {
		part := prints[:min(chunkSize, len(prints))]
		prints = prints[len(part):]
		chunk := b.nextChunk
		key := seqKey(chunk)
		b.nextChunk++
		b.put(bucketIDs, key, chunkRecord(key, b.now, part))
		for _, f := range part {
			b.prints[f] = struct{}{}
		}
		b.after = append(b.after, func(st *state) { st.memory.take(chunk, b.now, part) })
	}
}

// known reports for each fingerprint whether it is remembered, counting what this batch will remember.
func (b *batch) known(prints []fingerprint) ([]bool, error) {
	known := make([]bool, len(prints))
	for i, f := range prints {
		_, known[i] = b.prints[f]
		known[i] = known[i] || b.st.memory.unsealed(f)
	}
	broken, err := b.s.sealed(b.st.memory.runs, prints, known)
	for _, r := range broken {
		err = errors.Join(err, b.mend(r))
	}
	return known, err
}

// remembered reports for each fingerprint whether it is remembered. What can't be read is not.
func (s *Store) remembered(prints []fingerprint) ([]bool, error) {
	s.mu.Lock()
	if s.dead != nil {
		defer s.mu.Unlock()
		return nil, s.dead
	}
	known, runs := make([]bool, len(prints)), s.st.memory.runs
	for i, f := range prints {
		known[i] = s.st.memory.unsealed(f)
	}
	s.mu.Unlock()
	_, err := s.sealed(runs, prints, known)
	return known, err
}
