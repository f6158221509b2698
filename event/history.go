package event

import "time"

// HistoryQuery selects events that are kept, newest first. The zero query selects all.
type HistoryQuery struct {
	Source string    // of this source; empty: of any
	ID     string    // with this id; empty: with any
	Types  Filter    // of a type that this passes; empty: of any
	Since  time.Time // taken in at that time or later; zero: whenever
	Until  time.Time // taken in before that time; zero: whenever
	Before uint64    // with a Seq before this one: HistoryPage.Before of the page before; 0: from the newest on
	Limit  int       // how many; 0: 100
}

// HistoryPage is an answer to a HistoryQuery. It can have fewer events than asked for, even none, and still not be the last.
type HistoryPage struct {
	Events []History
	Before uint64 // asks for the next page; 0: there is none
}

// History is all that is known about one event.
type History struct {
	Seq   uint64
	Event Event // Broken, where its record can't be read any more
	Sinks []SinkHistory
}

// DeliveryState is what became of an event at a sink.
type DeliveryState string

const (
	StateOwed      DeliveryState = "owed"
	StateDelivered DeliveryState = "delivered"
	StateDead      DeliveryState = "dead"
	StateDropped   DeliveryState = "dropped" // it was dead, and a person dropped it
	StateUnwanted  DeliveryState = "not wanted"
)

// SinkHistory is what is known of one event at one sink.
type SinkHistory struct {
	Sink     string
	State    DeliveryState
	Replay   bool      // what is owed, or was done last, is on a person's word
	Attempts int       // that counted
	Tried    []Tried   // what is kept of these, oldest first: a success, and the last five failures
	Next     time.Time // when the next try is due; zero: at once, or never
}

// Tried is an attempt as it is kept.
type Tried struct {
	Number    int  `json:"number"` // of this attempt, 1 the first
	Delivered bool `json:"delivered"`
	Replay    bool `json:"replay,omitempty"`
	Attempt
}
