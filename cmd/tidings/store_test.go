package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/store"
)

// stocked is a site whose daemon has run: its file sink has everything, its endpoint is down and owed everything.
func stocked(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.api.Backfill(300, 24*time.Hour)
	s.configure("every: 1m\nstart: earliest", `
app:
  http: {url: "http://127.0.0.1:1/"}
archive:
  file: {path: DIR/events.jsonl}`)
	return s
}

func (s *site) storeFile() string { return storePath(s.path("tidings-data")) }

// answers reports whether a daemon answers, not a stopped store.
func (s *site) answers() bool {
	code, _, _ := s.tidings("--socket", filepath.Join(s.path("tidings-data"), "control.sock"), "status")
	return code == 0
}

// ran has the daemon take everything in and end.
func ran(t *testing.T) *site {
	t.Helper()
	s := stocked(t)
	d := s.start()
	s.eventually("all events in the file", func() bool { return len(s.missing(s.lines("events.jsonl"), "")) == 0 })
	d.stop()
	return s
}

// ok runs a command that must go well and returns what it printed.
func (s *site) ok(args ...string) string {
	s.t.Helper()
	code, out, errs := s.tidings(args...)
	if code != 0 {
		s.t.Fatalf("%v exited with %d: %s%s", args, code, out, errs)
	}
	return out
}

// says runs a command that must end with code and a sentence that has text in it.
func (s *site) says(code int, text string, args ...string) {
	s.t.Helper()
	got, out, errs := s.tidings(args...)
	if got != code || !strings.Contains(out+errs, text) {
		s.t.Errorf("%v exited with %d: %s%s", args, got, out, errs)
	}
	if strings.Contains(errs, "goroutine ") || strings.Contains(errs, "panic") {
		s.t.Errorf("%v shows a Go trace: %s", args, errs)
	}
}

func TestStoreCommandsWorkBesideADaemonAndWithoutOne(t *testing.T) {
	t.Parallel()
	s := stocked(t)
	d := s.start()
	s.eventually("all events in the file", func() bool { return len(s.missing(s.lines("events.jsonl"), "")) == 0 })
	for _, running := range []bool{true, false} {
		if !running {
			d.stop()
		}
		if out := s.ok("store", "stats"); !strings.Contains(out, "owed deliveries   300") {
			t.Errorf("stats: %s", out)
		}
		if out := s.ok("store", "check"); !strings.Contains(out, s.storeFile()+" is whole") || !strings.Contains(out, "300 events") {
			t.Errorf("check: %s", out)
		}
		var report store.CheckReport
		if err := json.Unmarshal([]byte(s.ok("store", "check", "--json")), &report); err != nil || report.Records["log"] != 300 {
			t.Errorf("%+v, %v", report, err)
		}
		backup := s.path("backup.db")
		if out := s.ok("store", "backup", backup); !strings.Contains(out, "and checked it") {
			t.Errorf("backup: %s", out)
		}
		s.ok("store", "backup", "--dry-run", s.path("never.db"))
		s.says(64, "is there already and is no backup", "store", "backup", s.path("config.yaml"))
		s.says(64, "is a store, not a backup", "store", "backup", s.storeFile())
		s.says(64, "is no export", "store", "export", "-o", s.storeFile())
		export := s.path("export.jsonl")
		s.ok("store", "export", "-o", export)
		s.ok("store", "export", "-o", export)
		if left, _ := filepath.Glob(s.path(".*partial*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if out := s.ok("store", "compact", "--dry-run"); !strings.Contains(out, "Would compact") {
			t.Errorf("compact: %s", out)
		}
		s.says(64, "say --yes", "store", "compact")
		s.ok("store", "compact", "--yes")
		kinds := map[string]int{}
		for line := range strings.Lines(s.ok("store", "export")) {
			var e store.Exported
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			kinds[e.Kind]++
			if e.Kind == "owed" && (e.Sink != "app" || e.ID == "" || len(e.Data) == 0) {
				t.Fatalf("%+v", e)
			}
		}
		if kinds["position"] != 1 || kinds["owed"] != 300 {
			t.Errorf("export: %v", kinds)
		}
		s.ok("store", "export", "-o", s.path("export.jsonl"))
	}
	s.restoreTheBackup()
}

// A backup that takes the store's place is the store of its moment.
func (s *site) restoreTheBackup() {
	s.t.Helper()
	if err := os.Rename(s.path("backup.db"), s.storeFile()); err != nil {
		s.t.Fatal(err)
	}
	if out := s.ok("store", "stats"); !strings.Contains(out, "owed deliveries   300") {
		s.t.Errorf("stats: %s", out)
	}
}

func TestRepairNeedsAStoppedDaemonAndAWord(t *testing.T) {
	t.Parallel()
	s := ran(t)
	if out := s.ok("store", "repair"); !strings.Contains(out, "is whole: there is nothing to repair") {
		t.Errorf("repair: %s", out)
	}
	d := s.start()
	s.eventually("the daemon to answer", s.answers)
	s.says(75, "is in use by process", "store", "repair", "--yes")
	d.stop()

	data, err := os.ReadFile(s.storeFile())
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []struct {
		name string
		data []byte
	}{
		{"cut off", data[:100_000]}, {"empty", nil}, {"two pages", data[:8192]}, {"no headers", append(make([]byte, 8192), data[8192:]...)},
	} {
		if err := os.WriteFile(s.storeFile(), damage.data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"run"}, {"once"}, {"status"}, {"dead", "list"}, {"store", "stats"}} {
			s.says(1, "store repair", args...)
		}
		s.says(0, "Nothing was changed", "store", "repair", "--dry-run")
		s.says(64, "say --yes", "store", "repair")
		if now, _ := os.ReadFile(s.storeFile()); !bytes.Equal(now, damage.data) {
			t.Fatalf("%s: the file was changed", damage.name)
		}
		if out := s.ok("store", "repair", "--yes"); !strings.Contains(out, "The damaged file is kept as") || !strings.Contains(out, "Lost: ") {
			t.Errorf("%s: %s", damage.name, out)
		}
		s.ok("store", "check")
		d := s.start()
		s.eventually("the daemon to answer", s.answers)
		d.stop()
	}
	// One header that is whole is enough: a check calls the other a warning, and there is nothing to repair.
	whole, err := os.ReadFile(s.storeFile())
	if err != nil {
		t.Fatal(err)
	}
	clear(whole[:4096])
	if err := os.WriteFile(s.storeFile(), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := s.ok("store", "check"); !strings.Contains(out, "Warning: one of its two headers") || !strings.Contains(out, "is whole") {
		t.Errorf("check: %s", out)
	}
	s.says(0, "nothing to repair", "store", "repair")
	d = s.start()
	s.eventually("the daemon to answer", s.answers)
	d.stop()
	if kept, _ := filepath.Glob(s.storeFile() + ".damaged-*"); len(kept) != 4 {
		t.Errorf("kept: %v", kept)
	}
	if err := os.Remove(s.storeFile()); err != nil {
		t.Fatal(err)
	}
	s.says(1, "is missing", "run")
	s.says(0, "Lost: everything", "store", "repair", "--reinit", "--yes")
	s.ok("store", "check")
}

func TestACheckThatFaultsOrHangsEndsAlone(t *testing.T) {
	for name, c := range map[string]struct {
		limit        time.Duration
		script, want string
	}{
		"hangs":  {500 * time.Millisecond, "exec sleep 60", "did not end within"},
		"faults": {time.Minute, "kill -SEGV $$", "segmentation fault"},
		"lies":   {time.Minute, "echo nonsense", "did not come to an end"},
		"says":   {time.Minute, "echo 'tidings: no such thing' >&2; exit 1", "no such thing"},
	} {
		began := time.Now()
		_, err := checkBy(t.Context(), "store.db", c.limit, "/bin/sh", "-c", c.script)
		if err == nil || !strings.Contains(err.Error(), c.want) || time.Since(began) > 30*time.Second {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := checkBy(t.Context(), "store.db", time.Minute, "/bin/sh", "-c", "exit 75")
	if _, ok := errors.AsType[*store.InUseError](err); !ok {
		t.Errorf("in use: %v", err)
	}
	ended := errors.New("a person ended it")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ended)
	if _, err := checkBy(ctx, "store.db", time.Minute, "/bin/sleep", "60"); err != ended {
		t.Errorf("ended: %v", err)
	}
}
