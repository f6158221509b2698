package poller

import (
	"context"
	"time"

	"tidings/event"
)

// A Fetcher asks one API for one page of its list. It makes the request, logs in where it must, bounds time and bytes, and
// gives each item its id, type and time; it knows nothing of positions or of what is new.
type Fetcher interface {
	// Fetch asks for the page at cursor; the empty cursor asks for the head of the list. An error that says more than "try
	// again with backoff" is a *FetchError.
	Fetch(ctx context.Context, cursor string) (event.Page, error)
}

// FetchError is a failed fetch that tells the poller what to do.
type FetchError struct {
	Health event.SourceHealth // SourceFailing, SourceRefused or SourceLimited
	After  time.Duration      // ask again no sooner; 0 leaves it to the backoff
	Lost   bool               // the API no longer knows the cursor
	Err    error              // one sentence: what was asked of whom, what came back; secrets replaced
}

func (e *FetchError) Error() string { return e.Err.Error() }
func (e *FetchError) Unwrap() error { return e.Err }

// Store is what a poller needs of the store.
type Store interface {
	// Position returns where source stands; its Data is nil before the first commit.
	Position(source string) (event.Position, error)
	// Known reports for each id whether it is remembered.
	Known(source string, ids []string) ([]bool, error)
	// Commit makes one durable transaction of c, or none: event.ErrStale, event.ErrFull, event.ErrUnknownOutcome.
	Commit(ctx context.Context, c event.Commit) (event.Committed, error)
	// SawDate tells the store the time by a server that has just answered.
	SawDate(ctx context.Context, date time.Time)
}
