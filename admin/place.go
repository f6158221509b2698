package admin

import "time"

// Place is where a source stands, for telling what an edit of the configuration keeps.
type Place struct {
	Identity string     `json:"identity"` // account and API in one text
	Polled   bool       `json:"polled"`   // it has a position
	Newest   *time.Time `json:"newest"`   // time of the newest event that was seen
}

// places tells of every source that was ever configured: one that comes back goes on where it stood.
func (s *Server) places() (map[string]Place, error) {
	sources, err := s.Store.Sources()
	if err != nil {
		return nil, err
	}
	places := map[string]Place{}
	for _, src := range sources {
		place := Place{Identity: src.Identity, Polled: src.Position != nil}
		if s.Position != nil {
			place.Newest = instant(s.Position(src.Position))
		}
		places[src.Name] = place
	}
	return places, nil
}
