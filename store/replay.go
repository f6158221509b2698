package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// replayJob is a replay: to deliver to a sink once more what it selects of the log from scan to its end. It is one record however much
// that is, and what it has not come to yet is not collected. Selected and not handed out yet are all that match from scan
// on; before scan only what stands in out is. left counts both, and so does what the sink is owed. What the sink is owed
// anyway when its turn comes, or has among its dead letters, is left to that and dropped from the count. One that fails becomes
// an exception like any other.
type replayJob struct {
	id        uint64
	what      event.Replay // From and To say where it began and where it ends; no times
	started   time.Time
	total     uint64
	cancelled bool

	left uint64
	scan uint64
	out  map[uint64]bool // before scan; true: in flight
	pin  uint64          // where the stored record needs the log from
}

// ending reports whether it has come to its end without a settlement, or so far that its record should say so.
func (r *replayJob) ending() bool {
	idle := !slices.Contains(slices.Collect(maps.Values(r.out)), true)
	return r.left == 0 || r.lost() > 0 || r.cancelled && idle || r.scan > r.pin+10*scanLimit && len(r.out) == 0
}

// lost is what was counted and isn't there.
func (r *replayJob) lost() uint64 {
	if r.cancelled || r.scan < r.what.To {
		return 0
	}
	return r.left - uint64(len(r.out))
}

// waiting reports whether there may be something to hand out.
func (r *replayJob) waiting() bool {
	if r.scan < r.what.To && r.left > uint64(len(r.out)) {
		return true
	}
	for _, inFlight := range r.out {
		if !inFlight {
			return true
		}
	}
	return false
}

// matches reports whether the replay selects the event. One that can't be read is not selected: nobody knows.
func (r *replayJob) matches(key, value []byte) (head, bool) {
	if _, err := open(kindEvent, key, value); err != nil {
		return head{}, false
	}
	h, ev, err := readFacts(key, value)
	return h, err == nil && r.selects(ev)
}

func (r *replayJob) selects(ev event.Event) bool {
	return (len(r.what.Sources) == 0 || r.what.Sources.Match(ev.Source)) && (len(r.what.Events) == 0 || r.what.Events.Match(ev.Type))
}

// replayDraft is a replay as it will be after the batch.
type replayDraft struct {
	*replayJob
	created   bool
	cancelled bool
	off       uint64              // comes off what is left
	settled   map[uint64]struct{} // of what was handed out
	returned  []uint64            // that a dead letter of another sink puts back into the log
}

func (b *batch) replay(r *replayJob) *replayDraft {
	d := b.replays[r.id]
	if d == nil {
		d = &replayDraft{replayJob: r, cancelled: r.cancelled, settled: map[uint64]struct{}{}}
		b.replays[r.id] = d
	}
	return d
}

// grown is how many of what comes back into the log the replay has not come to.
func (d *replayDraft) grown() uint64 {
	n := uint64(0)
	for _, seq := range d.returned {
		if seq >= d.scan {
			n++
		}
	}
	return n
}

// open lists what is before scan and will be owed still, in order. s.mu is held.
func (d *replayDraft) open() []uint64 {
	var open []uint64
	for seq, inFlight := range d.out {
		if _, settled := d.settled[seq]; !settled && (inFlight || !d.cancelled) {
			open = append(open, seq)
		}
	}
	slices.Sort(open)
	return open
}

// finishReplay writes or deletes the record. s.mu is held.
func (b *batch) finishReplay(d *replayDraft) {
	r, key, open := d.replayJob, seqKey(d.id), d.open()
	left, pin := r.left+d.grown()-d.off, r.scan
	if len(open) > 0 {
		pin = open[0]
	}
	if left == 0 || d.cancelled && len(open) == 0 {
		b.delete(bucketAgain, key)
	} else {
		b.put(bucketAgain, key, r.record(key, left, d.cancelled, open))
	}
	if d.created {
		b.sequence(bucketAgain, d.id)
	}
	b.after = append(b.after, func(st *state) {
		k := st.sinks[r.what.Sink]
		for seq := range d.settled {
			delete(r.out, seq)
		}
		k.version++
		r.left, r.cancelled, r.pin = r.left+d.grown()-d.off, d.cancelled, pin
		if r.cancelled {
			maps.DeleteFunc(r.out, func(_ uint64, inFlight bool) bool { return !inFlight })
			r.left = uint64(len(r.out))
		}
		if d.created {
			k.replays = append(k.replays, r)
			st.nextReplay = r.id + 1
		}
		if r.left == 0 {
			k.replays = slices.DeleteFunc(k.replays, func(x *replayJob) bool { return x == r })
		}
	})
}

func (r *replayJob) record(key []byte, left uint64, cancelled bool, open []uint64) []byte {
	e := newRecord(kindAgain, 128+4*len(open))
	e.text(r.what.Sink)
	e.bool(cancelled)
	e.time(r.started)
	for _, filter := range []event.Filter{r.what.Sources, r.what.Events} {
		e.uint(uint64(len(filter)))
		for _, glob := range filter {
			e.text(glob)
		}
	}
	for _, n := range []uint64{r.what.From, r.what.To, r.total, left, r.scan, uint64(len(open))} {
		e.uint(n)
	}
	last := uint64(0)
	for _, seq := range open {
		e.uint(seq - last)
		last = seq
	}
	return e.seal(key)
}

func readReplay(key, value []byte) (*replayJob, error) {
	d, err := open(kindAgain, key, value)
	if err != nil {
		return nil, err
	}
	r := &replayJob{id: binary.BigEndian.Uint64(key), out: map[uint64]bool{}}
	r.what.Sink, r.cancelled, r.started = d.text(), d.bool(), d.time()
	for _, filter := range []*event.Filter{&r.what.Sources, &r.what.Events} {
		for range d.count() {
			*filter = append(*filter, d.text())
		}
	}
	for _, n := range []*uint64{&r.what.From, &r.what.To, &r.total, &r.left, &r.scan} {
		*n = d.uint()
	}
	r.pin = r.scan
	last := uint64(0)
	for i := range d.count() {
		last += d.uint()
		r.out[last] = false
		if i == 0 {
			r.pin = last
		}
	}
	return r, d.err
}

// loadReplays reads the replays. One that was being cancelled is done; of one that can't be read nobody knows what was left.
func (st *state) loadReplays(tx *bolt.Tx) (repairs []*request, err error) {
	bk := tx.Bucket([]byte(bucketAgain))
	st.nextReplay = bk.Sequence() + 1
	return repairs, bk.ForEach(func(key, value []byte) error {
		r, err := readReplay(key, value)
		if err == nil && st.sinks[r.what.Sink] == nil {
			err = fmt.Errorf("its sink %s is not known", r.what.Sink)
		}
		if err == nil && !r.cancelled {
			st.sinks[r.what.Sink].replays = append(st.sinks[r.what.Sink].replays, r)
			return nil
		}
		key, value = slices.Clone(key), slices.Clone(value)
		repairs = append(repairs, &request{prepare: func(b *batch) error {
			if err != nil {
				b.setAside(event.SetAside{What: "the record " + bucketKey(bucketAgain, key), Why: err.Error() + "; what this replay had left is not replayed"}, value)
			}
			b.delete(bucketAgain, key)
			return nil
		}})
		return nil
	})
}

// CountReplay returns how many events a replay would deliver now, and where they stand: from is the first that it looks at, to
// the one after the last.
func (s *Store) CountReplay(q event.Replay) (count, from, to uint64, err error) {
	s.mu.Lock()
	from, to, amended := max(q.From, 1), s.st.next, s.st.amended
	s.mu.Unlock()
	if q.To > 0 {
		to = min(to, q.To)
	}
	r := &replayJob{what: q}
	began := q.Since.IsZero()
	for at := from; at < to; {
		err := s.view(func(tx *bolt.Tx) error {
			c := tx.Bucket([]byte(bucketLog)).Cursor()
			looked := 0
			for key, value := c.Seek(seqKey(at)); ; key, value = c.Next() {
				if key == nil || binary.BigEndian.Uint64(key) >= to {
					at = to
					return nil
				}
				if at = binary.BigEndian.Uint64(key); looked == scanLimit {
					return nil
				}
				looked++
				h, matches := r.matches(key, value)
				received := amended.event(at, h.received)
				switch readable := !h.received.IsZero(); {
				case !began && (!readable || received.Before(q.Since)):
					from = at + 1
					continue
				case readable && !q.Until.IsZero() && !received.Before(q.Until):
					to = at
					return nil
				}
				began = true
				if matches {
					count++
				}
			}
		})
		if err != nil {
			return 0, 0, 0, fmt.Errorf("counting what is to be replayed: %w", err)
		}
	}
	return count, from, to, nil
}

// StartReplay has a sink given once more what q selects, beside what it is owed, and returns the replay's number and how many
// events that is at most: what the sink is owed anyway when its turn comes, or has among its dead letters, is left out. With
// nothing to replay there is no replay, and no number.
func (s *Store) StartReplay(ctx context.Context, q event.Replay) (id, count uint64, err error) {
	if _, err := s.State(q.Sink); err != nil {
		return 0, 0, err
	}
	s.mu.Lock()
	st := s.st
	st.holds++ // nothing is collected while it is counted
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		st.holds--
		s.mu.Unlock()
	}()
	if err := s.Ping(ctx); err != nil { // a collecting that was under way has ended
		return 0, 0, err
	}
	count, from, to, err := s.CountReplay(q)
	if err != nil || count == 0 {
		return 0, 0, err
	}
	err = s.do(ctx, func(b *batch) error {
		if b.st != st {
			return fmt.Errorf("the store was read anew meanwhile: %w", event.ErrUnknownOutcome)
		}
		id = b.st.nextReplay
		for b.replays[id] != nil {
			id++
		}
		what := event.Replay{Sink: q.Sink, Sources: slices.Clone(q.Sources), Events: slices.Clone(q.Events), From: from, To: to}
		d := b.replay(&replayJob{id: id, what: what, started: b.now, total: count, left: count, scan: from, out: map[uint64]bool{}})
		d.created = true
		b.wake[q.Sink] = true
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	return id, count, nil
}

// CancelReplay ends a replay; what of it is in flight is still settled. What failed before has become ordinary and stays owed.
func (s *Store) CancelReplay(ctx context.Context, id uint64) error {
	return s.do(ctx, func(b *batch) error {
		for _, k := range b.st.sinks {
			for _, r := range k.replays {
				if r.id == id {
					b.replay(r).cancelled = true
					return nil
				}
			}
		}
		return fmt.Errorf("there is no replay %d: %w", id, errMissing)
	})
}

// Replays tells of those that are not done.
func (s *Store) Replays() ([]event.ReplayStats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		return nil, s.dead
	}
	var all []event.ReplayStats
	for _, k := range s.st.sinks {
		for _, r := range k.replays {
			all = append(all, event.ReplayStats{ID: r.id, Replay: r.what, Started: r.started, Total: r.total, Left: r.left, Cancelled: r.cancelled})
		}
	}
	slices.SortFunc(all, func(a, b event.ReplayStats) int { return int(a.ID) - int(b.ID) })
	return all, nil
}

// endReplays ends those that have come to their end without a settlement, and tells what one had counted and didn't find.
func (s *Store) endReplays() {
	if s.db == nil {
		return
	}
	s.mu.Lock()
	var ended []*replayJob
	for _, k := range s.st.sinks {
		for _, r := range k.replays {
			if r.ending() {
				ended = append(ended, r)
			}
		}
	}
	s.mu.Unlock()
	if len(ended) == 0 {
		return
	}
	_ = s.write([]*request{{prepare: func(b *batch) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range ended {
			d := b.replay(r)
			if lost := r.lost(); lost > 0 {
				d.off += lost
				b.setAside(event.SetAside{Sink: r.what.Sink, What: fmt.Sprintf("%d events of replay %d", lost, r.id),
					Why: "the log no longer has them, or they can't be read"}, nil)
			}
		}
		return nil
	}}})
}

// again is the replay that has handed seq out, if one has.
func (k *sink) again(seq uint64) *replayJob {
	for _, r := range k.replays {
		if _, open := r.out[seq]; open {
			return r
		}
	}
	return nil
}

// planReplay plans for n deliveries of the first replay that waits: released ones first, then those found by scanning on.
func (k *sink) planReplay(p *plan, n int) {
	for _, r := range k.replays {
		if n <= 0 || !r.waiting() || r.cancelled {
			continue
		}
		p.replay = r
		for seq, inFlight := range r.out {
			if !inFlight {
				p.again = append(p.again, seq)
			}
		}
		slices.Sort(p.again)
		p.again = p.again[:min(n, len(p.again))]
		for _, seq := range p.again {
			r.out[seq] = true
		}
		if r.left > uint64(len(r.out)) {
			p.againWant, p.againScan, p.againTo = n-len(p.again), r.scan, r.what.To
		}
		p.version = k.version
		return
	}
}

// replaying reports whether a replay may have something to hand out.
func (k *sink) replaying() bool {
	return slices.ContainsFunc(k.replays, func(r *replayJob) bool { return !r.cancelled && r.waiting() })
}

// candidate is an event that a replay selects.
type candidate struct {
	seq    uint64
	wanted bool
	dead   bool
}

// walkReplay scans on for what the replay selects.
func (f *found) walkReplay(tx *bolt.Tx, name string, p plan) {
	dead := tx.Bucket([]byte(prefixDead + name))
	c := tx.Bucket([]byte(bucketLog)).Cursor()
	looked := 0
	f.againScan = p.againScan
	for key, value := c.Seek(seqKey(p.againScan)); key != nil && binary.BigEndian.Uint64(key) < p.againTo; key, value = c.Next() {
		seq := binary.BigEndian.Uint64(key)
		if h, matches := p.replay.matches(key, value); matches {
			if ev, err := readEvent(key, value); err == nil {
				f.events[seq] = ev
				f.again = append(f.again, candidate{seq, h.wantedBy(p.index), dead.Get(key) != nil})
			}
		}
		f.againScan = seq + 1
		if looked++; len(f.again) == p.againWant || looked == scanLimit {
			return
		}
	}
	f.againScan = p.againTo
}

// registerReplay puts what was found in flight, but for what the sink is owed anyway or has among its dead letters. Where
// something was settled since the log was read nobody can say that any more: the next asking looks again. s.mu is held.
func (k *sink) registerReplay(p plan, f found, due *event.Due) {
	r := p.replay
	if r == nil {
		return
	}
	hand := slices.Clone(p.again)
	if p.againWant > 0 && p.version == k.version && r.scan == p.againScan && !r.cancelled {
		for _, c := range f.again {
			_, open := k.out[c.seq]
			if c.dead || open || c.wanted && c.seq >= k.scan && k.fresh > 0 || k.failing[c.seq] != nil || k.again(c.seq) != nil {
				r.left--
				continue
			}
			r.out[c.seq] = true
			hand = append(hand, c.seq)
		}
		r.scan = f.againScan
	}
	for _, seq := range hand {
		if ev, ok := f.events[seq]; ok {
			due.Deliveries = append(due.Deliveries, event.Delivery{Seq: seq, Sink: k.name, Event: ev, Replay: true})
		}
	}
}
