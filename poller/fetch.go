package poller

import (
	"context"
	"time"

	"tidings/event"
)

// Request names one page of a list.
type Request struct {
	Cursor string // Next of the page before, in this poll or an earlier one; empty: the first page

	From         time.Time // TailCursor, without a cursor: list from then on; zero: from the earliest there is
	Since, Until time.Time // TimeWindow: the window, both ends in it, the same for all of its pages; a zero Until is open
	Validator    string    // of this page, seen and taken in earlier: if it has not changed, the answer may be NotModified
}

// A Fetcher asks one API for one page of its list. It makes the request, logs in where it must, bounds time and bytes, and
// gives each item its id, type and time; it knows nothing of positions or of what is new.
type Fetcher interface {
	// Fetch asks for a page. An error that says more than "try again with backoff" is a *FetchError.
	Fetch(ctx context.Context, r Request) (event.Page, error)
}

// An Acker is a Fetcher whose API wants to be told what was taken in. A feed of kind Ack needs one.
type Acker interface {
	// Ack acknowledges the events of a page that was fetched with cursor, all of them durable here. It may be called again for the same.
	Ack(ctx context.Context, cursor string, events []event.Event) error
}

// A Seeker is a Fetcher whose API gives a cursor for a time.
type Seeker interface {
	// Seek returns the cursor from which the list holds what came at or after t.
	Seek(ctx context.Context, t time.Time) (cursor string, err error)
}

// A Wrapper is a Fetcher whose events get their type and their body when it is known what has become of a resource.
type Wrapper interface {
	// Wrap gives e, as listed, the type and the body for that change; false: the recipe makes no event of it.
	Wrap(e *event.Event, change Change) bool
}

// Change is what has become of a resource.
type Change string

const (
	Created Change = "created"
	Updated Change = "updated"
	Deleted Change = "deleted" // the event has an ID, a Resource and no Data
)

// FetchError is a failed fetch that tells the poller what to do.
type FetchError struct {
	Health event.SourceHealth // SourceFailing, SourceRefused or SourceLimited
	After  time.Duration      // ask again no sooner; 0 leaves it to the backoff
	Lost   bool               // the API no longer knows the cursor
	Rest   bool               // Ack: what the error is not about was acknowledged
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
