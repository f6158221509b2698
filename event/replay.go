package event

import "time"

// Replay asks for events that are kept to be delivered to a sink once more. The zero values select all.
type Replay struct {
	Sink    string
	Sources Filter    // of sources that this passes; empty: of any
	Events  Filter    // of types that this passes; empty: of any
	Since   time.Time // taken in at that time or later
	Until   time.Time // taken in before that time; zero: until now
	From    uint64    // with that Seq or a later one
	To      uint64    // with a Seq before that one; 0: until now
}

// ReplayStats is what the store knows of a replay that is not done.
type ReplayStats struct {
	ID        uint64
	Replay    Replay // From and To as they were found; no times
	Started   time.Time
	Total     uint64 // how many events it was to deliver
	Left      uint64 // of these, how many were neither delivered nor found owed or dead already, nor have failed
	Cancelled bool   // it ends with what is in flight
}
