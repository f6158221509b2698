package store

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tidings/event"
)

const (
	maxReason = 512      // bytes kept of why an attempt failed
	maxAnswer = 16 << 10 // bytes kept of what the sink said, the end of it
	maxGaps   = 10       // of a source; older ones are only counted
)

// An event's record has a head with a checksum of its own, so that a scan for what one sink wants reads no bodies. The head
// holds when the event was taken in and the indices of the sinks that want it; the rest is the event.
const eventHead = recordHead + 6 // checksum and length of the head

type head struct {
	received time.Time
	wants    []uint16
	rest     int // where the event begins
}

func (h head) wantedBy(index uint16) bool {
	return slices.Contains(h.wants, index)
}

func eventRecord(key []byte, ev event.Event, wants []uint16) []byte {
	e := newRecord(kindEvent, 6+16+3*len(wants)+len(ev.Source)+len(ev.ID)+len(ev.Type)+len(ev.Data)+32)
	e.b = append(e.b, 0, 0, 0, 0, 0, 0)
	e.time(ev.Received)
	e.uint(uint64(len(wants)))
	for _, w := range wants {
		e.uint(uint64(w))
	}
	binary.BigEndian.PutUint16(e.b[recordHead+4:], uint16(len(e.b)-eventHead))
	binary.BigEndian.PutUint32(e.b[recordHead:], checksum(key, e.b[:2], e.b[recordHead+4:]))
	e.event(ev)
	return e.seal(key)
}

// readHead reads and checks the head alone.
func readHead(key, value []byte) (head, error) {
	if len(value) < eventHead {
		return head{}, errShort
	}
	end := eventHead + int(binary.BigEndian.Uint16(value[recordHead+4:]))
	switch {
	case value[0] != kindEvent:
		return head{}, errMagic
	case end > len(value):
		return head{}, errShort
	case checksum(key, value[:2], value[recordHead+4:end]) != binary.BigEndian.Uint32(value[recordHead:]):
		return head{}, errChecksum
	case value[1] != recordVersion:
		return head{}, errVersion
	}
	d := &decoder{b: value[eventHead:end]}
	h := head{received: d.time(), rest: end}
	h.wants = make([]uint16, d.count())
	for i := range h.wants {
		h.wants[i] = uint16(d.uint())
	}
	return h, d.err
}

// readEvent reads and checks the whole record and copies the event out of it.
func readEvent(key, value []byte) (event.Event, error) {
	h, err := readHead(key, value)
	if err != nil {
		return event.Event{}, err
	}
	if _, err := open(kindEvent, key, value); err != nil {
		return event.Event{}, err
	}
	d := &decoder{b: value[h.rest:]}
	ev := d.event()
	ev.Received = h.received
	return ev, d.err
}

// readFacts reads what says which event it is, without its body and without checking it as a whole.
func readFacts(key, value []byte) (head, event.Event, error) {
	h, err := readHead(key, value)
	if err != nil {
		return head{}, event.Event{}, err
	}
	d := &decoder{b: value[h.rest:]}
	ev := event.Event{Source: d.text(), ID: d.text(), Type: d.text(), Time: d.time(), Received: h.received}
	return h, ev, d.err
}

// event writes all but Received and Broken.
func (e *encoder) event(ev event.Event) {
	e.text(ev.Source)
	e.text(ev.ID)
	e.text(ev.Type)
	e.time(ev.Time)
	e.bytes(ev.Data)
}

func (d *decoder) event() event.Event {
	return event.Event{Source: d.text(), ID: d.text(), Type: d.text(), Time: d.time(), Data: d.bytes()}
}

func (e *encoder) attempt(a event.Attempt) {
	e.time(a.At)
	e.duration(a.Took)
	e.text(start(a.Reason, maxReason))
	e.text(end(a.Answer, maxAnswer))
}

func (d *decoder) attempt() event.Attempt {
	return event.Attempt{At: d.time(), Took: d.duration(), Reason: d.text(), Answer: d.text()}
}

// start and end cut a text at n bytes, keep its beginning or its end, and split no character.
func start(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func end(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[len(s)-n:], "")
}

// source is what is kept of a source. Values are replaced, never changed in place.
type source struct {
	identity   string
	configured bool
	generation uint64
	position   []byte
	moved      time.Time
	aside      int
	gapCount   int
	gaps       []event.Gap
}

func (s source) record(name string) []byte {
	e := newRecord(kindSource, 128+len(s.position)+len(s.identity))
	e.text(s.identity)
	e.bool(s.configured)
	e.uint(s.generation)
	e.bool(s.position != nil)
	e.bytes(s.position)
	e.time(s.moved)
	e.uint(uint64(s.aside))
	e.uint(uint64(s.gapCount))
	e.uint(uint64(len(s.gaps)))
	for _, g := range s.gaps {
		e.time(g.From)
		e.time(g.To)
		e.time(g.Found)
		e.bool(g.Certain)
		e.text(start(g.Why, maxReason))
	}
	return e.seal([]byte(name))
}

func readSource(key, value []byte) (source, error) {
	d, err := open(kindSource, key, value)
	if err != nil {
		return source{}, err
	}
	s := source{identity: d.text(), configured: d.bool(), generation: d.uint()}
	polled := d.bool()
	if s.position = d.bytes(); polled && s.position == nil {
		s.position = []byte{}
	}
	s.moved, s.aside, s.gapCount = d.time(), int(d.uint()), int(d.uint())
	for range d.count() {
		s.gaps = append(s.gaps, event.Gap{Source: string(key),
			From: d.time(), To: d.time(), Found: d.time(), Certain: d.bool(), Why: d.text()})
	}
	return s, d.err
}

// record is that of a delivery that failed and is owed: an exception to "all that is wanted from the scan position on".
func (x *exception) record(key []byte, sink uint16) []byte {
	e := newRecord(kindFailed, 96+min(len(x.last.Reason), maxReason)+min(len(x.last.Answer), maxAnswer))
	e.uint(uint64(sink))
	e.bool(x.replay)
	e.uint(uint64(x.attempts))
	e.time(x.first)
	e.duration(x.idleAtFirst)
	e.time(x.due.Round(0))
	e.duration(x.wait)
	e.attempt(x.last)
	e.fails(x.earlier)
	return e.seal(key)
}

func readException(key, value []byte) (*exception, error) {
	d, err := open(kindFailed, key, value)
	if err != nil {
		return nil, err
	}
	d.uint() // the sink, for a salvage without the tree
	x := &exception{seq: binary.BigEndian.Uint64(key), replay: d.bool(), attempts: int(d.uint()),
		first: d.time(), idleAtFirst: d.duration(), due: d.time(), wait: d.duration(), last: d.attempt()}
	if len(d.b) > 0 { // layout 1 knew none
		x.earlier = d.fails()
	}
	return x, d.err
}

// deadRecord is a dead letter, whole: it needs nothing of the log.
type deadRecord struct {
	sink       uint16
	unreadable bool // there is no event: its record was damaged, and its bytes stand aside
	at         time.Time
	attempts   int
	last       event.Attempt
	event      event.Event
}

func (r deadRecord) record(key []byte) []byte {
	e := newRecord(kindDead, 128+len(r.last.Reason)+len(r.last.Answer)+len(r.event.Data))
	e.uint(uint64(r.sink))
	e.bool(r.unreadable)
	e.time(r.at)
	e.uint(uint64(r.attempts))
	e.attempt(r.last)
	e.time(r.event.Received)
	e.event(r.event)
	return e.seal(key)
}

func readDead(key, value []byte) (deadRecord, error) {
	d, err := open(kindDead, key, value)
	if err != nil {
		return deadRecord{}, err
	}
	r := deadRecord{sink: uint16(d.uint()), unreadable: d.bool(), at: d.time(), attempts: int(d.uint()), last: d.attempt()}
	received := d.time()
	r.event = d.event()
	r.event.Received = received
	return r, d.err
}
