package event

import "time"

// Delivery is one event owed to one sink.
type Delivery struct {
	Seq        uint64 // the event's place in the store's log
	Sink       string
	Event      Event
	Attempts   int           // attempts that counted so far; 0 for a fresh one
	FailingFor time.Duration // time since its first failed attempt, less the time that its sink was down or paused
	Replay     bool          // delivered again on a person's word
}

// Attempt is one try of a delivery, as it is kept with the delivery and shown to a person.
type Attempt struct {
	At     time.Time     `json:"at"`
	Took   time.Duration `json:"took"`
	Reason string        `json:"reason"`           // one sentence; empty when it succeeded
	Answer string        `json:"answer,omitempty"` // what the sink said, cut at 16 KiB
}

// Outcome is what a settlement makes of a delivery.
type Outcome int

const (
	Delivered Outcome = iota + 1 // the sink has it
	Retry                        // owed still, due again at Settlement.Wait from now
	Dead                         // given up: goes to the dead-letter list
)

func (o Outcome) String() string {
	switch o {
	case Delivered:
		return "delivered"
	case Retry:
		return "retry"
	case Dead:
		return "dead"
	}
	return "unknown"
}

// Settlement is the verdict on one attempted delivery.
type Settlement struct {
	Sink    string
	Seq     uint64
	Outcome Outcome
	Attempt Attempt
	Wait    time.Duration // Retry: how long from Attempt's end until it is due; drawn once, here, and stored
}

// DeadLetter is a delivery that was given up on. It carries its own copy of the event.
type DeadLetter struct {
	Seq      uint64
	Sink     string
	Event    Event
	DeadAt   time.Time
	Attempts int
	Reason   string  // of the last attempt
	Last     Attempt // the last attempt
}

// Due is what a sink's worker is handed at one asking.
type Due struct {
	Deliveries []Delivery // fresh ones first, each kind in the order of taking in
	Next       time.Time  // when the next retry that was not handed out is due; zero when none waits for its time
	Failing    int        // deliveries failing singly at this sink
	More       bool       // fresh ones remain beyond those handed out
}

// DeadQuery selects dead letters. The zero query selects all.
type DeadQuery struct {
	Sink  string   // of this sink; empty: of any
	IDs   []string // with one of these event ids; none: with any
	After uint64   // with a Seq beyond this one: the last one of the page before
	Limit int      // how many; 0: 1000
}
