package poller

import (
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// Place is what a stored position says to a person.
type Place struct {
	Name     string    // of the feed; empty for the source itself
	Kind     Kind      // empty for a source with feeds
	Start    time.Time // nothing older is taken in; zero: no such floor, or not known yet
	Time     time.Time // of the newest event seen, in any of the feeds; zero when none was
	Newest   string    // id of the newest event seen
	CaughtUp bool      // a first poll was finished; of a source with feeds: in each of them
	Walking  bool      // a long walk back has not ended: much is being caught up
	Cursor   string    // where the list goes on, where its API gives such a thing
	Lost     bool      // the API no longer knew the place, and the source has not caught up since
	Feeds    []Place   // by name, where there are several
}

// Describe reads a position as the store keeps it, of whatever kind; nil is the place of a source that was never polled.
func Describe(data []byte) (Place, error) {
	var version struct {
		Version int `json:"v"`
	}
	if data == nil || json.Unmarshal(data, &version) != nil || version.Version != compositeVersion {
		return describe(data)
	}
	all, err := decodeComposite(data)
	if err != nil {
		return Place{}, err
	}
	place := Place{CaughtUp: len(all.Feeds) > 0}
	for _, name := range slices.Sorted(maps.Keys(all.Feeds)) {
		feed, err := describe(all.Feeds[name])
		if err != nil {
			return Place{}, err
		}
		feed.Name = name
		place.Feeds = append(place.Feeds, feed)
		if feed.Time.After(place.Time) {
			place.Time, place.Newest = feed.Time, feed.Newest
		}
		place.CaughtUp = place.CaughtUp && feed.CaughtUp
		place.Walking = place.Walking || feed.Walking
		place.Lost = place.Lost || feed.Lost
	}
	return place, nil
}

func describe(data []byte) (Place, error) {
	var pos struct {
		common
		Cursor string          `json:"cursor"`
		Trail  json.RawMessage `json:"walk"`
	}
	if data == nil {
		return Place{}, nil
	}
	if err := decode(data, "", &pos); err != nil {
		return Place{}, err
	}
	place := Place{Kind: pos.Kind, Time: pos.Time, CaughtUp: pos.CaughtUp, Walking: pos.Trail != nil, Cursor: pos.Cursor, Lost: pos.Lost}
	if place.Kind == "" {
		place.Kind = HeadWalk
	}
	if pos.Start != nil {
		place.Start = *pos.Start
	}
	if len(pos.IDs) > 0 {
		place.Newest = pos.IDs[0]
	}
	return place, nil
}
