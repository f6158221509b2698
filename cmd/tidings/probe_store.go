package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"tidings/admin"
	"tidings/event"
)

// probeStore is a store for one poll that is not to be kept. It begins with what the real one has, and holds what is committed for as long
// as the poll lasts.
type probeStore struct {
	position event.Position
	lookUp   func(ctx context.Context, ids []string) ([]bool, error) // of the real store

	ctx       context.Context        // of the poll; poller.Store's Known has none
	known     map[string]bool        // what the real store said
	committed map[string]event.Event // by id, without bodies
	order     []string               // of committed, as it was committed
	history   map[string]bool        // ids that were to be remembered without an event
	gaps      []event.Gap
	moved     bool // a position was committed
}

func newProbeStore(ctx context.Context, position event.Position, lookUp func(context.Context, []string) ([]bool, error)) *probeStore {
	return &probeStore{
		position: position, lookUp: lookUp, ctx: ctx,
		known: map[string]bool{}, committed: map[string]event.Event{}, history: map[string]bool{},
	}
}

func (s *probeStore) Position(string) (event.Position, error) { return s.position, nil }

func (s *probeStore) Known(_ string, ids []string) ([]bool, error) {
	var ask []string
	for _, id := range ids {
		if _, asked := s.known[id]; !asked {
			ask = append(ask, id)
		}
	}
	if len(ask) > 0 {
		answers, err := s.lookUp(s.ctx, ask)
		if err != nil {
			return nil, err
		}
		for i, id := range ask {
			s.known[id] = answers[i]
		}
	}
	known := make([]bool, len(ids))
	for i, id := range ids {
		_, committed := s.committed[id]
		known[i] = s.known[id] || committed || s.history[id]
	}
	return known, nil
}

// Commit takes c in as the store would, and forgets the bodies.
func (s *probeStore) Commit(_ context.Context, c event.Commit) (event.Committed, error) {
	var done event.Committed
	for _, e := range c.Events {
		if _, again := s.committed[e.ID]; again || s.known[e.ID] || s.history[e.ID] {
			done.Repeated++
			continue
		}
		e.Data = nil
		s.committed[e.ID] = e
		s.order = append(s.order, e.ID)
		done.New++
	}
	for _, id := range c.Remember {
		s.history[id] = true
	}
	if c.Position != nil {
		s.position.Data, s.moved = c.Position, true
	}
	if c.Gap != nil {
		s.gaps = append(s.gaps, *c.Gap)
	}
	return done, nil
}

func (s *probeStore) SawDate(context.Context, time.Time) {}

// storedPlace reads where a source stands: from the running daemon, from the store of a stopped one, or, where there is no store yet, nowhere.
func storedPlace(cmd *cobra.Command, source string) (pos admin.Position, err error) {
	err = withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
		pos, err = client.Position(ctx, source)
		return err
	})
	if errors.Is(err, errNoStore) {
		err = nil
	}
	return pos, err
}

// storedIDs looks ids up in the same way. A stopped store is let go of after each look, so that a daemon can start meanwhile.
func storedIDs(cmd *cobra.Command, source string) func(context.Context, []string) ([]bool, error) {
	return func(_ context.Context, ids []string) (known []bool, err error) {
		err = withAdmin(cmd, func(ctx context.Context, client *admin.Client) error {
			known, err = client.Known(ctx, source, ids)
			return err
		})
		if errors.Is(err, errNoStore) {
			return make([]bool, len(ids)), nil
		}
		return known, err
	}
}

// noIDs is the memory of a source that the store has not.
func noIDs(_ context.Context, ids []string) ([]bool, error) { return make([]bool, len(ids)), nil }
