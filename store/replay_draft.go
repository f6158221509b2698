package store

import (
	"maps"
	"slices"
)

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
	gone := left == 0 || d.cancelled && len(open) == 0
	if gone {
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
		clear(r.coming)
		r.left, r.cancelled, r.pin = r.left+d.grown()-d.off, d.cancelled, pin
		if r.cancelled {
			maps.DeleteFunc(r.out, func(_ uint64, inFlight bool) bool { return !inFlight })
			r.left = uint64(len(r.out))
		}
		if d.created {
			k.replays = append(k.replays, r)
			st.nextReplay = r.id + 1
		}
		if r.left == 0 && gone { // what came to its end since the record was made has an end of its own
			k.replays = slices.DeleteFunc(k.replays, func(x *replayJob) bool { return x == r })
		}
	})
}
