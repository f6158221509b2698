// Package sinks holds the destinations that dispatch delivers to: an HTTP endpoint, a file or a directory of files, a
// program. Each is a dispatch.Sink: it delivers what it is given, says how it went in a sentence without secrets, and keeps
// no state of deliveries. In every format the bytes of an event's values are what the API listed.
package sinks

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"tidings/event"
)

// Format says what a sink is given of an event.
type Format string

const (
	Raw      Format = "raw"      // the body as listed, byte for byte
	Envelope Format = "envelope" // an object with id, source, type, time, received_at, and the body in data, byte for byte
)

func (f Format) check() error {
	if f != Raw && f != Envelope {
		return fmt.Errorf("format %q is not known: use raw or envelope", f)
	}
	return nil
}

// body returns what the sink is given; it must not be changed.
func (f Format) body(e event.Event) []byte {
	if f == Raw {
		return e.Data
	}
	b := make([]byte, 0, len(e.Data)+len(e.ID)+256)
	b = appendString(append(b, `{"id":`...), e.ID)
	b = appendString(append(b, `,"source":`...), e.Source)
	b = appendString(append(b, `,"type":`...), e.Type)
	b = appendTime(append(b, `,"time":`...), e.Time)
	b = appendTime(append(b, `,"received_at":`...), e.Received)
	b = append(b, `,"data":`...)
	if json.Valid(e.Data) {
		b = append(b, e.Data...)
	} else {
		b = appendString(b, string(e.Data))
	}
	return append(b, '}')
}

// line returns what a file of JSON lines is given: the body without white space between tokens, and a newline. A body that
// is not JSON becomes a JSON string, so that a line is always one value.
func (f Format) line(e event.Event) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, f.body(e)); err != nil {
		b.Reset()
		b.Write(appendString(nil, string(e.Data)))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func appendString(b []byte, s string) []byte {
	out := bytes.NewBuffer(b)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can't fail
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	return append(append(append(b, '"'), stamp(t)...), '"')
}

// stamp is a time as sinks see it: RFC 3339 in UTC; empty when the time is not known.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// webhookID is the event's id where Standard Webhooks or a file's name allows few characters: the vendor's if it is
// [A-Za-z0-9_-]{1,128}, else one made from source and id. It is the same for every attempt, replay and sink.
func webhookID(e event.Event) string {
	plain := len(e.ID) >= 1 && len(e.ID) <= 128
	for _, c := range []byte(e.ID) {
		plain = plain && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}
	if plain {
		return e.ID
	}
	sum := identity(e)
	return "evt_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
}

// identity is a hash of what identifies an event.
func identity(e event.Event) [sha256.Size]byte {
	return sha256.Sum256([]byte(e.Source + "\x00" + e.ID))
}

// headerText is a text as a header can carry it: what is not printable ASCII, spaces, quotes and % are percent-encoded
// (RFC 3986 section 2.1), so that decoding gives the text again.
func headerText(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '%' || c == '"' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
