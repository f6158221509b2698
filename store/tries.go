package store

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

const (
	triesBlock = 64      // seqs whose deliveries to a sink share a record
	trySize    = 16      // bytes of a delivery that succeeded
	maxFails   = 5       // failures that are kept of a delivery
	maxEarlier = 1 << 10 // bytes kept of what the sink said, of all but the last attempt
)

// tryKey is that of the record of a seq's block.
func tryKey(seq uint64, sink uint16) []byte {
	return binary.BigEndian.AppendUint16(seqKey(seq/triesBlock), sink)
}

func failsKey(seq uint64, sink uint16) []byte {
	return binary.BigEndian.AppendUint16(seqKey(seq), sink)
}

// tries is what a block says: sixteen bytes each, which are the place in the block, whether it was a replay, the number of the
// attempt (2), when it began in Unix milliseconds (6) and how long it took in microseconds (6). A delivery stands in it once for itself and
// once for its last replay.
type tries []byte

// What a record of tries begins with tells how they stand there: packed, as they are written now, or, as they once were, each in its sixteen bytes,
// of which the first is a place.
const triesPacked = 0xff

const ( // in the byte of a place
	packedReplay = 1 << 6
	packedNumber = 1 << 7 // the number of the attempt follows, since it was not the first
)

// record packs what most have in common: most are the next event's, succeed at the first try, and begin a moment after the one before. Of these only
// how long after, marked by its last bit, and how long it took are written: some four bytes of sixteen, so that fewer pages are touched.
func (t tries) record(key []byte) []byte {
	e := newRecord(kindTries, 1+len(t)/2)
	e.b = append(e.b, triesPacked)
	place, last := byte(0xff), uint64(0)
	for one := range slices.Chunk(t, trySize) {
		number, at := binary.BigEndian.Uint16(one[2:]), uint48(one[4:])
		after := uint64(int64(at-last)<<1^int64(at-last)>>63) << 1
		switch place++; {
		case one[0] == place && one[1] == 0 && number == 1:
			e.uint(after | 1)
		case number == 1:
			e.uint(after)
			e.b = append(e.b, one[0]|one[1]*packedReplay)
		default:
			e.uint(after)
			e.b = append(e.b, one[0]|one[1]*packedReplay|packedNumber)
			e.uint(uint64(number))
		}
		e.uint(uint48(one[10:]))
		place, last = one[0], at
	}
	return e.seal(key)
}

func readTries(key, value []byte) (tries, error) {
	d, err := open(kindTries, key, value)
	if err != nil {
		return nil, err
	}
	if len(d.b) > 0 && d.b[0] == triesPacked {
		return d.unpackTries()
	}
	if len(d.b)%trySize != 0 {
		return nil, errShort
	}
	return tries(d.b), nil
}

func (d *decoder) unpackTries() (tries, error) {
	t := make(tries, 0, 5*len(d.b))
	place, at := byte(0xff), uint64(0)
	for d.b = d.b[1:]; len(d.b) > 0; {
		var one [trySize]byte
		number, after := uint64(1), d.uint()
		if place++; after&1 == 0 {
			if len(d.b) == 0 {
				return nil, errShort
			}
			place, one[1] = d.b[0]%triesBlock, d.b[0]/packedReplay%2
			numbered := d.b[0]&packedNumber != 0
			if d.b = d.b[1:]; numbered {
				number = d.uint()
			}
		}
		after >>= 1
		at += after>>1 ^ -(after & 1)
		one[0] = place % triesBlock
		binary.BigEndian.PutUint16(one[2:], uint16(number))
		putUint48(one[4:], at)
		putUint48(one[10:], d.uint())
		t = append(t, one[:]...)
	}
	return t, d.err
}

func uint48(b []byte) (n uint64) {
	for _, c := range b[:6] {
		n = n<<8 | uint64(c)
	}
	return n
}

func putUint48(b []byte, n uint64) {
	for i := range 6 {
		b[i] = byte(n >> (40 - 8*i))
	}
}

// with returns t with one more. It doesn't change t.
func (t tries) with(seq uint64, d event.Tried) tries {
	var one [trySize]byte
	one[0] = byte(seq % triesBlock)
	if d.Replay {
		one[1] = 1
	}
	binary.BigEndian.PutUint16(one[2:], uint16(min(d.Number, math.MaxUint16)))
	putUint48(one[4:], uint64(d.At.UnixMilli()))
	putUint48(one[10:], uint64(max(0, d.Took.Microseconds())))
	return append(t.without(func(old []byte) bool { return old[0] == one[0] && old[1] == one[1] }), one[:]...)
}

// without returns a copy of t without those for which gone says so.
func (t tries) without(gone func(one []byte) bool) tries {
	all := make(tries, 0, len(t)+trySize)
	for one := range slices.Chunk(t, trySize) {
		if !gone(one) {
			all = append(all, one...)
		}
	}
	return all
}

// of returns what t says of seq: the delivery itself, then its replay.
func (t tries) of(seq uint64) []event.Tried {
	var all []event.Tried
	for b := range slices.Chunk(t, trySize) {
		if b[0] != byte(seq%triesBlock) {
			continue
		}
		at, took := uint48(b[4:]), uint48(b[10:])
		all = append(all, event.Tried{Number: int(binary.BigEndian.Uint16(b[2:])), Delivered: true, Replay: b[1] == 1,
			Attempt: event.Attempt{At: time.UnixMilli(int64(at)).UTC(), Took: time.Duration(took) * time.Microsecond}})
	}
	return all
}

// fails are the last failures of a delivery, oldest first.
type fails []event.Tried

// with returns f with one more, whose answer is cut, and at most n.
func (f fails) with(d event.Tried, n int) fails {
	d.Answer = end(d.Answer, maxEarlier)
	f = append(slices.Clone(f), d)
	return f[max(0, len(f)-n):]
}

func (e *encoder) fails(f fails) {
	e.uint(uint64(len(f)))
	for _, d := range f {
		e.uint(uint64(d.Number))
		e.bool(d.Replay)
		e.attempt(d.Attempt)
	}
}

func (d *decoder) fails() fails {
	var f fails
	for range d.count() {
		f = append(f, event.Tried{Number: int(d.uint()), Replay: d.bool(), Attempt: d.attempt()})
	}
	return f
}

func (f fails) record(key []byte) []byte {
	e := newRecord(kindFails, 64*len(f))
	e.fails(f)
	return e.seal(key)
}

func readFails(key, value []byte) (fails, error) {
	d, err := open(kindFails, key, value)
	if err != nil {
		return nil, err
	}
	f := d.fails()
	return f, d.err
}

// triesDraft is a block as it will be after the batch.
type triesDraft struct {
	key []byte
	t   tries
}

// block returns the draft of a seq's block.
func (b *batch) block(index uint16, seq uint64) *triesDraft {
	key := tryKey(seq, index)
	if draft := b.tries[string(key)]; draft != nil {
		return draft
	}
	draft := &triesDraft{key: key}
	_ = b.stored(bucketTries, key, func(value []byte) (err error) {
		t, err := readTries(key, value)
		draft.t = slices.Clone(t)
		return err
	})
	return draft
}

// delivered keeps that an attempt succeeded.
func (b *batch) delivered(index uint16, seq uint64, d event.Tried) {
	draft := b.block(index, seq)
	draft.t = draft.t.with(seq, d)
	b.tries[string(draft.key)] = draft
}

// unlearn drops what blocks still say of an event that was collected: its failures went with it, and half of its history says
// something else than the whole.
func (b *batch) unlearn(seq uint64) {
	for _, k := range b.st.sinks {
		draft := b.block(k.index, seq)
		if t := draft.t.without(func(one []byte) bool { return one[0] == byte(seq%triesBlock) }); len(t) < len(draft.t) {
			draft.t = t
			b.tries[string(draft.key)] = draft
		}
	}
}

// failed keeps the failures of a delivery that is owed no longer, beside those of an earlier one.
func (b *batch) failed(index uint16, seq uint64, f fails) {
	if len(f) == 0 {
		return
	}
	key := failsKey(seq, index)
	before := b.failures(index, seq)
	before = slices.DeleteFunc(before, func(d event.Tried) bool {
		return slices.ContainsFunc(f, func(x event.Tried) bool { return x.At.Equal(d.At) })
	})
	all := append(before, f...)
	b.put(bucketFails, key, all[max(0, len(all)-maxFails):].record(key))
}

// failures reads what failed keeps.
func (b *batch) failures(index uint16, seq uint64) (f fails) {
	key := failsKey(seq, index)
	_ = b.stored(bucketFails, key, func(value []byte) (err error) {
		f, err = readFails(key, value)
		return err
	})
	return f
}

// stored reads a record of history, if there is one. One that can't be read is set aside: history is poorer for it, and what is
// owed is not. It is called before the batch's transaction begins.
func (b *batch) stored(bucket string, key []byte, read func(value []byte) error) error {
	var bad []byte
	var bytesErr error
	err := b.s.view(func(tx *bolt.Tx) error {
		bk := tx.Bucket([]byte(bucket))
		if bk == nil {
			return nil
		}
		if value := bk.Get(key); value != nil {
			if bytesErr = read(value); bytesErr != nil {
				bad = append(bad, value...)
			}
		}
		return nil
	})
	if bytesErr != nil {
		b.setAside(event.SetAside{What: "the record " + bucketKey(bucket, key), Why: bytesErr.Error() + "; attempts in it are forgotten"}, bad)
	}
	return err
}

// triesOf collects the keys of the attempts that go with events: their failures, and the blocks of which no event is left before
// pos.
func triesOf(tx *bolt.Tx, keys [][]byte, pos uint64) (failsKeys, triesKeys [][]byte) {
	gone := make(map[uint64]bool, len(keys))
	blocks := map[uint64]bool{}
	for _, key := range keys {
		seq := binary.BigEndian.Uint64(key)
		gone[seq] = true
		blocks[seq/triesBlock] = true
		failsKeys = append(failsKeys, withPrefix(tx.Bucket([]byte(bucketFails)), key)...)
	}
	log := tx.Bucket([]byte(bucketLog)).Cursor()
	for block := range blocks {
		from, to := block*triesBlock, (block+1)*triesBlock
		if to > pos {
			continue
		}
		left := false
		for key, _ := log.Seek(seqKey(from)); key != nil && !left; key, _ = log.Next() {
			seq := binary.BigEndian.Uint64(key)
			if seq >= to {
				break
			}
			left = !gone[seq]
		}
		if !left {
			triesKeys = append(triesKeys, withPrefix(tx.Bucket([]byte(bucketTries)), seqKey(block))...)
		}
	}
	return failsKeys, triesKeys
}

// withPrefix lists the keys that begin so.
func withPrefix(bk *bolt.Bucket, prefix []byte) (keys [][]byte) {
	c := bk.Cursor()
	for key, _ := c.Seek(prefix); len(key) >= len(prefix) && string(key[:len(prefix)]) == string(prefix); key, _ = c.Next() {
		keys = append(keys, slices.Clone(key))
	}
	return keys
}
