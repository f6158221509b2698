package store

import (
	"container/heap"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// exception is a delivery that is owed and not fresh: it failed, or a person sent a dead letter again.
type exception struct {
	seq         uint64
	attempts    int
	first       time.Time     // its first failed attempt, by clock; zero: none in its present age
	idleAtFirst time.Duration // the sink's idle time then
	due         time.Time
	wait        time.Duration // drawn when it was settled: due is never further away than this
	replay      bool
	last        event.Attempt // whole in the file, in memory only its time
	earlier     fails         // in the file only: the failures before the last one

	inFlight bool
	heap     int // its place in the sink's heap; -1 when it isn't there
}

// dueHeap has what is due soonest on top, and of equals the one that was taken in first.
type dueHeap []*exception

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].seq < h[j].seq
	}
	return h[i].due.Before(h[j].due)
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = i, j
}

// Push and Pop are for container/heap.
func (h *dueHeap) Push(x any) {
	e := x.(*exception)
	e.heap = len(*h)
	*h = append(*h, e)
}

func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	x.heap = -1
	return x
}

// add puts x among the failing, in the place of what was there under its seq.
func (k *sink) add(x *exception) {
	k.remove(x.seq)
	k.failing[x.seq] = x
	if !x.first.IsZero() {
		k.counted++
	}
	if !x.inFlight {
		heap.Push(&k.due, x)
	}
}

func (k *sink) remove(seq uint64) {
	x := k.failing[seq]
	if x == nil {
		return
	}
	delete(k.failing, seq)
	if !x.first.IsZero() {
		k.counted--
	}
	if !x.inFlight {
		heap.Remove(&k.due, x.heap)
	}
}

// take puts x in flight.
func (k *sink) take(x *exception) {
	heap.Remove(&k.due, x.heap)
	x.inFlight = true
}

// release takes what is in flight back, due at once. s.mu is held.
func (k *sink) release(seq uint64) {
	if k.out[seq] {
		k.out[seq] = false
	}
	if r := k.again(seq); r != nil {
		r.out[seq] = false
	}
	if x := k.failing[seq]; x != nil && x.inFlight {
		x.inFlight = false
		x.due = time.Now()
		heap.Push(&k.due, x)
	}
}

// releaseAll takes everything back that is in flight.
func (k *sink) releaseAll() {
	for seq := range k.out {
		k.out[seq] = false
	}
	for _, r := range k.replays {
		for seq := range r.out {
			r.out[seq] = false
		}
	}
	for seq, x := range k.failing {
		if x.inFlight {
			k.release(seq)
		}
	}
}

// inFlight reports whether seq was handed out and is neither settled nor released.
func (k *sink) inFlight(seq uint64) bool {
	x := k.failing[seq]
	r := k.again(seq)
	return k.out[seq] || x != nil && x.inFlight || r != nil && r.out[seq]
}

// postpone changes when x, which is not in flight, is due.
func (k *sink) postpone(x *exception, due time.Time) {
	x.due = due
	heap.Fix(&k.due, x.heap)
}

// forget drops what only the file keeps.
func (x *exception) forget() {
	x.last, x.earlier = event.Attempt{At: x.last.At}, nil
}

// failures are all that are kept of it; of the last one all but the end of its answer is in last alone.
func (x *exception) failures() fails {
	if x.last.At.IsZero() {
		return x.earlier
	}
	return x.earlier.with(event.Tried{Number: x.attempts, Replay: x.replay, Attempt: x.last}, maxFails)
}

// exception reads what is stored of a failing delivery. It is called before the batch's transaction begins.
func (b *batch) exception(sink string, seq uint64) (x *exception, err error) {
	err = b.s.view(func(tx *bolt.Tx) error {
		key := seqKey(seq)
		value := tx.Bucket([]byte(prefixX + sink)).Get(key)
		if value == nil {
			return errMissing
		}
		x, err = readException(key, value)
		return err
	})
	return x, err
}
