package store

import "math/bits"

// bloom is a blocked Bloom filter: all bits of a fingerprint are in one line of the processor's cache. With 16 bits a
// fingerprint and six of them set it is wrong about once in 500 times, and only in saying that something may be there.
type bloom struct{ words []uint64 }

const (
	bloomBits   = 16 // a fingerprint
	bloomProbes = 6
	blockWords  = 8 // 64 bytes
)

func newBloom(count int) bloom {
	blocks := count*bloomBits/(64*blockWords) + 1
	return bloom{make([]uint64, blocks*blockWords)}
}

func (b bloom) block(f fingerprint) []uint64 {
	hi, _ := bits.Mul64(f.head(), uint64(len(b.words)/blockWords))
	return b.words[hi*blockWords : (hi+1)*blockWords]
}

func (b bloom) add(f fingerprint) {
	block, h := b.block(f), f.tail()
	for range bloomProbes {
		block[h>>6&7] |= 1 << (h & 63)
		h >>= 9
	}
}

func (b bloom) mayHave(f fingerprint) bool {
	block, h := b.block(f), f.tail()
	for range bloomProbes {
		if block[h>>6&7]&(1<<(h&63)) == 0 {
			return false
		}
		h >>= 9
	}
	return true
}
