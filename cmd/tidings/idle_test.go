package main

import (
	"os"
	"testing"
	"time"
)

// settled waits for four polls at which nothing is written: the last settlements and the copy of the positions follow in their own time.
func (s *site) settled(d *daemon) {
	s.t.Helper()
	s.eventually("four polls at which nothing is written", func() bool {
		written, before := d.written(), s.api.Stats().Pages
		s.eventually("four polls", func() bool { return s.api.Stats().Pages >= before+4 })
		return d.written() == written
	})
}

// A daemon that polls every second and finds nothing new writes nothing to disk.
func TestIdleWritesNothing(t *testing.T) {
	s := newSite(t)
	s.api.Backfill(100, time.Hour)
	s.configure("every: 1s\njitter: 0\nstart: earliest", "archive:\n  file: {path: DIR/events.jsonl}")
	d := s.start()
	s.eventually("all events in the file", func() bool { return len(s.missing(s.lines("events.jsonl"), "")) == 0 })
	polls := func() int { return s.api.Stats().Pages }
	s.settled(d)
	store, err := os.Stat(s.path("tidings-data/store.db"))
	if err != nil {
		t.Fatal(err)
	}
	written, before := d.written(), polls()
	s.eventually("four idle polls", func() bool { return polls() >= before+4 })
	if now := d.written(); now != written {
		t.Errorf("%d bytes were written while nothing happened", now-written)
	}
	after, err := os.Stat(s.path("tidings-data/store.db"))
	if err != nil {
		t.Fatal(err)
	}
	if !after.ModTime().Equal(store.ModTime()) {
		t.Error("the store was written to while nothing happened")
	}
	d.stop()
}
