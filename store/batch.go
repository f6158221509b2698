package store

import (
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// batch is one transaction in the making: what to write, as data, and what will be true in memory once it is durable. Requests
// fill it before the transaction begins; none of them sees a transaction, so one that is refused leaves nothing behind and the
// rest goes on. Keys to delete are collected in full before the first is deleted: deleting under a moving cursor skips keys.
type batch struct {
	s   *Store
	st  *state
	now time.Time // wall clock

	ops     []op
	sinks   map[string]*sinkDraft
	sources map[string]*source
	prints  map[fingerprint]struct{}
	specs   *event.Topology // by this batch; nil: unchanged

	tries    map[string]*triesDraft // by key
	replays  map[uint64]*replayDraft
	returned map[uint64]bool // events that dead letters put back into the log

	next      uint64
	nextChunk uint64
	nextAside uint64

	after []func(*state)  // with s.mu held, once durable
	tell  []event.Notice  // then
	wake  map[string]bool // and then
}

type op struct {
	do     func(b *bolt.Bucket, o *op) error
	bucket string
	key    []byte
	value  []byte
	seq    uint64
}

func (s *Store) newBatch() *batch {
	s.clock.mark(s.st)
	return &batch{s: s, st: s.st, now: s.clock.now(), sinks: map[string]*sinkDraft{}, sources: map[string]*source{},
		prints: map[fingerprint]struct{}{}, returned: map[uint64]bool{}, tries: map[string]*triesDraft{}, replays: map[uint64]*replayDraft{}, wake: map[string]bool{},
		next: s.st.next, nextChunk: s.st.nextChunk, nextAside: s.st.nextAside}
}

func (b *batch) put(bucket string, key, value []byte) {
	b.ops = append(b.ops, op{do: func(bk *bolt.Bucket, o *op) error { return bk.Put(o.key, o.value) }, bucket: bucket, key: key, value: value})
}

func (b *batch) delete(bucket string, key []byte) {
	b.ops = append(b.ops, op{do: func(bk *bolt.Bucket, o *op) error { return bk.Delete(o.key) }, bucket: bucket, key: key})
}

// sequence stores the last number that a bucket has given out.
func (b *batch) sequence(bucket string, n uint64) {
	b.ops = append(b.ops, sequenceOp(bucket, n))
}

func sequenceOp(bucket string, n uint64) op {
	return op{do: func(bk *bolt.Bucket, o *op) error { return bk.SetSequence(o.seq) }, bucket: bucket, seq: n}
}

// exec makes the transaction. Whatever it returns, the outcome is unknown: an error of the last sync may leave it durable.
func (s *Store) exec(ops []op) error {
	if mutants {
		var done bool
		if ops, done = s.execWrongly(ops); done {
			return nil
		}
	}
	return s.transact(ops)
}

func (s *Store) transact(ops []op) error {
	if err := transact(s.db, ops, 0, s.opt.commit); err != nil {
		return err
	}
	if r := s.replica.Load(); r != nil && !mutant("blind-copy") && !r.changed.note(ops) {
		s.replica.Store(nil) // so that it notes no more
		r.giveUp(errBehind)
	}
	return nil
}

// transact makes one transaction of ops. fill is how full pages are made at least.
func transact(db *bolt.DB, ops []op, fill float64, commit func(*bolt.Tx) error) error {
	tx, err := db.Begin(true)
	if err != nil {
		return err
	}
	buckets := map[string]*bolt.Bucket{}
	for i := range ops {
		o := &ops[i]
		bk := buckets[o.bucket]
		if bk == nil {
			if bk, err = makeBucket(tx, o.bucket); err != nil {
				_ = tx.Rollback()
				return err
			}
			bk.FillPercent = max(bk.FillPercent, fill)
			buckets[o.bucket] = bk
		}
		if err := o.do(bk, o); err != nil {
			_ = tx.Rollback()
			return err
		}
	}
	return commit(tx)
}

// makeBucket returns the bucket of that name. What is only ever appended to fills its pages.
func makeBucket(tx *bolt.Tx, name string) (bk *bolt.Bucket, err error) {
	if number, ok := strings.CutPrefix(name, prefixRun); ok {
		if bk, err = tx.CreateBucketIfNotExists([]byte(bucketRun)); err == nil {
			bk, err = bk.CreateBucketIfNotExists([]byte(number))
		}
	} else {
		bk, err = tx.CreateBucketIfNotExists([]byte(name))
	}
	if err != nil {
		return nil, err
	}
	if name == bucketLog || name == bucketIDs || strings.HasPrefix(name, prefixRun) {
		bk.FillPercent = 1
	}
	return bk, nil
}

// sinkDraft is a sink as it will be after the batch. Only the writer changes what it copies.
type sinkDraft struct {
	*sink
	created bool
	changed bool // its record must be written

	frozen    bool
	state     event.SinkState
	idle      time.Duration
	idleSince time.Time
	fresh     uint64
	floor     uint64              // nothing fresh stands before it
	settled   map[uint64]struct{} // deliveries that this batch settles
	buried    map[uint64]struct{} // dead letters that this batch takes away
}

// sink returns the draft of a sink, nil for an unknown one.
func (b *batch) sink(name string) *sinkDraft {
	d := b.sinks[name]
	if d == nil {
		k := b.st.sinks[name]
		if k == nil {
			return nil
		}
		d = draftOf(k)
		b.sinks[name] = d
	}
	return d
}

func draftOf(k *sink) *sinkDraft {
	return &sinkDraft{sink: k, frozen: k.frozen, state: k.state, idle: k.idle, idleSince: k.idleSince, fresh: k.fresh,
		settled: map[uint64]struct{}{}, buried: map[uint64]struct{}{}}
}

// source returns the draft of a source, nil for an unknown one.
func (b *batch) source(name string) *source {
	d := b.sources[name]
	if d == nil {
		src, ok := b.st.sources[name]
		if !ok {
			return nil
		}
		d = &src
		b.sources[name] = d
	}
	return d
}

func (b *batch) topology() event.Topology {
	if b.specs != nil {
		return *b.specs
	}
	return b.s.topology // only the writer changes it
}

// putSource writes a source's draft as it stands.
func (b *batch) putSource(name string) {
	b.put(bucketSrc, []byte(name), b.sources[name].record(name))
	b.after = append(b.after, func(st *state) { st.sources[name] = *b.sources[name] })
}

// setAside keeps bytes that can't be what they should be.
func (b *batch) setAside(n event.SetAside, data []byte) {
	key := seqKey(b.nextAside)
	b.nextAside++
	n.At = b.now
	b.put(bucketAside, key, asideRecord(key, n, data))
	b.tell = append(b.tell, n)
}

func asideRecord(key []byte, n event.SetAside, data []byte) []byte {
	e := newRecord(kindAside, 64+len(n.What)+len(n.Why)+len(data))
	e.text(n.Source)
	e.text(n.Sink)
	e.time(n.At)
	e.text(n.What)
	e.text(n.Why)
	e.bytes(data)
	return e.seal(key)
}

// finish adds what the drafts amount to. s.mu is held.
func (b *batch) finish() {
	for name, d := range b.sinks {
		if d.changed {
			b.put(bucketSink, []byte(name), d.sink.record(d))
		}
	}
	for _, r := range b.replays {
		b.finishReplay(r)
	}
	for _, t := range b.tries {
		b.put(bucketTries, t.key, t.t.record(t.key))
	}
	if b.next != b.st.next {
		b.sequence(bucketLog, b.next-1)
	}
	if b.nextChunk != b.st.nextChunk {
		b.sequence(bucketIDs, b.nextChunk-1)
	}
	if b.nextAside != b.st.nextAside {
		b.sequence(bucketAside, b.nextAside-1)
	}
}

// apply makes memory what the file is now. s.mu is held.
func (b *batch) apply() {
	for _, fn := range b.after {
		fn(b.st)
	}
	for name, d := range b.sinks {
		if d.created {
			b.st.sinks[name] = d.sink
		}
		k := d.sink
		k.frozen, k.state, k.idle, k.idleSince, k.fresh = d.frozen, d.state, d.idle, d.idleSince, d.fresh
		k.scan = max(k.scan, d.floor)
		k.version++
	}
	b.st.next, b.st.nextChunk, b.st.nextAside = b.next, b.nextChunk, b.nextAside
	if b.specs != nil {
		b.s.topology = *b.specs
	}
	if len(b.ops) > 0 && b.now.After(b.st.newest) {
		b.st.newest = b.now
	}
}
