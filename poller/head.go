package poller

import "time"

// position is where a walk from the head of a list ends. All that is not newer than Time was committed, but for what the API lists late.
type position struct {
	common
	From   time.Time `json:"from,omitzero"`    // what was taken in with a time after it is in IDs, as far as it is listed
	Hidden bool      `json:"hidden,omitempty"` // the list was empty, and told as a gap, though IDs were seen in it
	Trail  *trail    `json:"walk,omitempty"`   // a long walk that has not ended
}

// maxIDs is how many events the boundary has.
const maxIDs = 64

func decodePosition(data []byte) (position, error) {
	pos := position{common: common{Version: positionVersion}}
	err := decode(data, HeadWalk, &pos)
	return pos, err
}

func (p position) encode() []byte { return encode(p) }

// moved returns the position after items (newest first) were committed, all that is older with them. head is the server's
// clock at the time of the walk's first answer; more says that the walk took in older ones before items.
func (p position) moved(items []item, head time.Time, more bool) position {
	p.CaughtUp, p.Lost, p.Trail = true, false, nil
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
