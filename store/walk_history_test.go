package store

import (
	"context"

	"tidings/event"
)

// mayMiss: a replay leaves out what is owed or dead when its turn comes.
func (w *walk) mayMiss(sink string, seq uint64) {
	if _, left := w.left[sink][seq]; left {
		w.left[sink][seq] = false
	}
}

// mayCome: what a dead letter puts back into the log is there for other sinks' replays too.
func (w *walk) mayCome(seq uint64) {
	for _, sink := range w.sinks {
		if _, left := w.left[sink][seq]; !left && len(w.left[sink]) > 0 {
			w.left[sink][seq] = false
		}
	}
}

// back: a delivery is not in flight any more, unsettled. A cancelled replay doesn't give it again.
func (w *walk) back(sink string, seq uint64) {
	f := w.model[sink][seq]
	if f.replay && w.ended[sink] {
		delete(w.left[sink], seq)
	}
	f.flying, f.replay = false, false
}

// replayOrCancel starts a replay of what is kept of some type, or cancels the one that there is.
func (w *walk) replayOrCancel(sink string) {
	w.tidyNow()
	for _, r := range w.replays() {
		if r.Replay.Sink != sink {
			continue
		}
		if w.rnd.IntN(2) == 0 {
			w.breakable(func() error { return w.CancelReplay(context.Background(), r.ID) }, func() {
				w.ended[sink] = true
				for seq := range w.left[sink] {
					if f := w.model[sink][seq]; f == nil || !f.replay {
						delete(w.left[sink], seq)
					}
				}
			})
		}
		return
	}
	filter := event.Filter{[]string{"a", "aa", "b", "a*"}[w.rnd.IntN(4)]}
	left := map[uint64]bool{}
	for _, h := range w.log(w.bench) {
		if filter.Match(h.Event.Type) {
			f := w.model[sink][h.Seq]
			left[h.Seq] = f == nil || f.state != "owed" && f.state != "dead"
		}
	}
	var n uint64
	w.breakable(func() (err error) {
		_, n, err = w.StartReplay(context.Background(), event.Replay{Sink: sink, Events: filter})
		return err
	}, func() { w.left[sink], w.ended[sink] = left, false })
	if n != 0 && int(n) != len(left) {
		w.t.Errorf("a replay of %d, the log has %d", n, len(left))
	}
}

// log lists all that is kept.
func (w *walk) log(b *bench) (all []event.History) {
	w.t.Helper()
	for q := (event.HistoryQuery{Limit: 70}); ; {
		page, err := b.History(q)
		if err != nil {
			w.t.Fatal(err)
		}
		if all = append(all, page.Events...); page.Before == 0 {
			return all
		}
		q.Before = page.Before
	}
}

// compareHistory: what is kept of an event says what became of it at each sink.
func (w *walk) compareHistory(b *bench) {
	w.t.Helper()
	for _, h := range w.log(b) {
		for _, k := range h.Sinks {
			f := w.model[k.Sink][h.Seq]
			if f == nil {
				f = &fate{state: string(event.StateUnwanted)}
			}
			if _, left := w.left[k.Sink][h.Seq]; left || f.state == "unwanted" {
				continue
			}
			// What a dead letter has put back doesn't know any more who wanted it.
			forgotten := k.State == event.StateUnwanted && f.state != "owed" && f.state != "dead"
			if string(k.State) != f.state && !forgotten || k.State == event.StateOwed && k.Attempts != f.attempts || len(k.Tried) > 7 {
				w.t.Fatalf("sink %s: history says of %d that it is %+v, the model %+v", k.Sink, h.Seq, k, f)
			}
			if done := len(k.Tried) > 0 && k.Tried[len(k.Tried)-1].Delivered; k.State == event.StateDelivered && (!done || k.Attempts != f.attempts) {
				w.t.Fatalf("sink %s: history says of the delivery of %d %+v, the model %+v", k.Sink, h.Seq, k, f)
			}
		}
	}
}
