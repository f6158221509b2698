package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"tidings/event"
)

// PauseRequest names the sink that a person pauses or resumes.
type PauseRequest struct {
	Sink   string `json:"sink"`
	DryRun bool   `json:"dry_run,omitempty"` // say what it would do, change nothing
}

// PauseChange says how the sink was, and whether that changes.
type PauseChange struct {
	Sink    string `json:"sink"`
	Was     string `json:"was"`     // its state before, a word of status
	Changed bool   `json:"changed"` // false: it is so already
	Owed    uint64 `json:"owed"`
}

// pause makes a sink paused, by a person's word, or up. One that is down is not to be resumed: it recovers by itself.
func (s *Server) pause(paused bool) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(w http.ResponseWriter, r *http.Request) (any, error) {
		var req PauseRequest
		if err := read(w, r, &req, "the name of a sink"); err != nil {
			return nil, err
		}
		for try := 1; ; try++ {
			change, err := s.pauseOnce(r.Context(), req, paused)
			if !errors.Is(err, event.ErrStale) || try == pauseTries {
				return change, err
			}
		}
	}
}

// pauseTries: a sink that changes at the same moment is looked at again.
const pauseTries = 5

func (s *Server) pauseOnce(ctx context.Context, req PauseRequest, paused bool) (PauseChange, error) {
	sinks, err := s.Store.Sinks()
	if err != nil {
		return PauseChange{}, err
	}
	at := slices.IndexFunc(sinks, func(k event.SinkStats) bool { return k.Name == req.Sink && !k.Frozen })
	if at < 0 {
		return PauseChange{}, errorf(NotFound, "no sink is called %q", req.Sink)
	}
	sink := sinks[at]
	change := PauseChange{Sink: sink.Name, Was: sink.State.Health.String(), Owed: sink.Owed}
	state := event.SinkState{Health: event.Up, Since: time.Now()}
	if paused {
		state.Health, state.Reason = event.Paused, "by a person"
	}
	change.Changed = paused != (sink.State.Health == event.Paused)
	if !change.Changed || req.DryRun {
		return change, nil
	}
	if err := s.Store.SetState(ctx, sink.Name, sink.State.Health, state); err != nil {
		return PauseChange{}, fmt.Errorf("sink %s stays as it was: %w", sink.Name, err)
	}
	done := "resumed"
	if paused {
		done = "paused"
	}
	s.log().Info("a sink was "+done+" on a person's word", "sink", sink.Name, "owed", sink.Owed)
	return change, nil
}
