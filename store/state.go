package store

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// state is what the store holds in memory: read from the file at opening, changed only after a transaction is durable. Counts
// that the file implies are counted at opening, not stored.
type state struct {
	sources map[string]source
	sinks   map[string]*sink
	memory  *memory

	next       uint64 // the seq of the next event
	events     uint64 // in the log
	nextChunk  uint64 // the number of the next chunk of ids
	nextAside  uint64
	nextReplay uint64
	newest     time.Time // the newest stored time: a wall clock before it is wrong
	dated      bool      // some server has agreed with the clock once
	amended    amended

	collector collector
	holds     int // who wants nothing collected for a while
}

// sink is what the store knows of one sink. All that is wanted at or behind scan is owed and was never attempted ("fresh");
// before scan only what stands in out is. What failed and is owed stands in failing, wherever it is.
type sink struct {
	name   string
	index  uint16 // stands for the name in events' records; never used again for another name
	frozen bool   // not configured
	state  event.SinkState

	idle      time.Duration // how long it was down or paused, up to the last time it came up
	idleSince time.Time     // by clock; when it last went down or was paused, unless it is up

	fresh uint64 // how many are owed that were never attempted
	dead  int

	// In the file as they were when the sink's record was last written, which is early enough: what is fresh then is found
	// again by scanning on.
	scan uint64
	out  map[uint64]bool // fresh ones before scan; true: in flight

	failing map[uint64]*exception
	due     dueHeap // those of failing that are not in flight
	counted int     // those of failing that failed in their present age

	replays []*replayJob    // oldest first
	revived map[uint64]bool // dead letters that the transaction under way makes owed: gone in the file before they are failing
	turn    bool            // of one delivery at a time, the next is a replay's
	version uint64          // grows with each transaction that concerns the sink
}

func newSink(name string, index uint16, scan uint64) *sink {
	return &sink{name: name, index: index, scan: scan, out: map[uint64]bool{}, failing: map[uint64]*exception{}, revived: map[uint64]bool{}}
}

// owed counts what remains of replays as well: what they selected and have not come to may turn out to be owed or dead anyway.
func (k *sink) owed() uint64 { return k.fresh + uint64(len(k.failing)) + k.toReplay() }

func (k *sink) toReplay() uint64 {
	n := uint64(0)
	for _, r := range k.replays {
		n += r.left
	}
	return n
}

// unseen is how many fresh ones stand at or behind scan.
func (k *sink) unseen() uint64 { return k.fresh - uint64(len(k.out)) }

// idleAt is how long the sink has been down or paused in all, at now by clock.
func (k *sink) idleAt(now time.Time) time.Duration {
	if k.state.Health == event.Up {
		return k.idle
	}
	return k.idle + max(0, now.Sub(k.idleSince))
}

// age is how long x has been failing while its sink was up.
func (k *sink) age(x *exception, now time.Time) time.Duration {
	if x.first.IsZero() {
		return 0
	}
	return max(0, now.Sub(x.first)-(k.idleAt(now)-x.idleAtFirst))
}

// floor is the seq before which no fresh one stands; the second value is false when nothing is fresh at all.
func (k *sink) floor() (uint64, bool) {
	if k.fresh == 0 {
		return 0, false
	}
	low := k.scan
	for seq := range k.out {
		low = min(low, seq)
	}
	return low, true
}

// record is the sink's record as it stands, less the fresh ones in settled. s.mu is held.
func (k *sink) record(d *sinkDraft) []byte {
	e := newRecord(kindSink, 96+len(d.state.Reason)+4*len(k.out))
	e.uint(uint64(k.index))
	e.bool(d.frozen)
	e.uint(uint64(d.state.Health))
	e.time(d.state.Since)
	e.text(start(d.state.Reason, maxReason))
	e.uint(uint64(d.state.Probes))
	e.duration(d.idle)
	e.time(d.idleSince)
	e.uint(d.fresh)
	e.uint(max(k.scan, d.floor))
	open := make([]uint64, 0, len(k.out))
	for seq := range k.out {
		if _, settled := d.settled[seq]; !settled {
			open = append(open, seq)
		}
	}
	slices.Sort(open)
	e.seqs(open)
	e.time(d.state.HeldUntil)
	return e.seal([]byte(k.name))
}

func readSink(key, value []byte) (*sink, error) {
	d, err := open(kindSink, key, value)
	if err != nil {
		return nil, err
	}
	k := newSink(string(key), uint16(d.uint()), 0)
	k.frozen = d.bool()
	k.state = event.SinkState{Health: event.Health(d.uint()), Since: d.time(), Reason: d.text(), Probes: int(d.uint())}
	k.idle, k.idleSince = d.duration(), d.time()
	k.fresh, k.scan = d.uint(), d.uint()
	for _, seq := range d.seqs() {
		k.out[seq] = false
	}
	if len(d.b) > 0 { // it was not always kept
		k.state.HeldUntil = d.time()
	}
	return k, d.err
}

// load reads the file. What can't be read of a delivery becomes a request that sets it aside; a source or sink that can't be
// read is damage, and an error.
func (s *Store) load(db *bolt.DB) (*state, []*request, error) {
	st := &state{sources: map[string]source{}, sinks: map[string]*sink{}}
	var repairs []*request
	err := db.View(func(tx *bolt.Tx) error {
		st.loadClock(tx)
		if value := tx.Bucket([]byte(bucketMeta)).Get([]byte(metaClock)); value != nil {
			if _, err := open(kindClock, []byte(metaClock), value); err != nil {
				repairs = append(repairs, forgottenClock(value, err))
			}
		}
		log := tx.Bucket([]byte(bucketLog))
		st.next = log.Sequence() + 1
		st.events = uint64(log.Stats().KeyN)
		st.nextChunk = tx.Bucket([]byte(bucketIDs)).Sequence() + 1
		st.nextAside = tx.Bucket([]byte(bucketAside)).Sequence() + 1
		if key, value := log.Cursor().Last(); key != nil {
			if h, err := readHead(key, value); err == nil {
				st.newest = st.amended.event(binary.BigEndian.Uint64(key), h.received)
			}
		}
		err := tx.Bucket([]byte(bucketSrc)).ForEach(func(key, value []byte) error {
			src, err := readSource(key, value)
			if err != nil {
				return damaged(s.path, fmt.Errorf("the record of source %s: %w", key, err))
			}
			st.sources[string(key)] = src
			return nil
		})
		if err != nil {
			return err
		}
		err = tx.Bucket([]byte(bucketSink)).ForEach(func(key, value []byte) error {
			k, err := readSink(key, value)
			if err != nil {
				return damaged(s.path, fmt.Errorf("the record of sink %s: %w", key, err))
			}
			st.sinks[k.name] = k
			st.seen(k.idleSince)
			unreadable, err := s.loadDeliveries(tx, k)
			repairs = append(repairs, unreadable...)
			for _, x := range k.failing {
				st.seen(x.first)
				st.seen(x.due.Add(-x.wait))
			}
			return err
		})
		if err != nil {
			return err
		}
		unreadable, err := st.loadReplays(tx)
		if err != nil {
			return err
		}
		repairs = append(repairs, unreadable...)
		unreadable, err = st.loadMemory(tx, s.opt)
		repairs = append(repairs, unreadable...)
		return err
	})
	return st, repairs, err
}

func (s *Store) loadDeliveries(tx *bolt.Tx, k *sink) (repairs []*request, err error) {
	failed, dead := tx.Bucket([]byte(prefixX+k.name)), tx.Bucket([]byte(prefixDead+k.name))
	if failed == nil || dead == nil {
		return nil, damaged(s.path, fmt.Errorf("the deliveries of sink %s are missing", k.name))
	}
	k.dead = dead.Stats().KeyN
	err = failed.ForEach(func(key, value []byte) error {
		x, err := readException(key, value)
		if err != nil {
			// Owed for certain, so it stays in flight until the repair has made a dead letter of it.
			x = &exception{seq: binary.BigEndian.Uint64(key), heap: -1, inFlight: true}
			repairs = append(repairs, spoiled(k.name, x.seq, bucketKey(prefixX+k.name, key), value, err))
		}
		x.forget()
		k.add(x)
		return nil
	})
	return repairs, err
}

// seen takes note of a time that is stored.
func (st *state) seen(at time.Time) {
	if at.After(st.newest) {
		st.newest = at
	}
}

// schedule has what was read wait by the monotonic clock; now is the time of records. No retry waits longer than it was told
// to, whatever the wall clock did meanwhile.
func (st *state) schedule(now time.Time) {
	mono := time.Now()
	for _, k := range st.sinks {
		for _, x := range k.failing {
			x.due = mono.Add(min(x.wait, x.due.Sub(now)))
		}
		heap.Init(&k.due)
	}
}
