package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// check says what an edit of the configuration keeps, beside a daemon and on the store of a stopped one, and refuses what the
// daemon would refuse.
func TestCheckSaysWhatAnEditKeeps(t *testing.T) {
	s := newSite(t)
	s.api.Backfill(20, time.Hour)
	s.configure("every: 100ms\nstart: earliest", "app:\n  http: {url: \"http://127.0.0.1:9\"}\narchive:\n  file: {path: DIR/events.jsonl}")
	check := func(wantCode int, want ...string) {
		t.Helper()
		code, out, stderr := s.tidings("check")
		if code != wantCode {
			t.Errorf("check exited with %d, want %d: %s", code, wantCode, stderr)
		}
		for _, text := range want {
			if !strings.Contains(out+stderr, text) {
				t.Errorf("check does not say %q:\n%s%s", text, out, stderr)
			}
		}
	}
	check(0, "at the earliest event listed")
	if _, err := os.Stat(s.path("tidings-data")); err == nil {
		t.Error("check made a data directory")
	}
	d := s.start()
	s.eventually("all events in the file", func() bool { return len(s.missing(s.lines("events.jsonl"), "")) == 0 })
	check(0, "goes on at ")
	d.stop()
	check(0, "goes on at ")

	s.configure("start: earliest", "archive:\n  file: {path: DIR/events.jsonl}\nother:\n  file: {path: DIR/other.jsonl}")
	check(0, "goes on at ",
		"Sink other is new: it gets what is taken in from now on.",
		"Sink app is not configured any more: the 20 events that it is owed wait for its name to come back.")

	text, err := os.ReadFile(s.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("config.yaml"), []byte(strings.Replace(string(text), simulatedAccount, "acc_other", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	check(exitConfig, "anew, with --accept-reset only", "another account or API than the one whose position is stored")
	if code, _, stderr := s.tidings("once"); code != exitConfig {
		t.Errorf("once exited with %d: %s", code, stderr)
	}
}

// What is found out only when the parts are built has its place in the file too.
func TestCheckSaysWhereAPartIsUnsound(t *testing.T) {
	s := newSite(t)
	if err := os.WriteFile(s.path("ca.pem"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BASIC_USER", "me:and-a-password")
	text := `sources:
  one: {http: {url: "http://127.0.0.1:9", position: head_walk}, tls: {ca: ca.pem}}
  two: {http: {url: "http://127.0.0.1:9", position: head_walk, auth: {basic: {user: "${env:BASIC_USER}"}}}}
sinks:
  archive: {file: {path: events.jsonl}}
`
	if err := os.WriteFile(s.path("config.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := s.tidings("check")
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if code != exitConfig || len(lines) != 2 || !strings.Contains(lines[0], "config.yaml:2:3: sources.one: ") || !strings.Contains(lines[0], "no certificate in PEM") ||
		!strings.Contains(lines[1], "config.yaml:3:3: sources.two: auth.basic.user: the value has a colon") || strings.Contains(stderr, "and-a-password") {
		t.Errorf("check exited with %d:\n%s", code, stderr)
	}
}
