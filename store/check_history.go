package store

import (
	"encoding/binary"
	"slices"
)

// attempts: they are kept as long as the event and no longer, and what a sink was never given has none.
func (c *checker) attempts() {
	sinks := map[uint16]*sink{}
	for _, k := range c.st.sinks {
		sinks[k.index] = k
	}
	blocks := map[uint64]bool{}
	for seq := range c.present {
		blocks[seq/triesBlock] = true
	}
	c.each(bucketTries, func(key, value []byte) {
		t, err := readTries(key, value)
		block, k := binary.BigEndian.Uint64(key), sinks[binary.BigEndian.Uint16(key[8:])]
		switch {
		case err != nil:
			c.wrong("attempts: block %d: %w", block, err)
			return
		case k == nil:
			c.wrong("attempts: block %d is of a sink that isn't known", block)
			return
		case !blocks[block] && (block+1)*triesBlock <= c.st.next:
			c.wrong("attempts: block %d of sink %s is kept without an event", block, k.name)
		}
		seen := map[[2]byte]bool{}
		for one := range slices.Chunk(t, trySize) {
			seq := block*triesBlock + uint64(one[0])
			_, open := k.out[seq]
			if seen[[2]byte(one)] || one[0] >= triesBlock || c.present[seq] && one[1] == 0 && (open || c.unscanned(k, seq)) {
				c.wrong("attempts: sink %s: event %d was delivered, twice or not at all", k.name, seq)
			}
			seen[[2]byte(one)] = true
		}
	})
	c.each(bucketFails, func(key, value []byte) {
		seq := binary.BigEndian.Uint64(key)
		if f, err := readFails(key, value); err != nil || len(f) > maxFails {
			c.wrong("attempts: the %d failures of event %d: %w", len(f), seq, err)
		}
		if !c.present[seq] {
			c.wrong("attempts: failures of event %d are kept without the event", seq)
		}
	})
}

// replays: what is left of one is what it selects from its scan on and what it has handed out, all of which is there, in
// memory as in the file.
func (c *checker) replays() {
	jobs := map[uint64]*replayJob{}
	for _, k := range c.st.sinks {
		for _, r := range k.replays {
			jobs[r.id] = r
			c.replay(r, "memory")
			for seq := range r.out {
				_, open := k.out[seq]
				if open || k.failing[seq] != nil {
					c.wrong("replay %d: event %d is owed to sink %s anyway", r.id, seq, k.name)
				}
			}
		}
	}
	n := 0
	c.each(bucketAgain, func(key, value []byte) {
		stored, err := readReplay(key, value)
		switch id := binary.BigEndian.Uint64(key); {
		case err != nil:
			c.wrong("replay %d: %w", id, err)
		case jobs[id] == nil && stored.cancelled: // what it had in flight ended with what the store held in memory; tidying takes it away
		case jobs[id] == nil:
			c.wrong("replay %d: it is in the file and not in memory", id)
		case !jobs[id].cancelled:
			n++
			c.replay(stored, "the file")
			if jobs[id].pin != stored.pin {
				c.wrong("replay %d: it needs the log from %d on, and %d is kept", id, stored.pin, jobs[id].pin)
			}
		}
	})
	for _, r := range jobs {
		if !r.cancelled {
			n--
		}
	}
	if n != 0 {
		c.wrong("replays: the file has %d more than memory", n)
	}
}

func (c *checker) replay(r *replayJob, where string) {
	if r.cancelled {
		return
	}
	left := uint64(len(r.out))
	for seq := range r.out {
		if !c.whole[seq] || seq >= r.scan {
			c.wrong("replay %d: %s has event %d open", r.id, where, seq)
		}
	}
	log := c.tx.Bucket([]byte(bucketLog)).Cursor()
	for key, value := log.Seek(seqKey(r.scan)); key != nil && binary.BigEndian.Uint64(key) < r.what.To; key, value = log.Next() {
		if _, matches := r.matches(key, value); matches {
			left++
		}
	}
	if left != r.left {
		c.wrong("replay %d: %s says that %d are left, the log has %d", r.id, where, r.left, left)
	}
}
