package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// An endpoint that answers 410 pauses its sink, over restarts and losing nothing, until a person resumes it: beside the
// daemon, or on the store of a stopped one.
func TestGoneEndpointWaitsForAPerson(t *testing.T) {
	s := newSite(t)
	s.api.Backfill(30, time.Hour)
	var gone atomic.Bool
	gone.Store(true)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			http.Error(w, "moved away", http.StatusGone)
			return
		}
		s.receiver.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	s.configure("every: 100ms\nstart: earliest", "app:\n  http: {url: \""+front.URL+"\"}")
	status := func() string {
		_, out, _ := s.tidings("status")
		return out
	}

	d := s.start()
	s.eventually("the pause", func() bool { return strings.Contains(status(), "resume it with: tidings resume sink app") })
	d.stop()
	d = s.start()
	gone.Store(false)
	s.api.Add(1)
	s.eventually("the new event to be owed", func() bool { return strings.Contains(status(), "paused   31 ") })
	if code, out, _ := s.tidings("resume", "sink", "app"); code != 0 || out != "Sink app is resumed; it is owed 31 events.\n" {
		t.Errorf("resume exited with %d: %s", code, out)
	}
	s.eventually("all events at the endpoint", func() bool { return len(s.missing(s.received(), "")) == 0 })
	d.stop()

	if code, out, _ := s.tidings("pause", "sink", "app"); code != 0 || out != "Sink app is paused; it is owed 0 events.\n" {
		t.Errorf("pause exited with %d: %s", code, out)
	}
	s.api.Add(3)
	if code, _, stderr := s.tidings("once"); code != exitTempFail {
		t.Errorf("a pass over a paused sink exited with %d: %s", code, stderr)
	}
	if code, _, stderr := s.tidings("resume", "sink", "app"); code != 0 {
		t.Errorf("resume exited with %d: %s", code, stderr)
	}
	if code, _, stderr := s.tidings("once"); code != 0 {
		t.Errorf("the next pass exited with %d: %s", code, stderr)
	}
	s.complete("the endpoint", s.received(), "")

	for _, args := range [][]string{{"resume"}, {"pause", "app"}, {"pause", "source", "flatpeak"}} {
		if code, _, stderr := s.tidings(args...); code != exitUsage || !strings.Contains(stderr, "the word sink and a sink's name") {
			t.Errorf("%v exited with %d: %s", args, code, stderr)
		}
	}
	if code, _, stderr := s.tidings("resume", "sink", "nobody"); code != exitFailed || !strings.Contains(stderr, `no sink is called "nobody"`) {
		t.Errorf("resuming nobody exited with %d: %s", code, stderr)
	}
}

// What is sent again to a sink that takes nothing waits, and the command says for what.
func TestDeadRetrySaysWhatItWaitsFor(t *testing.T) {
	withAndWithoutDaemon(t, func(t *testing.T, m *morgue) {
		m.tidings(0, "pause", "sink", "app")
		out, _ := m.tidings(0, "dead", "retry", "evt_1", "--dry-run")
		m.expect(out, "Would send 2 dead letters again (app 1, archive 1).\n")
		out, _ = m.tidings(0, "dead", "retry", "evt_1")
		m.expect(out, "Sent 2 dead letters again (app 1, archive 1).\nSink app is paused: nothing goes out until you say tidings resume sink app.\n")
	})
}
