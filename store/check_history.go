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
			if seen[[2]byte(one)] || one[0] >= triesBlock || c.present[seq] && one[1] == 0 && (open || seq >= k.scan && k.fresh > 0 && slices.Contains(c.wants[k.index], seq)) {
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
