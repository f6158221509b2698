package poller

import (
	"encoding/json"
	"fmt"
	"time"
)

// position is where a source stands, as the store keeps it: JSON, opaque to the store.
//
//	{"v":1,"start":"2026-01-02T03:04:05Z","caught_up":true,"time":"2026-01-02T04:00:00Z","ids":["evt_9","evt_8"]}
//
// All that is not newer than time was committed, but for what the API lists late.
type position struct {
	Version  int        `json:"v"`
	FirstTry time.Time  `json:"first_try,omitzero"`  // until start is resolved: when the source was first asked, by our clock
	Start    *time.Time `json:"start,omitempty"`     // nothing older is taken in; the zero time takes everything
	CaughtUp bool       `json:"caught_up,omitempty"` // a first walk has ended
	Time     time.Time  `json:"time,omitzero"`       // of the newest event seen, never ahead of the server's Date
	IDs      []string   `json:"ids,omitempty"`       // the boundary: ids of the newest events seen, newest first; they never expire
	From     time.Time  `json:"from,omitzero"`       // what was taken in with a time after it is in IDs, as far as it is listed
	Hidden   bool       `json:"hidden,omitempty"`    // the list was empty, and told as a gap, though IDs were seen in it
	Trail    *trail     `json:"walk,omitempty"`      // a long walk that has not ended
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

const (
	positionVersion = 1
	maxIDs          = 64
)

func decodePosition(data []byte) (position, error) {
	pos := position{Version: positionVersion}
	if data == nil {
		return pos, nil
	}
	if err := json.Unmarshal(data, &pos); err != nil {
		return pos, fmt.Errorf("the stored position can't be read, reset it: %w", err)
	}
	if pos.Version != positionVersion {
		return pos, fmt.Errorf("the stored position has format %d, this program knows format %d: use the newer program, or reset the position",
			pos.Version, positionVersion)
	}
	return pos, nil
}

func (p position) encode() []byte {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // a struct of strings, booleans and times; times come from parsed text
	}
	return data
}

// moved returns the position after items (newest first) were committed, all that is older with them. head is the server's
// clock at the time of the walk's first answer; more says that the walk took in older ones before items.
func (p position) moved(items []item, head time.Time, more bool) position {
	p.CaughtUp, p.Trail = true, nil
	p.Hidden = len(items) == 0 && p.Hidden
	newest := p.Time
	for _, it := range items {
		if it.at.After(newest) {
			newest = it.at
		}
	}
	if newest.After(head) {
		newest = head
	}
	if newest.After(p.Time) {
		p.Time = newest
	}
	ids := make([]string, 0, maxIDs)
	have := make(map[string]bool, maxIDs)
	add := func(id string) {
		if len(ids) < maxIDs && !have[id] {
			have[id] = true
			ids = append(ids, id)
		}
	}
	var oldest time.Time // that stands in ids
	for _, it := range items {
		if !it.at.IsZero() && len(ids) < maxIDs {
			oldest = it.at
		}
		add(it.ID)
	}
	full := len(ids) == maxIDs
	for _, id := range p.IDs {
		add(id)
		more = more || !have[id]
	}
	p.IDs = ids
	if full || more && oldest.After(p.From) {
		p.From = oldest
	}
	if p.From.After(p.Time) {
		p.From = p.Time
	}
	return p
}

// trail is a walk that outgrew memory: where each of its pages is, newest first, so that they can be fetched again from the
// oldest on. The list's first page is not among them; the poll after this walk takes it in.
type trail struct {
	Head   time.Time `json:"head"`             // the server's clock at the walk's first answer
	Next   string    `json:"next,omitempty"`   // asks for the page after the last one walked
	End    bool      `json:"end,omitempty"`    // what is settled was reached; there is no next
	Met    bool      `json:"met,omitempty"`    // something from before the position was listed
	Behind bool      `json:"behind,omitempty"` // something of the boundary was listed
	Edge   time.Time `json:"edge,omitzero"`    // time of the last dated item listed
	Marks  []mark    `json:"pages,omitempty"`
}

// mark is a stretch of the list with something to take in: from Cursor on until Last, the last of it, was listed.
type mark struct {
	Cursor string `json:"c"`
	Last   string `json:"l,omitempty"` // empty where it is the Cursor of the mark after it
	Behind bool   `json:"b,omitempty"` // something of the boundary was listed before it
}

// maxMarks bounds a trail. Beyond it neighbours are joined: a stretch may be of any length.
const maxMarks = 4096

func (t *trail) add(m mark) {
	if n := len(t.Marks); n > 0 && t.Marks[n-1].Last == m.Cursor {
		t.Marks[n-1].Last = ""
	}
	t.Marks = append(t.Marks, m)
	if len(t.Marks) <= maxMarks {
		return
	}
	joined := make([]mark, 0, maxMarks)
	for i := 0; i < len(t.Marks); i += 2 {
		m := t.Marks[i]
		if i+1 < len(t.Marks) {
			m.Last = t.last(i + 1)
		}
		joined = append(joined, m)
	}
	t.Marks = joined
}

func (t *trail) last(i int) string {
	if t.Marks[i].Last == "" && i+1 < len(t.Marks) {
		return t.Marks[i+1].Cursor
	}
	return t.Marks[i].Last
}

// pop takes the oldest mark away.
func (t *trail) pop() mark {
	n := len(t.Marks) - 1
	m := t.Marks[n]
	if n > 0 {
		t.Marks[n-1].Last = t.last(n - 1)
	}
	t.Marks = t.Marks[:n]
	return m
}
