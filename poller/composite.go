package poller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"tidings/event"
)

// composite is the position of a source with named feeds: that of each under its name. The place of a feed that is no longer configured
// stays, until its name comes back.
//
//	{"v":2,"feeds":{"documents":{"v":1,"kind":"time_window",...},"connections":{...}}}
type composite struct {
	Version int                        `json:"v"`
	Feeds   map[string]json.RawMessage `json:"feeds"`
}

const compositeVersion = 2

func decodeComposite(data []byte) (composite, error) {
	all := composite{Version: compositeVersion, Feeds: map[string]json.RawMessage{}}
	if data == nil {
		return all, nil
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return all, fmt.Errorf("the stored position can't be read; restore a backup of the store, or give the source another name, under which it starts anew: %w", err)
	}
	if all.Version == positionVersion {
		return all, errors.New("the stored position is that of a source with one list, and the source now has named feeds: configure it as it was, or give the source another name, under which it starts anew")
	}
	if all.Version != compositeVersion {
		return all, fmt.Errorf("the stored position has format %d, this program knows format %d for a source with feeds: use the newer program, or reset the position",
			all.Version, compositeVersion)
	}
	if all.Feeds == nil {
		all.Feeds = map[string]json.RawMessage{}
	}
	return all, nil
}

// feedStore shows a feed its own part of the source's position. The feeds of a source take turns, so nobody else writes in between;
// where a person does, the store refuses the commit for its generation.
type feedStore struct {
	Store
	name string
}

func (s *feedStore) Position(source string) (event.Position, error) {
	pos, err := s.Store.Position(source)
	if err != nil {
		return pos, err
	}
	all, err := decodeComposite(pos.Data)
	if err != nil {
		return pos, err
	}
	pos.Data = all.Feeds[s.name]
	return pos, nil
}

func (s *feedStore) Commit(ctx context.Context, c event.Commit) (event.Committed, error) {
	if c.Position == nil {
		return s.Store.Commit(ctx, c)
	}
	pos, err := s.Store.Position(c.Source)
	if err != nil {
		return event.Committed{}, err
	}
	all, err := decodeComposite(pos.Data)
	if err != nil {
		return event.Committed{}, err
	}
	all.Feeds[s.name] = c.Position
	c.Position = encode(all)
	return s.Store.Commit(ctx, c)
}
