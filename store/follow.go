package store

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt"
)

const (
	compactTx   = 2 << 20 // bytes read in one transaction and written in another
	followAfter = 20_000  // changed keys after which a copy follows before it goes on
	mostKeys    = 250_000 // changed keys, of some 80 bytes each, after which one that is being checked is given up
	lastKeys    = 4096    // changed keys, and the bytes put under them, that everyone may wait for
	lastBytes   = 4 << 20
)

// changes are the keys that the writer has written since the copy followed last: which, not what they say.
type changes struct {
	mu    sync.Mutex
	keys  map[string]map[string]struct{} // by bucket; a bucket without keys was made, or its sequence moved
	count int
	bytes int
}

// note is called by the writer after a transaction is durable. What a reader saw before that is noted after it looked. It reports whether
// they are still few enough to be kept.
func (c *changes) note(ops []op) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = map[string]map[string]struct{}{}
	}
	for _, o := range ops {
		keys := c.keys[o.bucket]
		if keys == nil {
			keys = map[string]struct{}{}
			c.keys[o.bucket] = keys
		}
		if o.key != nil {
			before := len(keys)
			keys[string(o.key)] = struct{}{}
			c.count += len(keys) - before
			c.bytes += len(o.value)
		}
	}
	return c.count <= mostKeys
}

func (c *changes) take() map[string]map[string]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := c.keys
	c.keys, c.count, c.bytes = nil, 0, 0
	return keys
}

func (c *changes) size() (count, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count, c.bytes
}

// replica is a copy of the file in the making. It is read key by key in short transactions while the writer goes on, so it is the store of no one
// moment until it has followed every change: a key that was written after it was read is among the changes.
type replica struct {
	s       *Store
	db      *bolt.DB
	giveUp  context.CancelCauseFunc
	changed changes
	events  int // in its log
}

// fill copies everything, in the order of the keys.
func (r *replica) fill(ctx context.Context, each func(copied int64) error) error {
	var names []string
	err := r.s.view(func(tx *bolt.Tx) error {
		_ = tx.ForEach(func(name []byte, _ *bolt.Bucket) error {
			names = append(names, string(name))
			return nil
		})
		return tx.Bucket([]byte(bucketRun)).ForEachBucket(func(number []byte) error {
			names = append(names, prefixRun+string(number))
			return nil
		})
	})
	copied := int64(0)
	for _, name := range names {
		for at, more := []byte(nil), true; more && err == nil; {
			var ops []op
			if ops, at, more, err = r.slice(name, at); err == nil {
				err = errors.Join(context.Cause(ctx), r.write(ops, 1))
			}
			for _, o := range ops {
				copied += int64(len(o.key) + len(o.value))
			}
			if count, _ := r.changed.size(); err == nil && count > followAfter {
				err = r.follow(ctx)
			}
			if err == nil {
				err = each(copied)
			}
		}
	}
	return err
}

// slice reads a part of a bucket after a key. A bucket that is gone has nothing.
func (r *replica) slice(name string, after []byte) (ops []op, last []byte, more bool, err error) {
	err = r.s.view(func(tx *bolt.Tx) error {
		b := findBucket(tx, name)
		if b == nil {
			return nil
		}
		ops = append(ops, sequenceOp(name, b.Sequence()))
		c := b.Cursor()
		key, value := c.First()
		if after != nil {
			if key, value = c.Seek(after); bytes.Equal(key, after) {
				key, value = c.Next()
			}
		}
		for size := 0; key != nil; key, value = c.Next() {
			if more = size > compactTx; more {
				return nil
			}
			if last = bytes.Clone(key); value != nil { // else a bucket within, which has a name of its own
				ops = append(ops, r.put(name, last, bytes.Clone(value)))
				size += len(key) + len(value)
			}
		}
		return nil
	})
	return ops, last, more, err
}

// follow brings what has changed up to now into the copy.
func (r *replica) follow(ctx context.Context) error {
	changed := r.changed.take()
	var ops []op
	size := 0
	flush := func() error {
		err := errors.Join(context.Cause(ctx), r.write(ops, 0))
		ops, size = nil, 0
		return err
	}
	for number := range changed[bucketRun] { // of runs that were dropped or begun anew; what one has now follows among the other keys
		ops = append(ops, deleteRunOp([]byte(number)))
	}
	delete(changed, bucketRun)
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		keys := slices.Sorted(maps.Keys(changed[name]))
		for first := true; first || len(keys) > 0; first = false {
			err := r.s.view(func(tx *bolt.Tx) error {
				b := findBucket(tx, name)
				if b == nil {
					keys = nil
					return nil
				}
				for ops = append(ops, sequenceOp(name, b.Sequence())); len(keys) > 0 && size < compactTx; keys = keys[1:] {
					value := b.Get([]byte(keys[0]))
					if value == nil {
						ops = append(ops, r.delete(name, []byte(keys[0])))
					} else {
						ops = append(ops, r.put(name, []byte(keys[0]), bytes.Clone(value)))
					}
					size += len(keys[0]) + len(value)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if size >= compactTx {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

func (r *replica) write(ops []op, fill float64) error {
	if len(ops) == 0 {
		return nil
	}
	return transact(r.db, ops, fill, (*bolt.Tx).Commit)
}

// put and delete count the events of the copy, which are compared with the store's in the end.
func (r *replica) put(bucket string, key, value []byte) op {
	return op{bucket: bucket, key: key, value: value, do: func(b *bolt.Bucket, o *op) error {
		if o.bucket == bucketLog && b.Get(o.key) == nil {
			r.events++
		}
		return b.Put(o.key, o.value)
	}}
}

func (r *replica) delete(bucket string, key []byte) op {
	return op{bucket: bucket, key: key, do: func(b *bolt.Bucket, o *op) error {
		if o.bucket == bucketLog && b.Get(o.key) != nil {
			r.events--
		}
		return b.Delete(o.key)
	}}
}

// findBucket returns the bucket that makeBucket makes; nil: there is none.
func findBucket(tx *bolt.Tx, name string) *bolt.Bucket {
	if number, ok := strings.CutPrefix(name, prefixRun); ok {
		return tx.Bucket([]byte(bucketRun)).Bucket([]byte(number))
	}
	return tx.Bucket([]byte(name))
}
