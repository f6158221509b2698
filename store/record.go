package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// Every value begins with one byte that says what it is, one that says in which version, and a CRC32C over these, the key and
// all that follows: bbolt checks only its own two header pages.
const (
	kindEvent  byte = 'E'
	kindSource byte = 'S'
	kindSink   byte = 'K'
	kindFailed byte = 'X'
	kindDead   byte = 'D'
	kindIDs    byte = 'I'
	kindRun    byte = 'R'
	kindAside  byte = 'A'
	kindClock  byte = 'C'
	kindTries  byte = 'T'
	kindFails  byte = 'F'
	kindAgain  byte = 'J'
	kindSum    byte = 'M'
)

const (
	recordVersion = byte(1)
	recordHead    = 6 // kind, version, checksum
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errMagic    = errors.New("it is not the kind of record that belongs there")
	errVersion  = errors.New("it was written by a newer version")
	errChecksum = errors.New("its checksum is wrong")
	errShort    = errors.New("it is cut off")
)

func checksum(key []byte, parts ...[]byte) uint32 {
	sum := crc32.Update(0, castagnoli, key)
	for _, p := range parts {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

// encoder builds a record.
type encoder struct{ b []byte }

func newRecord(kind byte, size int) *encoder {
	b := make([]byte, recordHead, recordHead+size)
	b[0], b[1] = kind, recordVersion
	return &encoder{b}
}

func (e *encoder) uint(n uint64)            { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)              { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) bytes(p []byte)           { e.uint(uint64(len(p))); e.b = append(e.b, p...) }
func (e *encoder) text(s string)            { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) duration(d time.Duration) { e.int(int64(d)) }

func (e *encoder) bool(v bool) {
	if v {
		e.uint(1)
	} else {
		e.uint(0)
	}
}

// time keeps the zero time and any year.
func (e *encoder) time(t time.Time) { e.int(t.Unix()); e.uint(uint64(t.Nanosecond())) }

// seqs writes numbers in ascending order, each as how far it is from the one before.
func (e *encoder) seqs(ascending []uint64) {
	e.uint(uint64(len(ascending)))
	last := uint64(0)
	for _, seq := range ascending {
		e.uint(seq - last)
		last = seq
	}
}

// seal completes the record for its key.
func (e *encoder) seal(key []byte) []byte {
	binary.BigEndian.PutUint32(e.b[2:], checksum(key, e.b[:2], e.b[recordHead:]))
	return e.b
}

// decoder reads a record's fields in the order in which they were written. After the first one that isn't there everything
// reads as zero, and err says so.
type decoder struct {
	b   []byte
	err error
}

// open checks value as a record of that kind under key.
func open(kind byte, key, value []byte) (*decoder, error) {
	switch {
	case len(value) < recordHead:
		return nil, errShort
	case value[0] != kind:
		return nil, errMagic
	case checksum(key, value[:2], value[recordHead:]) != binary.BigEndian.Uint32(value[2:]) && !mutant("blind-checksum"):
		return nil, errChecksum
	case value[1] != recordVersion:
		return nil, errVersion
	}
	return &decoder{b: value[recordHead:]}, nil
}

func (d *decoder) cut() {
	d.b, d.err = nil, errShort
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.cut()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.cut()
		return 0
	}
	d.b = d.b[size:]
	return n
}

// count reads the length of a list whose items take at least one byte each, so that a wrong one allocates nothing.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.cut()
		return 0
	}
	return int(n)
}

// raw reads bytes that are valid only as long as the record is.
func (d *decoder) raw() []byte {
	n := d.count()
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

// bytes reads a copy; nothing reads as nil.
func (d *decoder) bytes() []byte { return append([]byte(nil), d.raw()...) }

func (d *decoder) seqs() []uint64 {
	ascending := make([]uint64, d.count())
	last := uint64(0)
	for i := range ascending {
		last += d.uint()
		ascending[i] = last
	}
	return ascending
}

func (d *decoder) text() string            { return string(d.raw()) }
func (d *decoder) bool() bool              { return d.uint() != 0 }
func (d *decoder) duration() time.Duration { return time.Duration(d.int()) }
func (d *decoder) time() time.Time {
	sec := d.int()
	nsec := d.uint()
	if d.err != nil {
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec%1e9)).UTC()
}
