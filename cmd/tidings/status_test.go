package main

import (
	"bytes"
	"reflect"
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
		Message: "source crm is failing (GET /deals: 500); sink app is down (no\x1b[2J)",
		Sources: map[string]admin.SourceStatus{
			"stripe": {State: "starting", Standing: admin.Standing{Walking: true}, New: 300},
			"flatpeak": {State: "ok", LastSuccess: at(-90 * time.Second), NextPoll: at(30 * time.Second), Lag: new(90.4), Listed: 100, New: 7, Gaps: 1,
				Standing: admin.Standing{Position: at(-3 * time.Hour), LastID: "evt_1"}},
			"crm": {State: "failing", NextPoll: at(-time.Second), Error: "GET /deals: 500",
				Standing: admin.Standing{Position: at(-3 * time.Minute), Feeds: map[string]admin.Standing{
					"deals": {Lost: true}, "contacts": {Position: at(-3 * time.Minute), Cursor: "eyJhIjox…fQ==", LastID: "7"},
				}}},
			"svix": {State: "stopped", Error: "an error that the message has no room for"},
		},
		Sinks: map[string]admin.SinkStatus{
			"zap": {State: "up", Owed: 3, HeldUntil: at(10 * time.Minute), Error: strings.Repeat("x", 199) + "yz"},
			"app": {State: "down", Owed: 12, Oldest: at(-50 * time.Hour), Retrying: 3, Dead: 1, Error: "no\x1b[2J"},
		},
		Store: event.StoreStats{Path: "/d/store.db", Size: 3 << 20, Used: 1536, Events: 1, IDs: 20},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := `Source crm is failing (GET /deals: 500); sink app is down (no\x1b[2J).

SOURCE       STATE      LAG     NEXT POLL   POSITION   PLACE           NEW   GAPS
crm          failing    -       now         3m ago     -               0     0
  contacts                                  3m ago     eyJhIjox…fQ==
  deals                                     -          lost
flatpeak     ok         1m30s   in 30s      3h ago     evt_1           7     1
stripe       starting   -       -           -          catching up     300   0
svix         stopped    -       -           -          -               -     0
    an error that the message has no room for

SINK   STATE                 OWED   OLDEST   RETRYING   DEAD
app    down                  12     2d ago   3          1
zap    up, next try in 10m   3      -        0          0
    ` + strings.Repeat("x", 199) + `…

store /d/store.db: 3.0 MiB, 1.5 KiB of it in use; 1 event kept, 20 ids remembered
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// What status shows of a position is short, and holds no query of a link, which may hold a credential.
func TestStanding(t *testing.T) {
	got := standing([]byte(`{"v":1,"kind":"tail_cursor","time":"2026-01-02T03:04:05.6789Z","cursor":"https://api.example.com/v1/events?after=7&token=hush","ids":["0123456789abcdefghij"],"lost":true}`))
	want := admin.Standing{Position: new(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)), LastID: "01234567…ghij", Cursor: "https://…ents", Lost: true}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := standing([]byte("{")); !reflect.DeepEqual(got, admin.Standing{}) {
		t.Errorf("of no position: %+v", got)
	}
	got = standing([]byte(`{"v":2,"feeds":{"a":{"v":1,"walk":{}},"b":{"v":1,"cursor":"x"}}}`))
	if want := (admin.Standing{Walking: true, Feeds: map[string]admin.Standing{"a": {Walking: true}, "b": {Cursor: "x"}}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
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
	if !strings.Contains(out, "\nflatpeak   ok      0s    in 1m       -          -       4     0\n") {
		t.Errorf("got\n%s", out)
	}
	out, _ = m.tidings(1, "status", "--check")
	m.expect(out, "WARNING: sink app has 3 dead letters; sink archive has 1 dead letter\n")
	m.tidings(0, "dead", "drop", "--all", "--yes")
	out, _ = m.tidings(0, "status", "--check", "--socket", m.dir+"/control.sock")
	m.expect(out, "OK: all is well\n")
}
