package store

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	bolt "go.etcd.io/bbolt"
)

// fingerprint stands for a source's event id in the dedupe memory. Sixteen bytes, since a false match would be an event lost.
type fingerprint [16]byte

// chunkSize is how many fingerprints share a record: four such records fill a page.
const chunkSize = 60

// memory is which ids were taken in. All fingerprints are in one table in memory (20 to 38 bytes each) and, in the order of
// taking in, in chunks in the file. Chunks expire whole, oldest first. Callers ask known and hand chunks to it; nothing else
// depends on where an older fingerprint is kept.
type memory struct {
	key    []byte // of the fingerprints, made with the file
	table  map[fingerprint]struct{}
	oldest time.Time // when the oldest chunk was taken in; zero when there is none
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

func (m *memory) known(f fingerprint) bool {
	_, ok := m.table[f]
	return ok
}

func chunkRecord(key []byte, at time.Time, prints []fingerprint) []byte {
	e := newRecord(kindIDs, 8+len(prints)*len(fingerprint{}))
	e.b = binary.BigEndian.AppendUint64(e.b, uint64(at.Unix()))
	for i := range prints {
		e.b = append(e.b, prints[i][:]...)
	}
	return e.seal(key)
}

func readChunk(key, value []byte) (at time.Time, prints []fingerprint, err error) {
	d, err := open(kindIDs, key, value)
	if err != nil {
		return time.Time{}, nil, err
	}
	if len(d.b) < 8 || len(d.b)%len(fingerprint{}) != 8 {
		return time.Time{}, nil, errShort
	}
	at = time.Unix(int64(binary.BigEndian.Uint64(d.b)), 0)
	for b := d.b[8:]; len(b) > 0; b = b[len(fingerprint{}):] {
		prints = append(prints, fingerprint(b[:len(fingerprint{})]))
	}
	return at, prints, nil
}

func (st *state) loadMemory(tx *bolt.Tx) (repairs []*request, err error) {
	key := tx.Bucket([]byte(bucketMeta)).Get([]byte("hashkey"))
	m := &memory{key: append([]byte(nil), key...), table: map[fingerprint]struct{}{}}
	st.memory = m
	err = tx.Bucket([]byte(bucketIDs)).ForEach(func(key, value []byte) error {
		at, prints, err := readChunk(key, value)
		if err != nil {
			repairs = append(repairs, forgotten(bucketKey(bucketIDs, key), value, err))
			return nil
		}
		if m.oldest.IsZero() {
			m.oldest = at
		}
		if at.After(st.newest) {
			st.newest = at
		}
		for _, f := range prints {
			m.table[f] = struct{}{}
		}
		return nil
	})
	return repairs, err
}

// remember writes fingerprints that were not known; they are known once the batch is durable.
func (b *batch) remember(prints []fingerprint) {
	for len(prints) > 0 {
		part := prints[:min(chunkSize, len(prints))]
		prints = prints[len(part):]
		key := seqKey(b.nextChunk)
		b.nextChunk++
		b.put(bucketIDs, key, chunkRecord(key, b.now, part))
		for _, f := range part {
			b.prints[f] = struct{}{}
		}
		b.after = append(b.after, func(st *state) {
			for _, f := range part {
				st.memory.table[f] = struct{}{}
			}
			if st.memory.oldest.IsZero() {
				st.memory.oldest = b.now
			}
		})
	}
}

// known reports whether the id is remembered, counting what this batch will remember.
func (b *batch) known(f fingerprint) bool {
	if _, ok := b.prints[f]; ok {
		return true
	}
	return b.st.memory.known(f)
}
