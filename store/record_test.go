package store

import (
	"encoding/binary"
	"testing"
	"time"

	"tidings/event"
)

// FuzzRecords: whatever stands in a record, also under a right checksum, reading it ends in a value or an error.
func FuzzRecords(f *testing.F) {
	key := seqKey(7)
	ev := event.Event{Source: "api", ID: "evt_1", Type: "t", Received: time.Unix(1e9, 1), Data: []byte("{}")}
	x := &exception{seq: 7, attempts: 3, first: time.Unix(1e9, 2), last: event.Attempt{Reason: "no"}}
	f.Add(eventRecord(key, ev, []uint16{0, 1, 300}))
	f.Add(deadRecord{event: ev}.record(key))
	f.Add(x.record(key, 1))
	f.Add(source{identity: "i", position: []byte("p"), gaps: []event.Gap{{Why: "w"}}}.record(string(key)))
	f.Add(chunkRecord(key, time.Unix(1e9, 0), make([]fingerprint, 3)))
	f.Fuzz(func(t *testing.T, value []byte) {
		readAll(key, value)
		if len(value) < recordHead {
			return
		}
		for _, kind := range []byte{kindEvent, kindSource, kindSink, kindFailed, kindDead, kindIDs} {
			e := &encoder{b: append([]byte{kind, recordVersion, 0, 0, 0, 0}, value[recordHead:]...)}
			if kind == kindEvent && len(e.b) > eventHead {
				if end := eventHead + int(binary.BigEndian.Uint16(e.b[recordHead+4:])); end <= len(e.b) {
					binary.BigEndian.PutUint32(e.b[recordHead:], checksum(key, e.b[:2], e.b[recordHead+4:end]))
				}
			}
			readAll(key, e.seal(key))
		}
	})
}

func readAll(key, value []byte) {
	_, _ = readHead(key, value)
	_, _ = readEvent(key, value)
	_, _ = readSource(key, value)
	_, _ = readSink(key, value)
	_, _ = readException(key, value)
	_, _ = readDead(key, value)
	_, _, _ = readChunk(key, value, nil)
}

func TestTimesAreKeptWhole(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0).UTC(), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(1601, 1, 1, 0, 0, 0, 1, time.UTC)} {
		e := newRecord(kindEvent, 0)
		e.time(at)
		if got := (&decoder{b: e.b[recordHead:]}).time(); !got.Equal(at) || got.IsZero() != at.IsZero() {
			t.Errorf("%v came back as %v", at, got)
		}
	}
}
