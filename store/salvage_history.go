package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// historyAge grows with every version of a record of attempts, of a replay or of the clock.
func historyAge(bucket string, key, value []byte) (age uint64) {
	switch bucket {
	case bucketTries:
		t, _ := readTries(key, value)
		for one := range slices.Chunk(t, trySize) {
			age = max(age, binary.BigEndian.Uint64(one[2:])&(1<<48-1)) // when it began; the number of the attempt stands before that
		}
	case bucketFails:
		f, _ := readFails(key, value)
		for _, d := range f {
			age = max(age, uint64(max(0, d.At.UnixMicro())))
		}
	case bucketAgain:
		if r, err := readReplay(key, value); err == nil {
			age = r.scan<<16 + min(r.total-min(r.total, r.left), 1<<16-1)
		}
	case bucketMeta:
		if d, err := open(kindClock, key, value); err == nil {
			d.bool()
			age = uint64(max(0, d.time().Unix()))
		}
	}
	return age
}

// losses names the parts of which something may be missing that no count shows.
func (s *salvage) losses() {
	if len(s.pre.headers) == 0 && s.pre.size < pageHead {
		switch {
		case s.f == nil && len(s.report.Damage) == 0:
		case s.sideAt.IsZero():
			s.report.lose("everything that was in it, and there is no copy of the positions: sources begin by their `start`")
		default:
			s.report.lose("everything that was in it: what is left is the positions that stand in %s", sidePath(s.path))
		}
		return
	}
	for _, part := range []struct{ bucket, what string }{
		{bucketLog, "events"},
		{bucketTries, "when deliveries were made"},
		{bucketFails, "why deliveries failed before"},
		{bucketAgain, "replays that were not done"},
		{bucketAside, "what was set aside"},
	} {
		if !s.whole(part.bucket) {
			s.report.lose("%s, perhaps: of these %d records were found", part.what, s.out.kept[part.bucket])
		}
	}
	if !s.whole(bucketMeta) && s.out.kept[bucketMeta] == 0 {
		s.report.lose("which records a clock that was wrong has stamped, if there are any: these may be kept too long or not long enough")
	}
}

// attempts takes out what the history says of events that are gone or of deliveries that are owed: it was deleted or was not yet
// there when the rest was written.
func (s *salvage) attempts(sinks map[string]*sink, next uint64) error {
	byIndex := map[uint16]*sink{}
	for _, k := range sinks {
		byIndex[k.index] = k
	}
	return s.edit(func(tx *bolt.Tx) error {
		log := tx.Bucket([]byte(bucketLog))
		var gone [][]byte
		fails := tx.Bucket([]byte(bucketFails))
		_ = fails.ForEach(func(key, _ []byte) error {
			if byIndex[binary.BigEndian.Uint16(key[8:])] == nil || log.Get(key[:8]) == nil {
				gone = append(gone, slices.Clone(key))
			}
			return nil
		})
		err := deleteAll(fails, gone)
		gone = nil
		changed := map[string]tries{}
		blocks := tx.Bucket([]byte(bucketTries))
		_ = blocks.ForEach(func(key, value []byte) error {
			t, err := readTries(key, value)
			if err != nil {
				return nil // the daemon sets it aside when it meets it
			}
			block, k := binary.BigEndian.Uint64(key), byIndex[binary.BigEndian.Uint16(key[8:])]
			first, _ := log.Cursor().Seek(seqKey(block * triesBlock))
			if k == nil || (block+1)*triesBlock <= next && (first == nil || binary.BigEndian.Uint64(first) >= (block+1)*triesBlock) {
				gone = append(gone, slices.Clone(key))
				return nil
			}
			left := t.without(func(one []byte) bool {
				seq := block*triesBlock + uint64(one[0])
				return one[1] == 0 && k.owes(log, seq)
			})
			if len(left) < len(t) {
				changed[string(key)] = left
			}
			return nil
		})
		err = errors.Join(err, deleteAll(blocks, gone))
		for key, t := range changed {
			err = errors.Join(err, blocks.Put([]byte(key), t.record([]byte(key))))
		}
		return err
	})
}

func deleteAll(b *bolt.Bucket, keys [][]byte) (err error) {
	for _, key := range keys {
		err = errors.Join(err, b.Delete(key))
	}
	return err
}

// owes reports whether the sink, as it stands in the file, is owed seq and has never attempted it.
func (k *sink) owes(log *bolt.Bucket, seq uint64) bool {
	if _, open := k.out[seq]; open || seq < k.scan || k.fresh == 0 {
		return open
	}
	h, err := readHead(seqKey(seq), log.Get(seqKey(seq)))
	return err == nil && h.wantedBy(k.index)
}

// delivered reports whether the history that was saved says that a sink has got seq.
func delivered(tx *bolt.Tx, index uint16, seq uint64) bool {
	b := tx.Bucket([]byte(bucketTries))
	if b == nil {
		return false
	}
	key := tryKey(seq, index)
	value := b.Get(key)
	if value == nil {
		return false
	}
	t, err := readTries(key, value)
	return err == nil && len(t.of(seq)) > 0
}

// replays writes the replays that were found, so that each has left what the log still has of it.
func (s *salvage) replays(sinks map[string]*sink) error {
	return s.edit(func(tx *bolt.Tx) error {
		log := tx.Bucket([]byte(bucketLog))
		for _, c := range s.rescued {
			if c.bucket != bucketAgain {
				continue
			}
			value, err := s.value(c)
			if err != nil {
				continue
			}
			key := []byte(c.key)
			r, err := readReplay(key, value)
			if err != nil || r.cancelled {
				continue
			}
			k := sinks[r.what.Sink]
			if k == nil {
				s.report.lose("replay %d: its sink %s isn't known", r.id, r.what.Sink)
				continue
			}
			if c.rank > current {
				s.report.back(bucketAgain)
			}
			was := r.left
			open := r.keep(tx, log, k)
			if r.left < was {
				s.report.lose("%d events that replay %d had left for sink %s: they can't be read, or it is owed them anyway", was-r.left, r.id, k.name)
			}
			if r.left == 0 {
				continue
			}
			s.out.kept[bucketAgain]++
			if err := tx.Bucket([]byte(bucketAgain)).Put(key, r.record(key, r.left, false, open)); err != nil {
				return err
			}
		}
		return nil
	})
}

// keep counts what is left of a replay and lists what it had handed out and has still to deliver.
func (r *replayJob) keep(tx *bolt.Tx, log *bolt.Bucket, k *sink) (open []uint64) {
	failing, dead := tx.Bucket([]byte(prefixX+k.name)), tx.Bucket([]byte(prefixDead+k.name))
	for seq := range r.out {
		key := seqKey(seq)
		if _, matches := r.matches(key, log.Get(key)); matches && failing.Get(key) == nil && dead.Get(key) == nil && !k.owes(log, seq) {
			open = append(open, seq)
		}
	}
	slices.Sort(open)
	r.left = uint64(len(open))
	c := log.Cursor()
	for key, value := c.Seek(seqKey(r.scan)); key != nil && binary.BigEndian.Uint64(key) < r.what.To; key, value = c.Next() {
		if _, matches := r.matches(key, value); matches {
			r.left++
		}
	}
	return open
}

// edit changes what was written.
func (s *salvage) edit(change func(*bolt.Tx) error) error {
	if err := s.out.commit(); err != nil {
		return err
	}
	if err := s.out.db.Update(change); err != nil {
		return fmt.Errorf("making it agree: %w", err)
	}
	return nil
}
