package store

import (
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A crash leaves part of run 5, and all runs before it had expired.
func TestHalfARunWithoutOneBeforeItIsTheNext(t *testing.T) {
	b := fresh(t, Options{Remember: time.Hour, tick: time.Hour}, "app")
	b.commit("p", events(1, 10)...)
	b.end()
	db, err := bolt.Open(b.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bolt.Tx) error {
		_, err := tx.Bucket([]byte(bucketRun)).CreateBucket(seqKey(5))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b = openAt(t, b.path, b.opt)
	if err := b.Check(); err != nil || b.st.memory.nextRun != 5 {
		t.Errorf("next is run %d: %v", b.st.memory.nextRun, err)
	}
}
