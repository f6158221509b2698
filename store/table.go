package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"time"
)

// table holds fingerprints that are not sealed yet: an open-addressing set, 21 bytes each when a run's worth is in it, and what
// the run made of it must say.
type table struct {
	slots   []fingerprint // zero: empty. No hash is zero, for all practical purposes
	count   int
	size    int // of a run: slots grow once to hold as many
	oldest  time.Time
	newest  time.Time
	through uint64 // the chunk after its last; its first is the one before's through
}

func newTable(runSize int) *table {
	return &table{size: runSize + chunkSize}
}

// place is where f is, or else belongs. The order of slots is nearly that of fingerprints.
func (t *table) place(f fingerprint) int {
	hi, _ := bits.Mul64(f.head(), uint64(len(t.slots)))
	i := int(hi)
	for t.slots[i] != f && t.slots[i] != (fingerprint{}) {
		if i++; i == len(t.slots) {
			i = 0
		}
	}
	return i
}

func (t *table) has(f fingerprint) bool {
	return t.count > 0 && t.slots[t.place(f)] == f
}

func (t *table) add(f fingerprint) {
	if 4*(t.count+1) > 3*len(t.slots) {
		t.grow()
	}
	if i := t.place(f); t.slots[i] != f {
		t.slots[i] = f
		t.count++
	}
}

// grow takes a small table to four times as many slots, and the last time to just as many as a run needs.
func (t *table) grow() {
	n := max(64, 4*len(t.slots))
	if enough := t.size*4/3 + 2; n > enough/2 {
		n = max(enough, len(t.slots)*3/2)
	}
	old := t.slots
	t.slots = make([]fingerprint, n)
	for _, f := range old {
		if f != (fingerprint{}) {
			t.slots[t.place(f)] = f
		}
	}
}

// part returns, unsorted, those of the i-th of n equal parts of the range of all fingerprints.
func (t *table) part(i, n int) []fingerprint {
	prints := make([]fingerprint, 0, t.count/n+t.count/n/8+64)
	for _, f := range t.slots {
		if hi, _ := bits.Mul64(f.head(), uint64(n)); hi == uint64(i) && f != (fingerprint{}) {
			prints = append(prints, f)
		}
	}
	return prints
}

func (f fingerprint) head() uint64 { return binary.BigEndian.Uint64(f[:8]) }
func (f fingerprint) tail() uint64 { return binary.BigEndian.Uint64(f[8:]) }

func (f fingerprint) compare(g fingerprint) int { return bytes.Compare(f[:], g[:]) }
