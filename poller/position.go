package poller

import (
	"encoding/json"
	"fmt"
	"time"
)

// common is what positions of all kinds hold. A position is stored as JSON, opaque to the store; that of a feed with a name stands
// among the others in one composite.
//
//	{"v":1,"start":"2026-01-02T03:04:05Z","caught_up":true,"time":"2026-01-02T04:00:00Z","ids":["evt_9","evt_8"]}
type common struct {
	Version  int        `json:"v"`
	Kind     Kind       `json:"kind,omitempty"`      // empty: HeadWalk
	FirstTry time.Time  `json:"first_try,omitzero"`  // until start is resolved: when the source was first asked, by our clock
	Start    *time.Time `json:"start,omitempty"`     // nothing older is taken in; the zero time takes everything
	CaughtUp bool       `json:"caught_up,omitempty"` // a first walk has ended
	Time     time.Time  `json:"time,omitzero"`       // of the newest event seen, never ahead of the server's Date
	IDs      []string   `json:"ids,omitempty"`       // ids of events seen last; HeadWalk: the boundary, newest first. They never expire
	Lost     bool       `json:"lost,omitempty"`      // the place was lost, and told as a gap; a person is to decide
}

// Place is what a stored position says to a person.
type Place struct {
	Start   time.Time // nothing older is taken in; zero: no such floor, or not known yet
	Time    time.Time // of the newest event seen; zero when none was
	Newest  string    // id of the newest event seen
	Walking bool      // a long walk back has not ended: much is being caught up
}

// Describe reads a position as the store keeps it; nil is the place of a source that was never polled.
func Describe(data []byte) (Place, error) {
	pos, err := decodePosition(data)
	if err != nil {
		return Place{}, err
	}
	place := Place{Time: pos.Time, Walking: pos.Trail != nil}
	if pos.Start != nil {
		place.Start = *pos.Start
	}
	if len(pos.IDs) > 0 {
		place.Newest = pos.IDs[0]
	}
	return place, nil
}

const positionVersion = 1

// decode reads a stored position of that kind into pos, a pointer to a struct that embeds common; where nothing is stored it leaves
// pos alone.
func decode(data []byte, kind Kind, pos any) error {
	if data == nil {
		return nil
	}
	var is common
	if err := json.Unmarshal(data, &is); err != nil {
		return fmt.Errorf("the stored position can't be read, reset it: %w", err)
	}
	if is.Version != positionVersion {
		return fmt.Errorf("the stored position has format %d, this program knows format %d: use the newer program, or reset the position",
			is.Version, positionVersion)
	}
	if is.Kind == "" {
		is.Kind = HeadWalk
	}
	if is.Kind != kind {
		return fmt.Errorf("the stored position is one of %s, and the source is now polled by %s: configure it as it was, or reset the position",
			is.Kind, kind)
	}
	if err := json.Unmarshal(data, pos); err != nil {
		return fmt.Errorf("the stored position can't be read, reset it: %w", err)
	}
	return nil
}

// encode returns a position as it is stored.
func encode(pos any) []byte {
	data, err := json.Marshal(pos)
	if err != nil {
		panic(err) // a struct of strings, booleans and times; times come from parsed text
	}
	return data
}
