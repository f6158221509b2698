package dispatch

import (
	"context"

	"tidings/event"
)

// Queue is what a worker needs of the store. What is handed out is in flight, in memory only, until it is settled or
// released; nothing in flight is handed out twice.
type Queue interface {
	// Next hands out at most fresh deliveries that were never attempted and at most retries ones whose time has come.
	Next(sink string, fresh, retries int) (event.Due, error)
	// Probe hands out one delivery to try a sink that is down with: a fresh one, else the failing one attempted longest ago, due or not. None: false.
	Probe(sink string) (event.Delivery, bool, error)
	// Settle makes the verdicts durable, together with what others settle at that moment. On an error nothing of it may be
	// assumed; all that the sink had in flight has been released.
	Settle(ctx context.Context, settled []event.Settlement) error
	// Release takes deliveries back unsettled, due at once. What is not in flight is left as it is.
	Release(sink string, seqs ...uint64)
	// State and SetState keep the sink's health over a restart. When its stored health is not what the caller knew, SetState is
	// event.ErrStale and changes nothing: somebody else has changed it.
	State(sink string) (event.SinkState, error)
	SetState(ctx context.Context, sink string, was event.Health, state event.SinkState) error
	// Wake is signalled when the sink may have got something to do: a commit, a dead letter sent again, another state.
	Wake(sink string) <-chan struct{}
}
