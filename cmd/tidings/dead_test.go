package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tidings/admin"
	"tidings/event"
	"tidings/store"
)

// morgue is a directory with a configuration and a store: one source, the sinks app and archive. Of evt_1 to evt_3 app gave up
// on all, archive on evt_1, and has the others; evt_4 is owed to both.
type morgue struct {
	t      *testing.T
	dir    string
	config string
	topo   event.Topology
}

// nasty is JSON that a terminal would be confused by.
const nasty = "{\"id\": \"evt_2\",\t\"text\": \"<b>\u202e\u009b2J</b>\"}"

func newMorgue(t *testing.T) *morgue {
	t.Helper()
	dir := shortDir(t)
	m := &morgue{t: t, dir: dir, config: filepath.Join(dir, "config.yaml")}
	text := fmt.Sprintf("data_dir: %s\ncontrol: %s/control.sock\nsources: 7\n", dir, dir) // nothing but the places is valid
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.topo = event.Topology{
		Sources: []event.SourceSpec{{Name: "flatpeak", Identity: "acc", Events: event.Filter{"*"}}},
		Sinks: []event.SinkSpec{
			{Name: "app", Sources: event.Filter{"*"}, Events: event.Filter{"*"}},
			{Name: "archive", Sources: event.Filter{"*"}, Events: event.Filter{"*"}},
		},
	}
	st := m.open(true)
	defer m.close(st)
	position, err := st.Position("flatpeak")
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	for i := 1; i <= 3; i++ {
		events = append(events, event.Event{
			Source: "flatpeak", ID: fmt.Sprintf("evt_%d", i), Type: "tariff.changed",
			Time: time.Date(2026, 1, i, 0, 0, 0, 0, time.UTC), Data: []byte(nasty),
		})
	}
	events[2].Data = []byte("not\nJSON")
	m.commit(st, position.Generation, events...)
	for _, sink := range []string{"app", "archive"} {
		due, err := st.Next(sink, 10, 0)
		if err != nil || len(due.Deliveries) != 3 {
			t.Fatalf("%+v, %v", due, err)
		}
		var settled []event.Settlement
		for i, d := range due.Deliveries {
			outcome := event.Delivered
			if sink == "app" || i == 0 {
				outcome = event.Dead
			}
			settled = append(settled, event.Settlement{Sink: sink, Seq: d.Seq, Outcome: outcome, Attempt: event.Attempt{
				At: time.Now(), Took: 1500 * time.Millisecond, Reason: "the endpoint answered 422", Answer: "no such <tariff>\n\x1b[31mred",
			}})
		}
		if err := st.Settle(t.Context(), settled); err != nil {
			t.Fatal(err)
		}
	}
	m.commit(st, position.Generation, event.Event{Source: "flatpeak", ID: "evt_4", Data: []byte("{}")})
	return m
}

func (m *morgue) open(create bool) *store.Store {
	m.t.Helper()
	st, err := store.Open(storePath(m.dir), store.Options{Create: create})
	if err != nil {
		m.t.Fatal(err)
	}
	if err := st.Apply(m.t.Context(), m.topo, false); err != nil {
		m.t.Fatal(err)
	}
	return st
}

func (m *morgue) close(st *store.Store) {
	m.t.Helper()
	if err := st.Close(); err != nil {
		m.t.Error(err)
	}
}

func (m *morgue) commit(st *store.Store, generation uint64, events ...event.Event) {
	m.t.Helper()
	if _, err := st.Commit(m.t.Context(), event.Commit{Source: "flatpeak", Generation: generation, Events: events, Position: []byte("{}")}); err != nil {
		m.t.Fatal(err)
	}
}

// serve answers on the control socket as a daemon does, until the test ends.
func (m *morgue) serve() {
	m.t.Helper()
	st := m.open(false)
	live := admin.NewLive(m.topo)
	live.Notify(event.TakenIn{Source: "flatpeak", Events: make([]event.Event, 4)})
	live.Notify(event.Polled{Source: "flatpeak", At: time.Now(), Listed: 9, New: 4, Next: time.Now().Add(90 * time.Second)})
	l, err := admin.Listen(filepath.Join(m.dir, "control.sock"))
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- (&admin.Server{Store: st, Live: live, Version: "test"}).Serve(ctx, l) }()
	m.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			m.t.Error(err)
		}
		m.close(st)
	})
}

// tidings runs a command in this process and checks its exit code.
func (m *morgue) tidings(code int, args ...string) (stdout, stderr string) {
	m.t.Helper()
	return m.answered(code, strings.NewReader("y\n"), args...)
}

func (m *morgue) answered(code int, stdin io.Reader, args ...string) (stdout, stderr string) {
	m.t.Helper()
	var out, errs bytes.Buffer
	got := run(m.t.Context(), append([]string{"--config", m.config}, args...), stdin, &out, &errs)
	if got != code {
		m.t.Errorf("tidings %s exited with %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &errs)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasSuffix(strings.TrimRight(line, "\n"), " ") {
			m.t.Errorf("tidings %s: a line ends with a space: %q", strings.Join(args, " "), line)
		}
	}
	return out.String(), errs.String()
}

func (m *morgue) expect(got, want string) {
	m.t.Helper()
	if got != want {
		m.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// withAndWithoutDaemon runs a test beside a daemon and on the store of a stopped one: a command says the same.
func withAndWithoutDaemon(t *testing.T, test func(t *testing.T, m *morgue)) {
	t.Run("stopped", func(t *testing.T) { test(t, newMorgue(t)) })
	t.Run("running", func(t *testing.T) {
		m := newMorgue(t)
		m.serve()
		test(t, m)
	})
}

func TestDeadList(t *testing.T) {
	withAndWithoutDaemon(t, func(t *testing.T, m *morgue) {
		out, _ := m.tidings(0, "dead", "list", "archive")
		m.expect(out, `SINK      GIVEN UP   ATTEMPTS   SOURCE     TYPE             ID      REASON
archive   0s ago     1          flatpeak   tariff.changed   evt_1   the endpoint answered 422
`)
		out, _ = m.tidings(0, "dead", "list")
		if strings.Count(out, "\n") != 5 {
			t.Errorf("all dead letters are\n%s", out)
		}
		out, _ = m.tidings(0, "dead", "list", "--json", "archive")
		var letter map[string]any
		if err := json.Unmarshal([]byte(out), &letter); err != nil {
			t.Fatal(err)
		}
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(letter["dead_at"])); err != nil {
			t.Error(err)
		}
		delete(letter, "dead_at")
		m.expect(fmt.Sprint(letter), "map[attempts:1 id:evt_1 reason:the endpoint answered 422 sink:archive source:flatpeak time:2026-01-01T00:00:00Z type:tariff.changed]")
		_, errs := m.tidings(1, "dead", "list", "nowhere")
		m.expect(errs, "tidings: there is no sink \"nowhere\"\n")
	})
}

func TestDeadShow(t *testing.T) {
	withAndWithoutDaemon(t, func(t *testing.T, m *morgue) {
		out, _ := m.tidings(0, "dead", "show", "evt_2")
		for _, want := range []string{
			"evt_2 at sink app\n", "  source     flatpeak\n", "  happened   2026-01-02T00:00:00Z (", " after 1 attempt\n", "took 1.5s\n",
			"  reason     the endpoint answered 422\n  answer\n    no such <tariff>\n    \\x1b[31mred\n", "  body\n" + nasty + "\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
		out, _ = m.tidings(0, "dead", "show", "--json", "evt_1")
		if strings.Count(out, "\n") != 2 || strings.Count(out, `"data":{"id":"evt_2","text":"<b>`) != 2 {
			t.Errorf("as JSON, of two sinks:\n%s", out)
		}
		out, _ = m.tidings(0, "dead", "show", "--json", "--sink", "app", "evt_3")
		if !strings.Contains(out, `"data_base64":"bm90CkpTT04="`) {
			t.Errorf("a body that is not JSON:\n%s", out)
		}
		out, _ = m.tidings(0, "dead", "show", "--all")
		if strings.Count(out, " at sink ") != 4 {
			t.Errorf("all:\n%s", out)
		}
		_, errs := m.tidings(1, "dead", "show", "evt_4")
		m.expect(errs, "tidings: no dead letter has the id \"evt_4\"; see tidings dead list\n")
	})
}

func TestDeadChanges(t *testing.T) {
	withAndWithoutDaemon(t, func(t *testing.T, m *morgue) {
		out, _ := m.tidings(0, "dead", "drop", "--all", "--dry-run")
		m.expect(out, "Would drop 4 dead letters (app 3, archive 1).\n")
		_, errs := m.tidings(64, "dead", "drop", "--all")
		m.expect(errs, "tidings: this would drop 4 dead letters (app 3, archive 1): say --yes, since there is no terminal to ask at\n")
		_, errs = m.tidings(1, "dead", "retry", "evt_1", "evt_9")
		m.expect(errs, "tidings: no dead letter has the id \"evt_9\"\n")
		out, _ = m.tidings(0, "dead", "retry", "evt_1", "--sink", "app")
		m.expect(out, "Sent 1 dead letter again (app 1).\n")
		out, _ = m.tidings(0, "dead", "drop", "evt_1", "--json")
		m.expect(out, `{"count":1,"sinks":{"archive":1},"dry_run":false}`+"\n")
		out, _ = m.tidings(0, "dead", "retry", "--sink", "app", "--yes")
		m.expect(out, "Sent 2 dead letters again (app 2).\n")
		out, _ = m.tidings(0, "status", "--json")
		var status admin.Status
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			t.Fatal(err)
		}
		if app, archive := status.Sinks["app"], status.Sinks["archive"]; app.Owed != 4 || app.Dead != 0 || archive.Owed != 1 || archive.Dead != 0 {
			t.Errorf("after the changes: app %+v, archive %+v", app, archive)
		}
		for _, command := range [][]string{{"list"}, {"show", "--all"}, {"retry", "--all"}, {"drop", "--all", "--yes"}} {
			out, _ := m.tidings(0, append([]string{"dead"}, command...)...)
			m.expect(out, "There are no dead letters.\n")
		}
		out, _ = m.tidings(0, "dead", "list", "app")
		m.expect(out, "There are no dead letters of sink app.\n")
		out, _ = m.tidings(0, "dead", "list", "--json")
		m.expect(out, "")
	})
}

func TestDeadUsage(t *testing.T) {
	m := newMorgue(t)
	for _, args := range [][]string{
		{"dead", "bury"}, {"dead", "list", "a", "b"}, {"dead", "show"}, {"dead", "retry"}, {"dead", "drop"}, {"dead", "drop", "--all", "evt_1"},
		{"dead", "drop", "--all", "--sink", "app"}, {"dead", "retry", ""}, {"dead", "drop", "--force"}, {"status", "now"}, {"status", "--check", "--json"},
	} {
		_, errs := m.tidings(64, args...)
		if strings.Count(errs, "\n") != 1 || !strings.HasPrefix(errs, "tidings: ") {
			t.Errorf("%q says %q", args, errs)
		}
	}
	out, _ := m.tidings(0, "dead", "drop", "--all", "--dry-run")
	m.expect(out, "Would drop 4 dead letters (app 3, archive 1).\n")
}

// TestDeadAsks: on a terminal a bulk change asks, and only a yes is one.
func TestDeadAsks(t *testing.T) {
	m := newMorgue(t)
	for _, answer := range []string{"n", "", "yep"} {
		out, errs := m.answered(1, typed(t, answer), "dead", "drop", "--sink", "app")
		m.expect(out+errs, "Drop 3 dead letters (app 3)? [y/N] tidings: nothing was changed\n")
	}
	out, errs := m.answered(0, typed(t, "Y"), "dead", "retry", "--sink", "app")
	m.expect(errs+out, "Send 3 dead letters again (app 3)? [y/N] Sent 3 dead letters again (app 3).\n")
}

// typed is a terminal at which somebody typed a line.
func typed(t *testing.T, line string) *os.File {
	t.Helper()
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminal to be had: %v", err)
	}
	t.Cleanup(func() { _ = ptmx.Close() })
	if err := unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	if _, err := ptmx.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
	return tty
}
