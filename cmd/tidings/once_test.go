package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whoever ends a pass early, cron's timeout for instance, loses nothing and is told to come again.
func TestOnceInterrupted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.api.Backfill(3, time.Hour)
	s.script("on-event.sh", `echo started >>"$(dirname "$0")/started.txt"; exec sleep 60`)
	s.configure("start: earliest", `script: {exec: {command: [/bin/sh, DIR/on-event.sh]}, timeout: 3s}`)
	cmd := s.command("once")
	var said lockedBuffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.eventually("the first attempt", func() bool { return s.words("started.txt")["started"] > 0 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitTempFail || !strings.Contains(said.String(), "interrupted; the next pass goes on from here") {
		t.Errorf("exit code %d: %s", code, said.String())
	}
	s.script("on-event.sh", `exit 0`)
	if code, _, stderr := s.tidings("once"); code != 0 {
		t.Errorf("the next pass ended with %d: %s", code, stderr)
	}
}
