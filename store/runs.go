package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// run is a sealed, sorted part of the memory: a bucket of chunks, each under its first fingerprint, and a record that says that
// it is whole. Values are replaced, never changed in place.
type run struct {
	number  uint64
	count   int
	newest  time.Time
	through uint64 // the chunks of ids before this one are in this run or an older one
	filter  bloom
}

func (r *run) record() []byte {
	e := newRecord(kindRun, 32)
	e.uint(uint64(r.count))
	e.time(r.newest)
	e.uint(r.through)
	return e.seal(seqKey(r.number))
}

func readRun(key, value []byte) (*run, error) {
	r := &run{number: binary.BigEndian.Uint64(key)}
	d, err := open(kindRun, key, value)
	if err != nil {
		return r, err
	}
	r.count, r.newest, r.through = int(d.uint()), d.time(), d.uint()
	return r, d.err
}

// runBucket names the bucket of a run within the bucket of all runs.
func runBucket(number uint64) string { return prefixRun + string(seqKey(number)) }

// chunks reads the run's chunks in order, handing each to fn, or to bad what can't be read. prints are valid only during the call.
func (r *run) chunks(tx *bolt.Tx, fn func(key []byte, at time.Time, prints []fingerprint), bad func(key, value []byte, err error)) {
	b := tx.Bucket([]byte(bucketRun)).Bucket(seqKey(r.number))
	if b == nil {
		return
	}
	var space [chunkSize]fingerprint
	_ = b.ForEach(func(key, value []byte) error {
		if at, prints, err := readChunk(key, value, space[:0]); err != nil {
			bad(key, value, err)
		} else {
			fn(key, at, prints)
		}
		return nil
	})
}

// loadRun reads a run and makes its filter. It is not sound when a chunk is lost or damaged, or its record says something else.
func loadRun(tx *bolt.Tx, key, value []byte) (r *run, sound bool) {
	r, err := readRun(key, value)
	sound = err == nil
	expected := r.count
	if b := tx.Bucket([]byte(bucketRun)).Bucket(key); !sound && b != nil {
		expected = chunkSize * b.Stats().KeyN
	}
	r.count, r.filter = 0, newBloom(expected)
	r.chunks(tx, func(_ []byte, at time.Time, prints []fingerprint) {
		r.count += len(prints)
		if err != nil {
			r.newest = at.Add(time.Second) // a chunk's time is cut to the second
		}
		for _, f := range prints {
			r.filter.add(f)
		}
	}, func([]byte, []byte, error) { sound = false })
	return r, sound && r.count == expected
}

// has looks f up in the run's chunk that must hold it.
func (r *run) has(tx *bolt.Tx, f fingerprint) (bool, error) {
	b := tx.Bucket([]byte(bucketRun)).Bucket(seqKey(r.number))
	if b == nil {
		return false, nil // forgotten meanwhile
	}
	c := b.Cursor()
	key, value := c.Seek(f[:])
	if key == nil {
		key, value = c.Last()
	} else if !bytes.Equal(key, f[:]) {
		key, value = c.Prev()
	}
	if key == nil {
		return false, nil
	}
	var space [chunkSize]fingerprint
	_, prints, err := readChunk(key, value, space[:0])
	return slices.Contains(prints, f), err
}

// sealed completes known with what the runs have: only where a filter says that a run may have it the file is read, in one
// transaction. It returns the runs that have a chunk that can't be read.
func (s *Store) sealed(runs []*run, prints []fingerprint, known []bool) (broken []*run, err error) {
	type probe struct {
		run   *run
		print int
	}
	var probes []probe
	masks := make([]bloomBlock, len(prints))
	for i, f := range prints {
		masks[i] = bloomMask(f)
	}
	for _, r := range slices.Backward(runs) { // what comes again was mostly seen lately
		for i, f := range prints {
			if !known[i] && r.filter.mayHave(f, &masks[i]) {
				probes = append(probes, probe{r, i})
			}
		}
	}
	if len(probes) == 0 {
		return nil, nil
	}
	err = s.view(func(tx *bolt.Tx) error {
		for _, p := range probes {
			if known[p.print] {
				continue
			}
			var err error
			if known[p.print], err = p.run.has(tx, prints[p.print]); err != nil && !slices.Contains(broken, p.run) {
				broken = append(broken, p.run)
			}
		}
		return nil
	})
	return broken, err
}

// mend sets aside the run's chunks that can't be read and writes what is true of the rest.
func (b *batch) mend(r *run) error {
	mended := *r
	mended.count = 0
	bad := map[string][]byte{}
	why := errMissing
	err := b.s.view(func(tx *bolt.Tx) error {
		r.chunks(tx, func(_ []byte, _ time.Time, prints []fingerprint) {
			mended.count += len(prints)
		}, func(key, value []byte, err error) {
			bad[string(key)], why = bytes.Clone(value), err
		})
		if stored, err := readRun(seqKey(r.number), tx.Bucket([]byte(bucketRuns)).Get(seqKey(r.number))); err != nil {
			bad[""], why = nil, err
		} else if len(bad) == 0 && stored.count != mended.count {
			bad[""] = nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	for key, value := range bad {
		what := "the record " + bucketKey(bucketRuns, seqKey(r.number))
		if key != "" {
			what = "the record " + bucketKey(runBucketText(r.number), []byte(key))
			b.delete(runBucket(r.number), []byte(key))
		}
		b.setAside(event.SetAside{What: what, Why: why.Error() + "; ids that were in it are no longer remembered"}, value)
	}
	b.put(bucketRuns, seqKey(r.number), mended.record())
	b.after = append(b.after, func(st *state) {
		m := st.memory
		m.runs = slices.Clone(m.runs)
		if i := slices.IndexFunc(m.runs, func(old *run) bool { return old.number == r.number }); i >= 0 {
			m.runs[i] = &mended
		}
	})
	return nil
}

func runBucketText(number uint64) string { return fmt.Sprintf("%s%d", prefixRun, number) }

// expire forgets the oldest run when all in it is older than Remember, and reports whether there may be more.
func (s *Store) expire() bool {
	m := s.st.memory
	// With its record goes what says which chunks of ids are in runs, so these must be gone.
	if s.db == nil || s.opt.Remember <= 0 || len(m.runs) == 0 || m.leftover > 0 {
		return false
	}
	gone := m.runs[0]
	if !s.outlived(s.st.amended.chunk(gone.through-1, gone.newest), s.opt.Remember) {
		return false
	}
	err := s.write([]*request{{prepare: func(b *batch) error {
		b.deleteRun(gone.number)
		b.delete(bucketRuns, seqKey(gone.number))
		b.after = append(b.after, func(st *state) { st.memory.runs = slices.Clone(m.runs[1:]) })
		return nil
	}}})
	return err == nil
}

// outlived reports whether something stored at that time is certainly older than age. A clock that is in doubt makes nothing old.
func (s *Store) outlived(at time.Time, age time.Duration) bool {
	end := at.Add(age + time.Second) // a chunk's time is cut to the second
	return s.clock.trusted(s.st.newest) && s.clock.now().After(end)
}

// deleteRun deletes a run's bucket, if there is one.
func (b *batch) deleteRun(number uint64) {
	b.ops = append(b.ops, deleteRunOp(seqKey(number)))
}

func deleteRunOp(number []byte) op {
	return op{do: func(bk *bolt.Bucket, o *op) error {
		if bk.Bucket(o.key) == nil {
			return nil
		}
		return bk.DeleteBucket(o.key)
	}, bucket: bucketRun, key: number}
}
