//go:build mutants

package store

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// mutants: this binary does what is known to be wrong, one thing at a time, by the name in TIDINGS_MUTANT. Only tests make it.
const mutants = true

func mutant(name string) bool { return os.Getenv("TIDINGS_MUTANT") == name }

// unwritten is what lazy-settle has promised and not yet written.
var unwritten struct {
	sync.Mutex
	ops []op
}

// apart makes a transaction of its own of the records of what is named, before the rest or after it.
func (s *Store) apart(ops []op, first bool, buckets ...string) []op {
	var mine, rest []op
	for _, o := range ops {
		if o.key != nil && slices.ContainsFunc(buckets, func(b string) bool {
			return o.bucket == b || strings.HasSuffix(b, "/") && strings.HasPrefix(o.bucket, b)
		}) {
			mine = append(mine, o)
		} else {
			rest = append(rest, o)
		}
	}
	if !first {
		mine, rest = rest, mine
	}
	if len(mine) == 0 || len(rest) == 0 || s.transact(mine) != nil {
		return ops
	}
	// As long as the transactions themselves take, so that one kill in two falls here and not one in hundreds.
	time.Sleep(5 * time.Millisecond)
	return rest
}

// execWrongly does part of a transaction as it must not be done, and returns what is left of it; true: nothing.
func (s *Store) execWrongly(ops []op) ([]op, bool) {
	switch {
	case mutant("position-first"):
		return s.apart(ops, true, bucketSrc), false
	case mutant("owed-last"):
		return s.apart(ops, false, bucketSink), false
	case mutant("ids-last"):
		return s.apart(ops, false, bucketIDs), false
	case mutant("letter-last"):
		return s.apart(ops, false, prefixDead), false
	case mutant("lazy-settle"):
		unwritten.Lock()
		defer unwritten.Unlock()
		lazy := !slices.ContainsFunc(ops, func(o op) bool {
			return o.bucket != bucketSink && !strings.HasPrefix(o.bucket, prefixX) && !strings.HasPrefix(o.bucket, prefixDead)
		})
		unwritten.ops = append(unwritten.ops, ops...)
		if lazy {
			return nil, true
		}
		ops, unwritten.ops = unwritten.ops, nil
	case mutant("delete-while-iterating"):
		return deleteWhileIterating(ops), false
	case mutant("seal-forgets"):
		// The ids go in the transaction that begins their run, not after the one that ends it.
		for _, o := range ops {
			if strings.HasPrefix(o.bucket, prefixRun) {
				ops = append(ops, op{bucket: bucketIDs, do: func(b *bolt.Bucket, _ *op) error {
					c := b.Cursor()
					key, _ := c.First()
					return b.Delete(bytes.Clone(key))
				}})
				break
			}
		}
	}
	return ops, false
}

// deleteWhileIterating deletes from the log under a moving cursor, which skips keys.
func deleteWhileIterating(ops []op) []op {
	gone := map[string]bool{}
	isGone := func(o op) bool { return o.bucket == bucketLog && o.value == nil && o.key != nil }
	for _, o := range ops {
		if isGone(o) {
			gone[string(o.key)] = true
		}
	}
	ops = slices.DeleteFunc(ops, isGone)
	if len(gone) == 0 {
		return ops
	}
	return append(ops, op{bucket: bucketLog, do: func(b *bolt.Bucket, _ *op) error {
		n := 0
		for key := range gone { // as if this transaction had written there before
			if n++; n%10 == 1 {
				if err := b.Put([]byte(key), b.Get([]byte(key))); err != nil {
					return err
				}
			}
		}
		c := b.Cursor()
		for key, _ := c.First(); key != nil; key, _ = c.Next() {
			if gone[string(key)] {
				if err := c.Delete(); err != nil {
					return err
				}
			}
		}
		return nil
	}})
}

// writeWrongly tells too early what a transaction will make true.
func (s *Store) writeWrongly(group []*request, b *batch) {
	switch {
	case mutant("early-answer"):
		for _, r := range group {
			if r.done != nil && r.between == nil && r.err == nil {
				r.done <- nil
			}
		}
	case mutant("early-memory"):
		s.mu.Lock()
		defer s.mu.Unlock()
		b.apply()
		b.after, b.sinks, b.sources = nil, nil, nil
		for name := range b.wake {
			s.signal(name)
		}
	}
}
