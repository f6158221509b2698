package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whoever sends SIGHUP to a daemon without a terminal wants it to read its configuration again, not to end.
func TestHangUpEndsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure("start: earliest\nevery: 100ms", `archive: {file: {path: archive.jsonl}}`)
	d := s.start()
	s.eventually("the start", func() bool { return strings.Contains(d.log.String(), "msg=started") })
	for range 2 {
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	s.eventually("a word about it", func() bool { return strings.Contains(d.log.String(), "SIGHUP is ignored: restart the daemon") })
	s.api.Backfill(3, time.Hour)
	s.eventually("events after it", func() bool { return len(s.words("archive.jsonl")) > 0 })
	d.stop()
}

// A pass beside the daemon is refused with what the daemon does already; one beside another pass is to come again.
func TestOnceBesideAnother(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Backfill(1, time.Hour)
	s.script("on-event.sh", `echo started >>"$(dirname "$0")/started.txt"; exec sleep 60`)
	s.configure("start: earliest", `script: {exec: {command: [/bin/sh, DIR/on-event.sh]}, timeout: 3s}`)
	other := s.command("once")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	s.eventually("the first attempt", func() bool { return s.words("started.txt")["started"] > 0 })
	if code, _, stderr := s.tidings("once"); code != exitTempFail || !strings.Contains(stderr, "is in use by process") {
		t.Errorf("beside another pass it ends with %d: %s", code, stderr)
	}
	_ = other.Process.Kill()
	_ = other.Wait()

	d := s.start()
	s.eventually("the daemon", func() bool {
		code, _, _ := s.tidings("status")
		return code == 0 && strings.Contains(d.log.String(), "msg=started")
	})
	if code, _, stderr := s.tidings("once"); code != exitFailed || !strings.Contains(stderr, "polls and delivers by itself: there is nothing to do once beside it") {
		t.Errorf("beside the daemon it ends with %d: %s", code, stderr)
	}
	d.stop()
}
