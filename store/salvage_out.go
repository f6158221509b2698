package store

import (
	"bytes"
	"errors"

	bolt "go.etcd.io/bbolt"
)

// rebuilt is the new store while it is being filled.
type rebuilt struct {
	db      *bolt.DB
	tx      *bolt.Tx
	buckets map[string]*bolt.Bucket
	size    int
	kept    map[string]int // records, by bucket
}

func rebuild(path string) (*rebuilt, error) {
	o := boltOptions()
	o.NoSync = true // it is synced whole before it takes the old one's place
	o.InitialMmapSize = 0
	db, err := bolt.Open(path, 0o600, o)
	if err != nil {
		return nil, err
	}
	return &rebuilt{db: db, buckets: map[string]*bolt.Bucket{}, kept: map[string]int{}}, nil
}

func (r *rebuilt) bucket(name string) (b *bolt.Bucket, err error) {
	if b = r.buckets[name]; b != nil {
		return b, nil
	}
	if r.tx == nil {
		if r.tx, err = r.db.Begin(true); err != nil {
			return nil, err
		}
	}
	if b, err = makeBucket(r.tx, name); err == nil {
		r.buckets[name] = b
	}
	return b, err
}

func (r *rebuilt) has(bucket string, key []byte) (bool, error) {
	b, err := r.bucket(bucket)
	return err == nil && b.Get(key) != nil, err
}

func (r *rebuilt) put(bucket string, key, value []byte) error {
	b, err := r.bucket(bucket)
	if err != nil {
		return err
	}
	r.kept[family(bucket)]++
	if err := b.Put(key, bytes.Clone(value)); err != nil { // it keeps the value until the commit
		return err
	}
	if r.size += len(value); r.size < compactTx {
		return nil
	}
	return r.commit()
}

func (r *rebuilt) commit() error {
	if r.tx == nil {
		return nil
	}
	err := r.tx.Commit()
	r.tx, r.size = nil, 0
	clear(r.buckets)
	return err
}

func (r *rebuilt) close() error {
	err := r.commit()
	if err == nil {
		err = sayTwice(r.db)
	}
	return errors.Join(err, r.db.Sync(), r.db.Close())
}
