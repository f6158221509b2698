package poller

import (
	"encoding/json"
	"errors"
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
	Seen     time.Time  `json:"seen,omitzero"`       // the server's clock when the position was stored, where that matters
	Lost     bool       `json:"lost,omitempty"`      // the place was lost, and told as a gap; it was not found again yet
	Anew     bool       `json:"anew,omitempty"`      // it was lost, and the source then started at that moment, whatever is configured
}

const positionVersion = 1

// decode reads a stored position of that kind, or of any where kind is empty, into pos, a pointer to a struct that embeds common; where
// nothing is stored it leaves pos alone.
func decode(data []byte, kind Kind, pos any) error {
	if data == nil {
		return nil
	}
	var is common
	if err := json.Unmarshal(data, &is); err != nil {
		return fmt.Errorf("the stored position can't be read; restore a backup of the store, or give the source another name, under which it starts anew: %w", err)
	}
	if is.Version == compositeVersion {
		return errors.New("the stored position is that of a source with named feeds, and the source now has one list: configure it as it was, or give the source another name, under which it starts anew")
	}
	if is.Version != positionVersion {
		return fmt.Errorf("the stored position has format %d, this program knows format %d: use the newer program, or reset the position",
			is.Version, positionVersion)
	}
	if is.Kind == "" {
		is.Kind = HeadWalk
	}
	if kind != "" && is.Kind != kind {
		return fmt.Errorf("the stored position is one of %s, and the source is now polled by %s: configure it as it was, or give the source another name, under which it starts anew",
			is.Kind, kind)
	}
	if err := json.Unmarshal(data, pos); err != nil {
		return fmt.Errorf("the stored position can't be read; restore a backup of the store, or give the source another name, under which it starts anew: %w", err)
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
