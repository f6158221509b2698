package store

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// historySlices bounds how much of the log one asking for a page of history looks at.
const historySlices = 64

// History lists events that are kept, newest first, with what became of each at every sink. It looks at a bounded part of the
// log: a page can be short, and says where the next one begins.
func (s *Store) History(q event.HistoryQuery) (event.HistoryPage, error) {
	if q.Limit <= 0 {
		q.Limit = 100
	}
	page := event.HistoryPage{Before: q.Before}
	for range historySlices {
		found, before, err := s.historySlice(historyQuery{q}, page.Before, q.Limit-len(page.Events))
		if err != nil {
			return event.HistoryPage{}, fmt.Errorf("listing events: %w", err)
		}
		page.Events = append(page.Events, found...)
		if page.Before = before; before == 0 || len(page.Events) == q.Limit {
			break
		}
	}
	return page, nil
}

// Event returns what is known about one event, and whether it is kept. The newest is meant where there are several.
func (s *Store) Event(source, id string) (event.History, bool, error) {
	for before := uint64(0); ; {
		found, next, err := s.historySlice(historyQuery{event.HistoryQuery{Source: source, ID: id}}, before, 1)
		if err != nil {
			return event.History{}, false, fmt.Errorf("looking for event %s: %w", id, err)
		}
		if len(found) > 0 {
			return found[0], true, nil
		}
		if before = next; before == 0 {
			return event.History{}, false, nil
		}
	}
}

// historySlice looks at one slice of the log before a seq and returns where the next one begins; 0: nowhere.
func (s *Store) historySlice(q historyQuery, before uint64, limit int) ([]event.History, uint64, error) {
	s.mu.Lock()
	amended := s.st.amended
	s.mu.Unlock()
	var found []event.History
	next := uint64(0)
	err := s.view(func(tx *bolt.Tx) error {
		var heads []head
		looked := 0
		c := tx.Bucket([]byte(bucketLog)).Cursor()
		for key, value := seekBefore(c, before); key != nil; key, value = c.Prev() {
			seq := binary.BigEndian.Uint64(key)
			if looked == scanLimit || len(found) == limit {
				next = seq + 1
				break
			}
			looked++
			h, ev, matches := q.look(key, value, amended)
			if matches {
				found, heads = append(found, event.History{Seq: seq, Event: ev}), append(heads, h)
			}
		}
		for _, k := range s.asOf(found) {
			for i := range found {
				found[i].Sinks = append(found[i].Sinks, k.of(tx, found[i].Seq, heads[i]))
			}
		}
		return nil
	})
	return found, next, err
}

// seekBefore moves to the last key before a seq; 0: to the last of all.
func seekBefore(c *bolt.Cursor, seq uint64) (key, value []byte) {
	if seq > 0 {
		if key, _ = c.Seek(seqKey(seq)); key != nil {
			return c.Prev()
		}
	}
	return c.Last()
}

// look reads the event if the query selects it. One that can't be read is selected by a query that asks for no more than times.
func (q historyQuery) look(key, value []byte, a amended) (h head, ev event.Event, matches bool) {
	h, ev, err := readFacts(key, value)
	at := a.event(binary.BigEndian.Uint64(key), h.received)
	asks := q.Source != "" || q.ID != "" || len(q.Types) > 0
	switch {
	case err == nil && (q.Source != "" && q.Source != ev.Source || q.ID != "" && q.ID != ev.ID || len(q.Types) > 0 && !q.Types.Match(ev.Type)),
		err != nil && asks,
		err == nil && !q.Since.IsZero() && at.Before(q.Since),
		err == nil && !q.Until.IsZero() && !at.Before(q.Until):
		return h, ev, false
	}
	if err == nil {
		var whole event.Event
		if whole, err = readEvent(key, value); err == nil {
			return h, whole, true
		}
	}
	ev.ID = cmp.Or(ev.ID, fmt.Sprintf("unreadable-%d", binary.BigEndian.Uint64(key)))
	ev.Received, ev.Broken = at, err.Error()
	return h, ev, true
}

type historyQuery struct{ event.HistoryQuery }

// sinkView is what memory says of a sink about the events of one answer.
type sinkView struct {
	name  string
	index uint16
	owed  map[uint64]bool      // never attempted
	again map[uint64]bool      // to be replayed
	next  map[uint64]time.Time // when the next try is due
}

// asOf takes down what memory says of events now.
func (s *Store) asOf(found []event.History) []sinkView {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []sinkView
	for _, name := range slices.Sorted(maps.Keys(s.st.sinks)) {
		k := s.st.sinks[name]
		v := sinkView{name: name, index: k.index, owed: map[uint64]bool{}, again: map[uint64]bool{}, next: map[uint64]time.Time{}}
		for _, h := range found {
			if _, open := k.out[h.Seq]; open || h.Seq >= k.scan && k.fresh > 0 {
				v.owed[h.Seq] = true
			}
			for _, r := range k.replays {
				_, open := r.out[h.Seq]
				v.again[h.Seq] = v.again[h.Seq] || open || !r.cancelled && h.Seq >= r.scan && h.Seq < r.what.To && r.selects(h.Event)
			}
			if x := k.failing[h.Seq]; x != nil {
				v.next[h.Seq] = x.due.Round(0)
			}
		}
		all = append(all, v)
	}
	return all
}

// of says what became of an event at the sink. What was settled since the reading transaction began is told as it was before.
func (v sinkView) of(tx *bolt.Tx, seq uint64, h head) event.SinkHistory {
	told := event.SinkHistory{Sink: v.name, State: event.StateUnwanted}
	key := failsKey(seq, v.index)
	f, _ := readFails(key, tx.Bucket([]byte(bucketFails)).Get(key))
	block := tryKey(seq, v.index)
	t, _ := readTries(block, tx.Bucket([]byte(bucketTries)).Get(block))
	tried := append(slices.Clone(f), t.of(seq)...)
	wanted := h.wantedBy(v.index)
	x, xErr := readException(seqKey(seq), tx.Bucket([]byte(prefixX+v.name)).Get(seqKey(seq)))
	letter := tx.Bucket([]byte(prefixDead + v.name)).Get(seqKey(seq))
	switch {
	case xErr == nil:
		told.State, told.Replay, told.Next = event.StateOwed, x.replay, v.next[seq]
		told.Attempts = x.attempts
		tried = append(tried, x.earlier...)
		if x.attempts > 0 && !x.last.At.IsZero() {
			tried = append(tried, event.Tried{Number: x.attempts, Replay: x.replay, Attempt: x.last})
		}
	case letter != nil:
		told.State = event.StateDead
		if r, err := readDead(seqKey(seq), letter); err == nil {
			told.Attempts = r.attempts
			tried = slices.DeleteFunc(tried, func(d event.Tried) bool { return d.Number == r.attempts && d.At.Equal(r.last.At) })
			if r.attempts > 0 {
				tried = append(tried, event.Tried{Number: r.attempts, Attempt: r.last})
			}
		}
	case v.again[seq]:
		told.State, told.Replay = event.StateOwed, true
	case wanted && v.owed[seq]:
		told.State = event.StateOwed
	case wanted || len(tried) > 0:
		told.State = event.StateDelivered
	}
	slices.SortStableFunc(tried, func(a, b event.Tried) int { // successes are kept to the millisecond
		return cmp.Or(cmp.Compare(a.At.UnixMilli(), b.At.UnixMilli()), cmp.Compare(a.Number, b.Number))
	})
	tried = slices.CompactFunc(tried, func(a, b event.Tried) bool { return a.Number == b.Number && a.At.Equal(b.At) })
	failures := 0
	for _, d := range tried { // a replay's own come on top of those kept from before it
		if !d.Delivered {
			failures++
		}
	}
	tried = slices.DeleteFunc(tried, func(d event.Tried) bool {
		if d.Delivered {
			return false
		}
		failures--
		return failures >= maxFails
	})
	if told.Tried = tried; told.State == event.StateDelivered && len(tried) > 0 {
		last := tried[len(tried)-1]
		if told.Attempts, told.Replay = last.Number, last.Replay; !last.Delivered {
			told.State = event.StateDropped
		}
	}
	return told
}
