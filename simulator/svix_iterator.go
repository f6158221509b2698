package simulator

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"time"
)

// iterator is a place in a polling endpoint; as text it is opaque, and like Svix's own it is JSON in base64.
type iterator struct {
	Epoch  int       `json:"epoch"`
	Offset uint64    `json:"offset"` // seq of the last message before the place
	After  time.Time `json:"after,omitzero"`
}

func (i iterator) String() string {
	text, err := json.Marshal(i)
	if err != nil {
		panic(err) // two numbers and a time that was parsed
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseIterator(text string) (i iterator, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	return i, err == nil && json.Unmarshal(raw, &i) == nil
}

const maxSeekBody = 4 << 10

// seek serves POST .../consumer/{id}/seek: it sets the consumer's position before the first message that is younger.
func (s *Svix) seek(w http.ResponseWriter, r *http.Request, consumer string) {
	var ask struct {
		After time.Time `json:"after"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSeekBody))
	if err != nil || json.Unmarshal(body, &ask) != nil || ask.After.IsZero() {
		s.invalid(w, "body", "after", "the value is not a valid date-time")
		return
	}
	s.mu.Lock()
	offset := s.offsetOf(ask.After)
	s.consumers[consumer] = offset
	next := iterator{Epoch: s.epoch, Offset: offset}.String()
	s.mu.Unlock()
	s.send(w, styles[0].append(nil, object{{"iterator", next}}, 0))
}

// svixTypes are the types of an imaginary sender: a polling endpoint passes on what somebody else sends.
var svixTypes = []string{"document.created", "document.updated", "connection.created", "connection.updated", "invoice.paid", "user.signup"}

// happen makes the next message. It is listed last, whatever its time.
func (s *Svix) happen(t time.Time, typ string) []*entry {
	m := s.newMaker(t.Truncate(time.Millisecond))
	if typ == "" {
		typ = m.pickText(svixTypes)
		if s.odd(&s.faults.Unknown, "unknown", m.r, usualUnknown) {
			typ = "sender." + m.word(letters[36:], 6)
		}
	}
	id := "msg_" + m.word(letters, 27)
	payload := m.style().append(nil, object{
		{"id", m.pooled("doc")}, {"eventType", typ}, {"amount", m.number()}, {"owner", m.pickText(names)}, {"note", m.pickText(remarks)},
		{"lines", []any{m.number(), m.pickText(remarks), nil, object{}}},
	}, 0)
	var eventID any
	if m.r.IntN(3) == 0 {
		eventID = "evt_" + m.word(base16, 12)
	}
	channels := []string{}
	var listed any
	if m.r.IntN(2) == 0 {
		channels = append(channels, m.pickText([]string{"project_1", "project_2"}))
		listed = []any{channels[0]}
	}
	item := m.style().append(nil, object{
		{"id", id}, {"eventId", eventID}, {"eventType", typ}, {"payload", literal(payload)},
		{"timestamp", m.at.Format("2006-01-02T15:04:05.000Z")}, {"channels", listed}, {"tags", nil}, {"headers", nil}, {"deliverAt", nil},
	}, 0)
	return []*entry{{
		Event: Event{ID: id, Type: typ, Time: m.at, Raw: slices.Clip(item)}, seq: s.seq, body: slices.Clip(payload), objects: channels,
	}}
}
