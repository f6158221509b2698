package event

import (
	"slices"
	"time"
)

// Health is how a sink does.
type Health int

const (
	Up     Health = iota // attempted as events come
	Down                 // it fails: one owed event at a time probes it, and it recovers by itself
	Paused               // it waits for a person
)

func (h Health) String() string {
	switch h {
	case Up:
		return "up"
	case Down:
		return "down"
	case Paused:
		return "paused"
	}
	return "unknown"
}

// SinkState is what is kept of a sink's health over a restart. While a sink is down or paused the age of its failing
// deliveries stands still.
type SinkState struct {
	Health Health
	Since  time.Time
	Reason string // why it is down or paused: one sentence
	Probes int    // while down: probes that failed since

	HeldUntil time.Time // the sink asked for no attempt before; zero when it did not
}

// Topology is what the configuration wants of the store: who lists events, and who is owed which.
type Topology struct {
	Sources []SourceSpec
	Sinks   []SinkSpec
}

// SourceSpec is a source as the store sees it.
type SourceSpec struct {
	Name     string
	Identity string // account and API in one text; another one under the same name is refused
	Events   Filter
}

// Own is the name of the source of the daemon's own events, which no configured source can have.
const Own = "tidings"

// SinkSpec is a sink as the store sees it.
type SinkSpec struct {
	Name    string
	Sources Filter // "*" is every configured source; the daemon's own events go to those that name Own
	Events  Filter
}

// Wants reports whether events of source are for this sink, if their types are.
func (s SinkSpec) Wants(source string) bool {
	if source == Own {
		return slices.Contains(s.Sources, Own)
	}
	return s.Sources.Match(source)
}
