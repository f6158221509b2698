package event

import "errors"

// What the store answers to a commit that it did not make. Check with errors.Is; the error itself says more.
var (
	// ErrStale: the position has another generation than the commit started from, or the sink another health than the change. Read it and
	// start again.
	ErrStale = errors.New("it was changed meanwhile")
	// ErrFull: nothing is taken in until there is room; what is owed goes on being delivered. Try again later.
	ErrFull = errors.New("the store is full")
	// ErrUnknownOutcome: the transaction failed and may be durable or not. Drop what was derived from it and ask again.
	ErrUnknownOutcome = errors.New("the outcome of the transaction is unknown")
)
