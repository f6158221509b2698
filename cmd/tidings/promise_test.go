package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tidings/simulator"
)

// A long list is walked back, slowly, while events arrive at its head and others late behind it: none is missing, none
// comes twice.
func TestWalkWhileEventsArrive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Backfill(5000, 24*time.Hour)
	s.api.SetFaults(simulator.Faults{Slow: simulator.Fault{Share: 1, For: 20 * time.Millisecond}})
	s.configure("every: 100ms\nstart: earliest\noverlap: 2m", "archive:\n  file: {path: DIR/events.jsonl}\napp:\n  http: {url: APP}\n  concurrency: 32")
	d := s.start()
	s.eventually("the walk to be under way", func() bool { return s.api.Stats().Pages > 3 })
	for range 60 {
		s.api.Add(3)
		s.api.AddLate(time.Duration(rand.Int64N(int64(100 * time.Second))))
		time.Sleep(20 * time.Millisecond)
	}
	if pages := s.api.Stats().Pages; pages > 50 {
		t.Logf("%d pages were listed by the time the arrivals ended", pages)
	}
	s.eventually("all events in the file", func() bool { return len(s.missing(s.lines("events.jsonl"), "")) == 0 })
	s.eventually("all events at the endpoint", func() bool { return len(s.missing(s.received(), "")) == 0 })
	d.stop()
	s.complete("the file", s.lines("events.jsonl"), "")
	s.complete("the endpoint", s.received(), "")
}

// `once` takes in a whole account and delivers it to three sinks, each event once, and says so by its exit code; the second
// pass finds nothing to do. What the sinks get is what the API listed, byte for byte.
func TestOnceDeliversEverythingOnce(t *testing.T) {
	s := newSite(t)
	s.api.Backfill(250, 24*time.Hour)
	s.script("on-event.sh", `cat >/dev/null; echo "$TIDINGS_EVENT_ID" >>"$(dirname "$0")/ids.txt"`)
	s.configure("start: earliest", `
app:
  http: {url: APP}
archive:
  file: {path: DIR/events.jsonl}
script:
  exec: {command: [/bin/sh, DIR/on-event.sh]}
  concurrency: 4`)
	for pass := range 2 {
		if code, stdout, stderr := s.tidings("once"); code != 0 {
			t.Fatalf("pass %d exited with %d:\n%s%s", pass, code, stdout, stderr)
		}
		s.complete("the endpoint", s.received(), "")
		s.complete("the file", s.lines("events.jsonl"), "")
		s.complete("the program", s.words("ids.txt"), "")
	}
	bodies := map[string][]byte{}
	for _, r := range s.receiver.Received() {
		bodies[r.ID] = r.Body
	}
	for _, e := range s.api.Events() {
		if !bytes.Equal(bodies[e.ID], e.Raw) {
			t.Errorf("%s arrived changed:\n%s\n%s", e.ID, bodies[e.ID], e.Raw)
		}
	}
}

// One sink answers 503 all the time and one event is refused for ever at another: what is well goes on as if they were not
// there, and the refused event ends in the dead letters.
func TestOneBadSinkAndOnePoisonEvent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Backfill(300, 24*time.Hour)
	poison := s.api.Events()[137].ID
	s.receiver.RefuseIDs(poison)
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the database is gone", http.StatusServiceUnavailable)
	}))
	t.Cleanup(down.Close)
	s.configure("every: 200ms\nstart: earliest", `
archive:
  file: {path: DIR/events.jsonl}
app:
  http: {url: APP}
  retry: {initial: 100ms, max: 500ms, give_up_after: 3s}
broken:
  http: {url: "`+down.URL+`"}
  retry: {initial: 100ms, max: 1s}`)
	d := s.start()
	s.eventually("all events in the file", func() bool { return len(s.missing(s.lines("events.jsonl"), "")) == 0 })
	s.eventually("all events but one at the endpoint", func() bool { return len(s.missing(s.received(), "")) == 1 })
	s.api.Add(20)
	s.eventually("the new events in the file", func() bool { return len(s.missing(s.lines("events.jsonl"), "")) == 0 })
	s.eventually("the new events at the endpoint", func() bool { return len(s.missing(s.received(), "")) == 1 })
	s.eventually("the dead letter", func() bool {
		_, out, _ := s.tidings("dead", "list", "app", "--json")
		var letter struct{ Sink, ID, Reason string }
		return json.Unmarshal([]byte(out), &letter) == nil && letter.Sink == "app" && letter.ID == poison && strings.Contains(letter.Reason, "503")
	})
	_, out, _ := s.tidings("status", "--json")
	var status struct {
		Sinks map[string]struct {
			State string
			Owed  int
			Dead  int
		}
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		t.Fatalf("status: %v: %s", err, out)
	}
	if b := status.Sinks["broken"]; b.State != "down" || b.Owed != 320 || b.Dead != 0 {
		t.Errorf("the broken sink is %+v; it should be down and owed all 320 events", b)
	}
	if a := status.Sinks["app"]; a.State != "up" || a.Owed != 0 || a.Dead != 1 {
		t.Errorf("the endpoint is %+v; it should be up, owed nothing and have one dead letter", a)
	}
	s.receiver.RefuseIDs()
	if code, _, stderr := s.tidings("dead", "retry", poison); code != 0 {
		t.Errorf("dead retry exited with %d: %s", code, stderr)
	}
	s.eventually("the refused event at the endpoint", func() bool { return len(s.missing(s.received(), "")) == 0 })
	d.stop()
	s.complete("the file", s.lines("events.jsonl"), "")
	s.complete("the endpoint", s.received(), "")
}
