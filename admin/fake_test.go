package admin

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

// fakeStore holds what a test put in it, and obeys DeadQuery.
type fakeStore struct {
	sources   []event.SourceStats
	sinks     []event.SinkStats
	stats     event.StoreStats
	dead      []event.DeadLetter
	retried   map[string][]uint64
	dropped   map[string][]uint64
	largest   int                    // change
	err       error                  // of every call
	copy      string                 // what a backup has
	cut       error                  // how a backup ends
	meanwhile func(*event.SinkState) // changes a state just before SetState does
	failAt    int                    // changes fail from this one on, counted from 1; 0: never
	changes   int
}

func (f *fakeStore) Sources() ([]event.SourceStats, error) { return slices.Clone(f.sources), f.err }
func (f *fakeStore) Sinks() ([]event.SinkStats, error)     { return slices.Clone(f.sinks), f.err }

func (f *fakeStore) Position(source string) (event.Position, error) {
	for _, src := range f.sources {
		if src.Name == source {
			return event.Position{Generation: 7, Data: src.Position}, f.err
		}
	}
	return event.Position{}, f.err
}

// Known remembers what begins with "known".
func (f *fakeStore) Known(_ string, ids []string) ([]bool, error) {
	known := make([]bool, len(ids))
	for i, id := range ids {
		known[i] = strings.HasPrefix(id, "known")
	}
	return known, f.err
}

// Backup writes what would be a store, and then fails if the fake does.
func (f *fakeStore) Backup(_ context.Context, w io.Writer, start func(int64) error) error {
	if f.err != nil {
		return f.err
	}
	if err := start(int64(len(f.copy))); err != nil {
		return err
	}
	if _, err := io.WriteString(w, f.copy); err != nil {
		return err
	}
	return f.cut
}

func (f *fakeStore) Compact(context.Context) (event.Compacted, error) {
	return event.Compacted{Before: 300, After: 100, Took: time.Second}, f.err
}

func (f *fakeStore) Stats() (event.StoreStats, error) { return f.stats, f.err }

func (f *fakeStore) Dead(q event.DeadQuery) ([]event.DeadLetter, error) {
	var found []event.DeadLetter
	for _, d := range f.dead {
		if (q.Sink == "" || d.Sink == q.Sink) && (len(q.IDs) == 0 || slices.Contains(q.IDs, d.Event.ID)) && d.Seq > q.After {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b event.DeadLetter) int { return cmp.Compare(a.Seq, b.Seq) })
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[:q.Limit]
	}
	return found, f.err
}

func (f *fakeStore) change(to *map[string][]uint64, sink string, seqs []uint64) (int, error) {
	f.changes++
	if f.failAt > 0 && f.changes >= f.failAt {
		return 0, fmt.Errorf("the disk is gone")
	}
	if *to == nil {
		*to = map[string][]uint64{}
	}
	(*to)[sink] = append((*to)[sink], seqs...)
	f.largest = max(f.largest, len(seqs))
	return len(seqs), nil
}

func (f *fakeStore) RetryDead(_ context.Context, sink string, seqs []uint64) (int, error) {
	return f.change(&f.retried, sink, seqs)
}

func (f *fakeStore) DropDead(_ context.Context, sink string, seqs []uint64) (int, error) {
	return f.change(&f.dropped, sink, seqs)
}

func (f *fakeStore) SetState(_ context.Context, sink string, was event.Health, state event.SinkState) error {
	if f.err != nil {
		return f.err
	}
	for i := range f.sinks {
		if f.sinks[i].Name == sink {
			if f.meanwhile != nil {
				f.meanwhile(&f.sinks[i].State)
			}
			if f.sinks[i].State.Health != was {
				return event.ErrStale
			}
			f.sinks[i].State = state
		}
	}
	return nil
}

// bury adds n dead letters to a sink, with the ids evt_1 and so on.
func (f *fakeStore) bury(sink string, n int) {
	f.sinks = append(f.sinks, event.SinkStats{Name: sink, Dead: n})
	for i := range n {
		f.dead = append(f.dead, event.DeadLetter{
			Seq: uint64(i + 1), Sink: sink, DeadAt: time.Date(2026, 3, 4, 5, 6, 7, 8_900_000, time.FixedZone("", 3600)),
			Attempts: 7, Reason: "the sink answered 422",
			Event: event.Event{
				Source: "flatpeak", ID: fmt.Sprintf("evt_%d", i+1), Type: "tariff.changed",
				Received: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Data: []byte(`{"a": "<&>"}`),
			},
			Last: event.Attempt{At: time.Date(2026, 3, 4, 5, 6, 6, 0, time.UTC), Took: 1500 * time.Millisecond, Answer: "no <such> thing"},
		})
	}
}

func client(t *testing.T, s *Server) *Client {
	t.Helper()
	c := Local(s.Handler())
	t.Cleanup(c.Close)
	return c
}
