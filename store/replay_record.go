package store

import (
	"encoding/binary"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

func (r *replayJob) record(key []byte, left uint64, cancelled bool, open []uint64) []byte {
	e := newRecord(kindAgain, 128+4*len(open))
	e.text(r.what.Sink)
	e.bool(cancelled)
	e.time(r.started)
	for _, filter := range []event.Filter{r.what.Sources, r.what.Events} {
		e.uint(uint64(len(filter)))
		for _, glob := range filter {
			e.text(glob)
		}
	}
	for _, n := range []uint64{r.what.From, r.what.To, r.total, left, r.scan} {
		e.uint(n)
	}
	e.seqs(open)
	return e.seal(key)
}

func readReplay(key, value []byte) (*replayJob, error) {
	d, err := open(kindAgain, key, value)
	if err != nil {
		return nil, err
	}
	r := &replayJob{id: binary.BigEndian.Uint64(key), out: map[uint64]bool{}, coming: map[uint64]bool{}}
	r.what.Sink, r.cancelled, r.started = d.text(), d.bool(), d.time()
	for _, filter := range []*event.Filter{&r.what.Sources, &r.what.Events} {
		for range d.count() {
			*filter = append(*filter, d.text())
		}
	}
	for _, n := range []*uint64{&r.what.From, &r.what.To, &r.total, &r.left, &r.scan} {
		*n = d.uint()
	}
	open := d.seqs()
	for _, seq := range open {
		r.out[seq] = false
	}
	if r.pin = r.scan; len(open) > 0 {
		r.pin = open[0]
	}
	return r, d.err
}

// loadReplays reads the replays. One that was being cancelled is done; of one that can't be read nobody knows what was left.
func (st *state) loadReplays(tx *bolt.Tx) (repairs []*request, err error) {
	bk := tx.Bucket([]byte(bucketAgain))
	st.nextReplay = bk.Sequence() + 1
	return repairs, bk.ForEach(func(key, value []byte) error {
		r, err := readReplay(key, value)
		if err == nil && st.sinks[r.what.Sink] == nil {
			err = fmt.Errorf("its sink %s is not known", r.what.Sink)
		}
		if err == nil && !r.cancelled {
			st.sinks[r.what.Sink].replays = append(st.sinks[r.what.Sink].replays, r)
			return nil
		}
		key, value = slices.Clone(key), slices.Clone(value)
		repairs = append(repairs, &request{prepare: func(b *batch) error {
			if err != nil {
				b.setAside(event.SetAside{What: "the record " + bucketKey(bucketAgain, key), Why: err.Error() + "; what this replay had left is not replayed"}, value)
			}
			b.delete(bucketAgain, key)
			return nil
		}})
		return nil
	})
}
