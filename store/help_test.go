package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// bench is a store under test with what it told.
type bench struct {
	*Store
	t       testing.TB
	mu      sync.Mutex
	notices []event.Notice
}

func (b *bench) told() []event.Notice {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]event.Notice(nil), b.notices...)
}

// open opens the store at path; at the end of the test it is checked and closed.
func openAt(t testing.TB, path string, o Options) *bench {
	t.Helper()
	b := &bench{t: t}
	o.Create = true
	o.Notify = func(n event.Notice) {
		switch n.(type) {
		case event.Written, event.Compacted: // told of each, for metrics
			return
		}
		b.mu.Lock()
		b.notices = append(b.notices, n)
		b.mu.Unlock()
	}
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	b.Store = s
	t.Cleanup(func() { b.end() })
	return b
}

// end checks and closes the store, unless that was done.
func (b *bench) end() {
	b.t.Helper()
	select {
	case <-b.stopped:
		return
	default:
	}
	if err := b.Check(); err != nil {
		b.t.Errorf("check: %v", err)
	}
	if err := b.Close(); err != nil {
		b.t.Errorf("close: %v", err)
	}
}

// fresh opens a new store with source "api" and the sinks named, which want everything.
func fresh(t testing.TB, o Options, sinks ...string) *bench {
	t.Helper()
	b := openAt(t, filepath.Join(t.TempDir(), "store.db"), o)
	b.apply(topology(sinks...))
	return b
}

// again closes the store and opens the same file.
func (b *bench) again(sinks ...string) *bench {
	b.t.Helper()
	b.end()
	next := openAt(b.t, b.path, b.opt)
	if len(sinks) > 0 {
		next.apply(topology(sinks...))
	}
	return next
}

func topology(sinks ...string) event.Topology {
	t := event.Topology{Sources: []event.SourceSpec{{Name: "api", Identity: "account 1", Events: event.Filter{"*"}}}}
	for _, name := range sinks {
		t.Sinks = append(t.Sinks, event.SinkSpec{Name: name, Sources: event.Filter{"*"}, Events: event.Filter{"*"}})
	}
	return t
}

func (b *bench) apply(t event.Topology) {
	b.t.Helper()
	if err := b.Apply(context.Background(), t, false); err != nil {
		b.t.Fatal(err)
	}
}

// events makes n events numbered from first on, of type "t".
func events(first, n int) []event.Event {
	all := make([]event.Event, n)
	for i := range all {
		all[i] = event.Event{ID: fmt.Sprintf("evt_%d", first+i), Type: "t",
			Time: time.Unix(int64(first+i), 0).UTC(), Data: fmt.Appendf(nil, `{"n":%d}`, first+i)}
	}
	return all
}

func (b *bench) commit(position string, evs ...event.Event) event.Committed {
	b.t.Helper()
	p, err := b.Position("api")
	if err != nil {
		b.t.Fatal(err)
	}
	done, err := b.Commit(context.Background(), event.Commit{Source: "api", Generation: p.Generation, Events: evs, Position: []byte(position)})
	if err != nil {
		b.t.Fatal(err)
	}
	return done
}

func (b *bench) next(sink string, fresh, retries int) event.Due {
	b.t.Helper()
	due, err := b.Next(sink, fresh, retries)
	if err != nil {
		b.t.Fatal(err)
	}
	return due
}

func (b *bench) settle(outcome event.Outcome, wait time.Duration, deliveries ...event.Delivery) {
	b.t.Helper()
	var all []event.Settlement
	for _, d := range deliveries {
		v := event.Settlement{Sink: d.Sink, Seq: d.Seq, Outcome: outcome, Wait: wait, Attempt: event.Attempt{At: time.Now(), Took: time.Millisecond}}
		if outcome != event.Delivered {
			v.Attempt.Reason, v.Attempt.Answer = "it said 500", "oops"
		}
		all = append(all, v)
	}
	if err := b.Settle(context.Background(), all); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) sink(name string) event.SinkStats {
	b.t.Helper()
	all, err := b.Sinks()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, k := range all {
		if k.Name == name {
			return k
		}
	}
	b.t.Fatalf("no sink %s", name)
	return event.SinkStats{}
}

func (b *bench) letters(q event.DeadQuery) []event.DeadLetter {
	b.t.Helper()
	all, err := b.Dead(q)
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func ids(deliveries []event.Delivery) []string {
	var all []string
	for _, d := range deliveries {
		all = append(all, d.Event.ID)
	}
	return all
}

// txid is the number of the last transaction of the file: it tells whether anything was written.
func (b *bench) txid() int {
	var id int
	_ = b.Store.db.View(func(tx *bolt.Tx) error {
		id = tx.ID()
		return nil
	})
	return id
}

// editRecord changes a record of a store that is closed.
func (b *bench) editRecord(bucket string, seq uint64, edit func(key, value []byte) []byte) {
	b.t.Helper()
	db, err := bolt.Open(b.path, 0o600, boltOptions())
	if err != nil {
		b.t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		bk, key := tx.Bucket([]byte(bucket)), seqKey(seq)
		value := append([]byte(nil), bk.Get(key)...)
		if edited := edit(key, value); edited != nil {
			return bk.Put(key, edited)
		}
		return bk.Delete(key)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		b.t.Fatal(err)
	}
}

// slow leaves a test that takes seconds, or a minute, to make proof.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds; make proof runs it")
	}
}

// quick lets the building of a store go on without syncs.
func (b *bench) quick(on bool) {
	b.t.Helper()
	if err := b.send(context.Background(), &request{between: func() error {
		b.db.NoSync = on
		return b.db.Sync()
	}}); err != nil {
		b.t.Fatal(err)
	}
}

// writes is how many pages were written, the headers of transactions included.
func (b *bench) writes() int64 {
	stats := b.db.Stats().TxStats
	return stats.GetWrite()
}
