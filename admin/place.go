package admin

import (
	"net/http"
	"time"
)

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
			place.Newest = s.Position(src.Position).Position
		}
		places[src.Name] = place
	}
	return places, nil
}

// Position is where a source stands, as its poller reads it.
type Position struct {
	Identity   string `json:"identity"` // account and API in one text; empty where the store does not know the source
	Generation uint64 `json:"generation"`
	Data       []byte `json:"data"` // null: the source was never polled
}

func (s *Server) position(r *http.Request) (any, error) {
	name := r.URL.Query().Get("source")
	if name == "" {
		return nil, errorf(Invalid, "name the source whose position is asked for")
	}
	sources, err := s.Store.Sources()
	if err != nil {
		return nil, err
	}
	at, err := s.Store.Position(name)
	if err != nil {
		return nil, err
	}
	pos := Position{Generation: at.Generation, Data: at.Data}
	for _, src := range sources {
		if src.Name == name {
			pos.Identity = src.Identity
		}
	}
	return pos, nil
}

// knownRequest asks which ids of a source are remembered.
type knownRequest struct {
	Source string   `json:"source"`
	IDs    [][]byte `json:"ids"` // an id may be no text
}

func (s *Server) known(w http.ResponseWriter, r *http.Request) (any, error) {
	var req knownRequest
	if err := read(w, r, &req, "a source and ids"); err != nil {
		return nil, err
	}
	if req.Source == "" {
		return nil, errorf(Invalid, "name the source whose ids are asked for")
	}
	ids := make([]string, len(req.IDs))
	for i, id := range req.IDs {
		ids[i] = string(id)
	}
	return s.Store.Known(req.Source, ids)
}
