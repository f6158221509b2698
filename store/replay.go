package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

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

	coming map[uint64]bool // that the transaction under way puts back into the log: seen in the file before left counts them
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
		d := b.replay(&replayJob{id: id, what: what, started: b.now, total: count, left: count, scan: from, out: map[uint64]bool{}, coming: map[uint64]bool{}})
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
