package main

import (
	"net"
	"strings"
	"testing"
	"time"
)

// The daemon tells systemd when it is ready, how it does, that it lives and that it stops, as sd_notify(3) says.
func TestTellsSystemd(t *testing.T) {
	s := newSite(t)
	s.api.Backfill(10, time.Hour)
	s.configure("every: 100ms\nstart: earliest", "archive:\n  file: {path: DIR/events.jsonl}")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	t.Setenv("NOTIFY_SOCKET", s.path("notify"))
	t.Setenv("WATCHDOG_USEC", "400000")
	d := s.start()

	told := map[string]int{}
	heard := func() {
		t.Helper()
		buf := make([]byte, 4096)
		if err := socket.SetReadDeadline(time.Now().Add(3 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(buf)
		if err != nil {
			t.Fatalf("nothing more is told after %v: %v", told, err)
		}
		for line := range strings.Lines(string(buf[:n])) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			told[key]++
			if key == "STATUS" && value != "stopping" && !strings.Contains(value, "sources") {
				t.Errorf("STATUS=%s does not tell of the sources", value)
			}
		}
	}
	for told["READY"] == 0 || told["STATUS"] == 0 || told["WATCHDOG"] < 3 {
		heard()
	}
	if told["READY"] != 1 {
		t.Errorf("READY was told %d times", told["READY"])
	}
	d.stop()
	for told["STOPPING"] == 0 {
		heard()
	}
}
