package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
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
	f.Add(tries(nil).with(7, event.Tried{Number: 1}).with(8, event.Tried{Number: 300, Replay: true}).record(key))
	f.Add(chunkRecord(key, time.Unix(1e9, 0), make([]fingerprint, 3)))
	f.Fuzz(func(t *testing.T, value []byte) {
		readAll(key, value)
		if len(value) < recordHead {
			return
		}
		for _, kind := range []byte{kindEvent, kindSource, kindSink, kindFailed, kindDead, kindIDs, kindTries} {
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
	if t, err := readTries(key, value); err == nil {
		t.of(7)
	}
}

// A success takes a few bytes, whatever it is it comes back as it was, and so does what was written before successes were packed.
func TestTriesArePacked(t *testing.T) {
	key := tryKey(640, 3)
	back := func(value []byte, want tries) {
		t.Helper()
		if got, err := readTries(key, value); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes, not %d", err, len(got), len(want))
		}
	}
	var usual, odd tries
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for n := range triesBlock {
		at = at.Add(time.Duration(n) * time.Millisecond)
		usual = usual.with(640+uint64(n), event.Tried{Number: 1, Attempt: event.Attempt{At: at, Took: time.Duration(n) * 1234 * time.Microsecond}})
	}
	for n, d := range []event.Tried{{Number: 0}, {Number: 1, Replay: true}, {Number: 65535}, {Number: 2, Replay: true}} {
		d.At, d.Took = []time.Time{at, time.Unix(0, 0), at.AddDate(2000, 0, 0), time.Unix(1e9, 0)}[n], []time.Duration{0, 1 << 57, time.Hour, 1}[n]
		odd = odd.with(703-uint64(n/2), d)
	}
	for _, all := range []tries{nil, usual, odd, append(slices.Clone(usual), odd...)} {
		back(all.record(key), all)
		e := newRecord(kindTries, 0)
		e.b = append(e.b, all...)
		back(e.seal(key), all)
	}
	if n := len(usual.record(key)); n > 5*triesBlock {
		t.Errorf("%d successes take %d bytes", triesBlock, n)
	}
	cut := usual.record(key)
	e := &encoder{b: cut[:len(cut)-1]}
	if _, err := readTries(key, e.seal(key)); !errors.Is(err, errShort) {
		t.Errorf("one that is cut off: %v", err)
	}
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
