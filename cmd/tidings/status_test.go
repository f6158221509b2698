package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"tidings/admin"
	"tidings/event"
)

func TestPrintStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) *time.Time { return new(now.Add(d)) }
	var out bytes.Buffer
	err := printStatus(&out, admin.Status{
		Message: "sink app is down (no\x1b[2J)",
		Sources: map[string]admin.SourceStatus{
			"stripe":   {State: "starting"},
			"flatpeak": {State: "ok", LastSuccess: at(-90 * time.Second), NextPoll: at(30 * time.Second), Position: at(-3 * time.Hour), Lag: new(90.4), Listed: 100, New: 7, Gaps: 1},
		},
		Sinks: map[string]admin.SinkStatus{
			"zap": {State: "up", Owed: 3, HeldUntil: at(10 * time.Minute)},
			"app": {State: "down", Owed: 12, Oldest: at(-50 * time.Hour), Retrying: 3, Dead: 1, Error: strings.Repeat("x", 99) + "yz"},
		},
		Store: event.StoreStats{Path: "/d/store.db", Size: 3 << 20, Used: 1536, Events: 1, IDs: 20},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := `Sink app is down (no\x1b[2J).

SOURCE     STATE      LAST SUCCESS   NEXT POLL   POSITION   LAG     LISTED   NEW   GAPS   ERROR
flatpeak   ok         1m ago         in 30s      3h ago     1m30s   100      7     1
stripe     starting   -              -           -          -       0        0     0

SINK   STATE                 OWED   OLDEST   RETRYING   DEAD   ERROR
app    down                  12     2d ago   3          1      ` + strings.Repeat("x", 99) + `…
zap    up, next try in 10m   3      -        0          0

store /d/store.db: 3.0 MiB, 1.5 KiB of it in use; 1 event kept, 20 ids remembered
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestTableInColour(t *testing.T) {
	table := &table{colour: true}
	table.add("", "NAME", "STATE", "N")
	table.add(red, "a", "down", "1")
	table.add("", "b", "starting", "2")
	var out bytes.Buffer
	if err := table.print(&out); err != nil {
		t.Fatal(err)
	}
	want := "NAME   \x1b[39mSTATE\x1b[0m      N\na      \x1b[31mdown\x1b[0m       1\nb      \x1b[39mstarting\x1b[0m   2\n"
	if out.String() != want {
		t.Errorf("got\n%q\nwant\n%q", out.String(), want)
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain Ünï 漢":      "plain Ünï 漢",
		"a\x1b[2Jb\x07":    `a\x1b[2Jb\a`,
		"two\nlines\t":     `two\nlines\t`,
		"\xff\xef'\uFFFD":  `\xff\xef'` + "\uFFFD",
		"right\u202eleft":  `right\u202eleft`,
		"it's \"as\" is\\": "it's \"as\" is\\",
	} {
		if got := printable(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestStatusOfTheStopped(t *testing.T) {
	m := newMorgue(t)
	out, _ := m.tidings(0, "status")
	if !strings.HasPrefix(out, "The daemon is not running; sink app has 3 dead letters; sink archive has 1 dead letter.\n") || !strings.Contains(out, "stopped") {
		t.Errorf("got\n%s", out)
	}
	out, _ = m.tidings(2, "status", "--check")
	m.expect(out, "CRITICAL: the daemon is not running; sink app has 3 dead letters; sink archive has 1 dead letter\n")
	out, errs := m.tidings(2, "status", "--check", "--socket", m.dir+"/nobody.sock")
	if !strings.HasPrefix(out, "CRITICAL: ") || errs != "" {
		t.Errorf("got %q, %q", out, errs)
	}
	m.tidings(69, "status", "--socket", m.dir+"/nobody.sock")
}

func TestStatusOfTheRunning(t *testing.T) {
	m := newMorgue(t)
	m.serve()
	out, _ := m.tidings(0, "status")
	if !strings.Contains(out, "\nflatpeak   ok      0s ago ") || !strings.Contains(out, " in 1m       -          0s    9        4     0\n") {
		t.Errorf("got\n%s", out)
	}
	out, _ = m.tidings(1, "status", "--check")
	m.expect(out, "WARNING: sink app has 3 dead letters; sink archive has 1 dead letter\n")
	m.tidings(0, "dead", "drop", "--all", "--yes")
	out, _ = m.tidings(0, "status", "--check", "--socket", m.dir+"/control.sock")
	m.expect(out, "OK: all is well\n")
}
