package store

import (
	"bytes"
	"encoding/binary"
	"time"
)

// checkPrints bounds how many fingerprints are compared with all others; of a larger memory it is those of one part of the range.
const checkPrints = 1_000_000

// known reports whether the id is remembered, by this transaction.
func (c *checker) known(f fingerprint) bool {
	if c.st.memory.unsealed(f) {
		return true
	}
	mask := bloomMask(f)
	for _, r := range c.st.memory.runs {
		if r.filter.mayHave(f, &mask) {
			if ok, _ := r.has(c.tx, f); ok {
				return true
			}
		}
	}
	return false
}

// memory: the tables are what the chunks that are not sealed say, the runs are sorted, whole and as their records and filters
// say, and no id is remembered twice (4).
func (c *checker) memory() {
	m := c.st.memory
	seen := map[fingerprint]bool{}
	share := m.count()/checkPrints + 1
	see := func(f fingerprint) {
		if f.tail()%share != 0 {
			return
		}
		if seen[f] {
			c.wrong("ids: %x is remembered twice", f)
		}
		seen[f] = true
	}
	through := uint64(0)
	for i, r := range m.runs {
		through = max(through, r.through)
		if r.number >= m.nextRun || i > 0 && r.number <= m.runs[i-1].number {
			c.wrong("runs: run %d is not between the one before and %d", r.number, m.nextRun)
		}
		c.run(r, see)
	}
	if n := c.each(bucketRuns, func([]byte, []byte) {}); n != len(m.runs) {
		c.wrong("runs: the file has %d, memory %d", n, len(m.runs))
	}
	leftover, unsealed := 0, 0
	c.each(bucketIDs, func(key, value []byte) {
		n := binary.BigEndian.Uint64(key)
		if n >= c.st.nextChunk {
			c.wrong("ids: chunk %d is not before the next number %d", n, c.st.nextChunk)
		}
		if n < through {
			leftover++
			return
		}
		_, prints, err := readChunk(key, value, nil)
		if err != nil {
			c.wrong("ids: chunk %x: %w", key, err)
		}
		unsealed += len(prints)
		for _, f := range prints {
			if !m.unsealed(f) {
				c.wrong("ids: %x is in the file and not in memory", f)
			}
			see(f)
		}
	})
	if leftover > 0 && m.leftover != through {
		c.wrong("ids: %d chunks before %d are in runs, and memory means to delete those before %d", leftover, through, m.leftover)
	}
	for _, t := range m.tables {
		unsealed -= t.count
	}
	if unsealed != 0 {
		c.wrong("ids: the file has %+d more that are not sealed than memory", unsealed)
	}
	c.unowned()
}

func (c *checker) run(r *run, see func(fingerprint)) {
	key := seqKey(r.number)
	stored, err := readRun(key, c.tx.Bucket([]byte(bucketRuns)).Get(key))
	if err != nil {
		c.wrong("run %d: its record: %w", r.number, err)
	} else if stored.count != r.count || stored.through != r.through || !stored.newest.Equal(r.newest) {
		c.wrong("run %d: memory and file differ", r.number)
	}
	n := 0
	var last fingerprint
	r.chunks(c.tx, func(key []byte, _ time.Time, prints []fingerprint) {
		if len(prints) == 0 || !bytes.Equal(key, prints[0][:]) {
			c.wrong("run %d: chunk %x begins with another id", r.number, key)
		}
		for _, f := range prints {
			if n > 0 && f.compare(last) <= 0 {
				c.wrong("run %d: %x is out of order", r.number, f)
			}
			if mask := bloomMask(f); !r.filter.mayHave(f, &mask) {
				c.wrong("run %d: its filter has no %x", r.number, f)
			}
			last = f
			n++
			see(f)
		}
	}, func(key, _ []byte, err error) { c.wrong("run %d: chunk %x: %w", r.number, key, err) })
	if n != r.count {
		c.wrong("run %d: it has %d ids, its record says %d", r.number, n, r.count)
	}
}

// unowned: a bucket of a run without a record is the one that is being built, or that a crash left: then the next run's.
func (c *checker) unowned() {
	_ = c.tx.Bucket([]byte(bucketRun)).ForEachBucket(func(key []byte) error {
		if n := binary.BigEndian.Uint64(key); c.tx.Bucket([]byte(bucketRuns)).Get(key) == nil && n != c.st.memory.nextRun {
			c.wrong("runs: the bucket of run %d has no record", n)
		}
		return nil
	})
}
