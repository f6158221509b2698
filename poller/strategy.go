package poller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tidings/event"
)

// A strategy keeps the place in one list by one kind of position. It owns the form of that position and what it holds in memory;
// the feed that it is made with does the rest. The sketch of one:
//
//	type tailCursor struct {
//		*feed           // position, fetch, known, commit; settings in feed.poller
//		pos tailPosition // embeds common
//	}
//
// It never commits an event without the place that goes with it, nor a place before the events in front of it.
type strategy interface {
	// round takes the list in as far as it goes, or as far as its turn does, and reports whether another round is due at once. What it
	// holds over from an earlier round is valid only as long as the position has the same generation.
	round(ctx context.Context, told *event.Polled) (again bool, err error)
	// failed is called with the error of a round. It forgets what can't be gone on with, and reports whether to begin anew at
	// once, since the position was changed meanwhile (event.ErrStale), say. The error that it returns is the poll's.
	failed(ctx context.Context, err error) (restart bool, _ error)
}

// newStrategy makes the strategy of a feed's kind.
func newStrategy(f *feed) (strategy, error) {
	switch f.Kind {
	case HeadWalk:
		return &headWalk{feed: f}, nil
	case TailCursor:
		return &tailCursor{feed: f}, nil
	case TimeWindow:
		if _, ok := f.Fetcher.(Wrapper); f.Changes && !ok {
			return nil, fmt.Errorf("%s is to tell what changed, and its fetcher can't make events of that", f.label())
		}
		return &timeWindow{feed: f}, nil
	case Ack:
		acker, ok := f.Fetcher.(Acker)
		if !ok {
			return nil, fmt.Errorf("%s is to be acknowledged, and its fetcher can't do that", f.label())
		}
		return &ackQueue{feed: f, acker: acker}, nil
	case Snapshot:
		wrapper, ok := f.Fetcher.(Wrapper)
		if !ok {
			return nil, fmt.Errorf("%s is to tell what changed, and its fetcher can't make events of that", f.label())
		}
		return &snapshot{feed: f, wrapper: wrapper}, nil
	}
	return nil, fmt.Errorf("%s keeps its place as %q, which is no kind of position", f.label(), f.Kind)
}

// maxRestarts is how often one poll of a feed starts over at once because the position was changed under it or a cursor was lost.
const maxRestarts = 3

// maxRounds is how many rounds one poll of a feed takes at most. A queue that is drained comes to its end; one that lists what was
// acknowledged again, under other ids, never does, and would keep the other feeds from their turn and its API busy for ever.
const maxRounds = 1000

// maxTurn is how long a feed goes on while others wait for their turn.
const maxTurn = time.Minute

// turnOver reports whether the other feeds are to have their turn before this one goes on.
func (f *feed) turnOver() bool { return len(f.poller.feeds) > 1 && time.Since(f.turn) >= maxTurn }

// catchUp takes rounds until there is nothing more to take in. more: there is, and others wait.
func (f *feed) catchUp(ctx context.Context, told *event.Polled) (more bool, err error) {
	f.turn = time.Now()
	for restarts := 0; ; {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		again, err := f.strategy.round(ctx, told)
		if f.rounds++; err == nil {
			switch {
			case !again:
				f.endPoll()
				return false, nil
			case f.poller.resting() || f.rounds >= maxRounds:
				return false, nil // what another round would find is left to the next poll
			case f.turnOver():
				return true, nil
			}
			continue
		}
		restart, err := f.strategy.failed(ctx, err)
		if restarts++; !restart || restarts > maxRestarts {
			return false, err
		}
	}
}

// stale is how a strategy fails that has nothing to forget: it begins anew only where the position was changed meanwhile.
func stale(err error) (restart bool, _ error) { return errors.Is(err, event.ErrStale), err }

// storeError marks what the store refused, in distinction to what the API did.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

func isLost(err error) bool {
	fetch, ok := errors.AsType[*FetchError](err)
	return ok && fetch.Lost
}

func isStoreError(err error) bool {
	_, ok := errors.AsType[*storeError](err)
	return ok
}
