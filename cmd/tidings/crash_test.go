package main

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"tidings/poller"
)

// The daemon is killed at random moments while it walks back, polls and delivers. After that every event is at every sink,
// and a kill repeats at most what was in flight at it. The moments are drawn the same each time; TIDINGS_CRASH_SEED draws others.
func TestCrashLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute; make crash runs it")
	}
	const kills = 20
	s := newSite(t)
	s.api.Backfill(18_000, 24*time.Hour)
	bytes := 0
	for _, e := range s.api.Events() {
		bytes += len(e.Raw)
	}
	if bytes < poller.DefaultMemory*5/4 {
		t.Fatalf("%d bytes of events fit into a walk's memory: this test is about longer ones too", bytes)
	}
	s.script("on-event.sh", `cat >/dev/null; echo "$TIDINGS_EVENT_ID" >>"$(dirname "$0")/ids.txt"`)
	s.configure("every: 100ms\nstart: earliest", `
app:
  http: {url: APP}
archive:
  file: {path: DIR/events.jsonl}
script:
  exec: {command: [/bin/sh, DIR/on-event.sh]}
  events: ["tariff.*"]`)
	seed := uint64(1)
	if text := os.Getenv("TIDINGS_CRASH_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the same moments, as far as the machine keeps to them: TIDINGS_CRASH_SEED=%d make crash", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range kills {
		d := s.start()
		time.Sleep(50*time.Millisecond + time.Duration(random.Int64N(int64(1200*time.Millisecond))))
		s.api.Add(5)
		s.api.AddLate(time.Duration(random.Int64N(int64(2 * time.Minute))))
		d.kill()
	}
	d := s.start()
	s.eventually("all events at the endpoint", func() bool { return len(s.missing(s.received(), "")) == 0 })
	s.eventually("all events in the file", func() bool { return len(s.missing(s.lines("events.jsonl"), "")) == 0 })
	s.eventually("the tariff events at the program", func() bool { return len(s.missing(s.words("ids.txt"), "tariff.")) == 0 })
	d.stop()
	for _, sink := range []struct {
		name     string
		got      map[string]int
		prefix   string
		inFlight int
	}{
		{"the endpoint", s.received(), "", 8},
		{"the file", s.lines("events.jsonl"), "", fileBatch},
		{"the program", s.words("ids.txt"), "tariff.", 1},
	} {
		repeats := s.atLeastOnce(sink.name, sink.got, sink.prefix)
		t.Logf("%s: %d deliveries repeated by %d kills", sink.name, repeats, kills)
		if repeats > kills*sink.inFlight {
			t.Errorf("%s: %d repeats are more than %d kills can leave in flight", sink.name, repeats, kills)
		}
	}
}
