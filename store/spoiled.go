package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"tidings/event"
)

// bucketKey names a record to a person: "log/812", "x/app/7".
func bucketKey(bucket string, key []byte) string {
	if len(key) == 8 {
		return fmt.Sprintf("%s/%d", bucket, binary.BigEndian.Uint64(key))
	}
	return fmt.Sprintf("%s/%x", bucket, key)
}

// submit hands requests to the writer, one after the other.
func (s *Store) submit(requests []*request) error {
	for _, r := range requests {
		if err := s.do(context.Background(), r.prepare); err != nil {
			return err
		}
	}
	return nil
}

// spoiled makes a dead letter of a delivery that is in flight and can't be attempted, since the record called what can't be
// read. Its bytes are set aside. Where the event itself can still be read it goes with the dead letter.
func spoiled(name string, seq uint64, what string, value []byte, why error) *request {
	value = bytes.Clone(value)
	return &request{prepare: func(b *batch) error {
		d := b.sink(name)
		if d == nil || !b.flying(d, seq) {
			return nil // settled or released meanwhile: whoever asks next finds it again
		}
		b.setAside(event.SetAside{Sink: name, What: "the record " + what, Why: why.Error()}, value)
		reason := fmt.Sprintf("the record %s can't be read: %v; its bytes are set aside", what, why)
		r := deadRecord{sink: d.index, at: b.now, last: event.Attempt{At: b.now, Reason: reason}}
		var err error
		if r.event, err = b.event(seq); err != nil {
			r.unreadable = true
			r.event = event.Event{ID: fmt.Sprintf("unreadable-%d", seq), Received: b.now}
		}
		b.bury(d, seq, r)
		return nil
	}}
}

// vanished takes what the count says and the log doesn't have off what a sink is owed, and tells it. Only damage comes to this.
func vanished(name string) *request {
	return &request{prepare: func(b *batch) error {
		d := b.sink(name)
		b.s.mu.Lock()
		n, idle := d.unseen(), d.sink.scan >= b.next && d.fresh == d.sink.fresh
		b.s.mu.Unlock()
		if n == 0 || !idle {
			return nil
		}
		d.fresh -= n
		d.changed = true
		b.setAside(event.SetAside{Sink: name, What: fmt.Sprintf("%d owed deliveries", n), Why: "the log no longer has their events"}, nil)
		return nil
	}}
}

// forgotten drops a chunk of remembered ids that can't be read.
func forgotten(key, value []byte, why error) *request {
	key, value = bytes.Clone(key), bytes.Clone(value)
	return &request{prepare: func(b *batch) error {
		b.setAside(event.SetAside{What: "the record " + bucketKey(bucketIDs, key), Why: why.Error() + "; the ids in it are no longer remembered"}, value)
		b.delete(bucketIDs, key)
		return nil
	}}
}

// forgottenClock sets aside what was known of clocks that were wrong, and can't be read.
func forgottenClock(value []byte, why error) *request {
	value = bytes.Clone(value)
	return &request{prepare: func(b *batch) error {
		b.setAside(event.SetAside{What: "the record " + bucketMeta + "/" + metaClock,
			Why: why.Error() + "; what a clock that was wrong has stamped may be kept too long or not long enough"}, value)
		b.delete(bucketMeta, []byte(metaClock))
		return nil
	}}
}
