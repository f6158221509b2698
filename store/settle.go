package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// Settle makes the verdicts durable. Only what is in flight can be settled. On an error nothing of it may be assumed, and all
// that the sinks concerned had in flight has been released.
func (s *Store) Settle(ctx context.Context, settled []event.Settlement) error {
	err := s.do(ctx, func(b *batch) error { return b.settle(settled) })
	if err != nil {
		s.mu.Lock()
		for _, v := range settled {
			if k := s.st.sinks[v.Sink]; k != nil {
				k.releaseAll()
			}
		}
		s.mu.Unlock()
	}
	return err
}

func (b *batch) settle(settled []event.Settlement) error {
	type delivery struct {
		sink string
		seq  uint64
	}
	once := map[delivery]bool{}
	letters := map[int]event.Event{}
	for i, v := range settled {
		d := b.sink(v.Sink)
		at := delivery{v.Sink, v.Seq}
		if d == nil || once[at] || !b.flying(d, v.Seq) {
			return fmt.Errorf("event %d is not in flight to sink %s: its verdict is not taken", v.Seq, v.Sink)
		}
		once[at] = true
		switch v.Outcome {
		case event.Dead:
			ev, err := b.event(v.Seq)
			if err != nil {
				return fmt.Errorf("event %d for the dead letters of sink %s can't be read: %w", v.Seq, v.Sink, err)
			}
			letters[i] = ev
		case event.Delivered, event.Retry:
		default:
			return fmt.Errorf("event %d of sink %s: there is no verdict %d", v.Seq, v.Sink, v.Outcome)
		}
	}
	for i, v := range settled {
		d := b.sink(v.Sink)
		switch v.Outcome {
		case event.Delivered:
			old := b.failing(d, v.Seq)
			b.delivered(d.index, v.Seq, event.Tried{Number: old.attempts + 1, Replay: old.replay, Attempt: v.Attempt})
			b.failed(d.index, v.Seq, old.failures())
			b.takeOff(d, v.Seq)
		case event.Retry:
			b.retry(d, v)
		case event.Dead:
			old := b.failing(d, v.Seq)
			last := event.Tried{Number: old.attempts + 1, Replay: old.replay, Attempt: v.Attempt}
			b.failed(d.index, v.Seq, old.failures().with(last, maxFails))
			b.bury(d, v.Seq, deadRecord{sink: d.index, at: b.now, attempts: last.Number, last: v.Attempt, event: letters[i]})
		}
	}
	return nil
}

// flying reports whether seq is in flight to the sink and not settled by this batch.
func (b *batch) flying(d *sinkDraft, seq uint64) bool {
	if _, settled := d.settled[seq]; settled {
		return false
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return d.inFlight(seq)
}

// event reads an event of the log. It is called before the batch's transaction begins.
func (b *batch) event(seq uint64) (ev event.Event, err error) {
	err = b.s.view(func(tx *bolt.Tx) error {
		key := seqKey(seq)
		value := tx.Bucket([]byte(bucketLog)).Get(key)
		if value == nil {
			return errMissing
		}
		ev, err = readEvent(key, value)
		return err
	})
	return ev, err
}

// takeOff ends that a delivery in flight is owed.
func (b *batch) takeOff(d *sinkDraft, seq uint64) {
	d.settled[seq] = struct{}{}
	if _, failing := d.failing[seq]; failing {
		b.delete(prefixX+d.name, seqKey(seq))
	} else {
		b.leave(d, seq)
	}
	k := d.sink
	b.after = append(b.after, func(*state) {
		delete(k.out, seq)
		k.remove(seq)
	})
}

// failing returns a copy of what is known of a delivery in flight, its failures included.
func (b *batch) failing(d *sinkDraft, seq uint64) *exception {
	x := &exception{seq: seq, replay: b.again(d.sink, seq) != nil}
	if old := d.sink.failing[seq]; old != nil {
		*x = *old
		if whole, err := b.exception(d.name, seq); err == nil {
			x.last, x.earlier = whole.last, whole.earlier
		} else {
			b.setAside(event.SetAside{Sink: d.name, What: "the record " + bucketKey(prefixX+d.name, seqKey(seq)),
				Why: err.Error() + "; earlier attempts of this delivery are forgotten"}, nil)
			x.last = event.Attempt{}
		}
	}
	x.inFlight, x.heap = false, -1
	return x
}

// leave ends that a delivery in flight is fresh, or a replay's.
func (b *batch) leave(d *sinkDraft, seq uint64) {
	if r := b.again(d.sink, seq); r != nil {
		draft := b.replay(r)
		draft.off++
		draft.settled[seq] = struct{}{}
		return
	}
	d.fresh--
	d.changed = true
}

// again is the replay that has handed seq out, if one has.
func (b *batch) again(k *sink, seq uint64) *replayJob {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return k.again(seq)
}

// retry keeps a delivery owed, due after the wait that was drawn. It is written in its place, by seq.
func (b *batch) retry(d *sinkDraft, v event.Settlement) {
	k := d.sink
	x := b.failing(d, v.Seq)
	x.earlier = x.failures()
	x.earlier = x.earlier[max(0, len(x.earlier)-(maxFails-1)):]
	if k.failing[v.Seq] == nil {
		b.leave(d, v.Seq)
	}
	d.settled[v.Seq] = struct{}{}
	x.attempts++
	x.wait = max(0, v.Wait)
	x.due = b.now.Add(x.wait)
	x.last = v.Attempt
	if now := b.s.clock.age(); x.first.IsZero() {
		x.first, x.idleAtFirst = now, k.idleAt(now)
	}
	key := seqKey(v.Seq)
	b.put(prefixX+k.name, key, x.record(key, k.index))
	x.forget()
	x.due = time.Now().Add(x.wait) // in memory by the monotonic clock
	b.after = append(b.after, func(*state) {
		delete(k.out, v.Seq)
		k.add(x)
	})
}

// bury makes a dead letter of a delivery in flight.
func (b *batch) bury(d *sinkDraft, seq uint64, r deadRecord) {
	b.takeOff(d, seq)
	key := seqKey(seq)
	b.put(prefixDead+d.name, key, r.record(key))
	k := d.sink
	b.after = append(b.after, func(*state) { k.dead++ })
}

// SetState keeps the sink's health if it still is what the caller knew; else it is event.ErrStale, and nothing changes. While it is not up
// the age of what is failing stands still.
func (s *Store) SetState(ctx context.Context, sink string, was event.Health, state event.SinkState) error {
	if state.Health < event.Up || state.Health > event.Paused {
		return errors.New("a sink is up, down or paused")
	}
	return s.do(ctx, func(b *batch) error {
		d := b.sink(sink)
		if d == nil {
			return fmt.Errorf("the store knows no sink %s", sink)
		}
		if d.state.Health != was {
			return fmt.Errorf("sink %s: its state: %w", sink, event.ErrStale)
		}
		now := b.s.clock.age()
		switch was := d.state.Health; {
		case was == event.Up && state.Health != event.Up:
			d.idleSince = now
		case was != event.Up && state.Health == event.Up:
			d.idle += max(0, now.Sub(d.idleSince))
			d.idleSince = time.Time{}
		}
		d.state = state
		d.changed = true
		b.wake[sink] = true
		return nil
	})
}
