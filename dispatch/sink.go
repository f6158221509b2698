package dispatch

import (
	"context"
	"time"

	"tidings/event"
)

// A Sink delivers events to one destination and says how it went. It keeps no state of deliveries and never retries by itself.
type Sink interface {
	// Deliver attempts a batch and returns one Result a delivery, in the batch's order. A batch has as many deliveries as
	// Worker.Batch allows (1 for most sinks) and is in the order of taking in. When ctx ends because its time is up, that is
	// a failed attempt: Retry; when it ends because the daemon stops (context.Cause is ErrStopping), the worker ignores the results that are not Done.
	Deliver(ctx context.Context, batch []event.Delivery) []Result
}

// Verdict is what a sink says of one attempt.
type Verdict int

const (
	Done      Verdict = iota + 1 // the destination has it, durably as far as it says
	Retry                        // try again on the schedule; the default for whatever is not understood
	Permanent                    // trying again is pointless: dead letter at once
	SinkDown                     // the sink itself can't work (a program that can't be started): down, and this attempt counts for nothing
	SinkPause                    // the sink asks to be left alone (410): paused until a person resumes it, and this attempt counts for nothing
)

// Result is a verdict with its reason.
type Result struct {
	Verdict    Verdict
	Reason     string        // one sentence for a person, secrets replaced; empty for Done
	Answer     string        // what the destination said, at most 16 KiB, its end; secrets replaced
	RetryAfter time.Duration // Retry: the whole sink asks to be held that long; 0 when it does not
	Wait       time.Duration // Retry: this event alone asks to be tried no sooner; 0 when it does not
}
