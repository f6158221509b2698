package poller

import "time"

// trail is a walk that outgrew memory: where each of its pages is, newest first, so that they can be fetched again from the
// oldest on. The list's first page is not among them; the poll after this walk takes it in.
type trail struct {
	Head   time.Time `json:"head"`             // the server's clock at the walk's first answer
	Next   string    `json:"next,omitempty"`   // asks for the page after the last one walked
	End    bool      `json:"end,omitempty"`    // what is settled was reached; there is no next
	Met    bool      `json:"met,omitempty"`    // something from before the position was listed
	Behind bool      `json:"behind,omitempty"` // something of the boundary was listed
	Edge   time.Time `json:"edge,omitzero"`    // time of the last dated item listed
	Gone   bool      `json:"gone,omitempty"`   // something that was listed and not taken in is listed no more
	GoneTo time.Time `json:"gone_to,omitzero"` // when something was listed that is newer; zero: not known yet
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
func (t *trail) pop() {
	n := len(t.Marks) - 1
	if n > 0 {
		t.Marks[n-1].Last = t.last(n - 1)
	}
	t.Marks = t.Marks[:n]
}
