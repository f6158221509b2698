package sinks

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/dispatch"
	"tidings/event"
)

func newFile(t *testing.T, o FileOptions) *File {
	t.Helper()
	if o.Format == "" {
		o.Format = Raw
	}
	f, err := NewFile(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// read returns a file's text, "" when it is not there.
func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func on(day int, data string) event.Event {
	e := sample("id", data)
	e.Received = time.Date(2026, 11, day, 23, 30, 0, 0, time.UTC)
	return e
}

func allDone(t *testing.T, results []dispatch.Result) {
	t.Helper()
	for i, r := range results {
		if r.Verdict != dispatch.Done {
			t.Errorf("event %d: %+v", i, r)
		}
	}
}

func TestFileAppendsEachEventToItsFileInOrder(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022))
	dir := t.TempDir()
	f := newFile(t, FileOptions{Path: filepath.Join(dir, "new", "er", "%Y", "%m-%d.jsonl")})
	allDone(t, f.Deliver(t.Context(), owed(on(1, "1"), on(2, "{ \"a\":\n2 }"), on(1, "3"))))
	allDone(t, f.Deliver(t.Context(), owed(on(2, "4"))))
	if got := read(t, dir, "new/er/2026/11-01.jsonl"); got != "1\n3\n" {
		t.Errorf("the first day's file holds %q", got)
	}
	if got := read(t, dir, "new/er/2026/11-02.jsonl"); got != "{\"a\":2}\n4\n" {
		t.Errorf("the second day's file holds %q", got)
	}
	for path, mode := range map[string]os.FileMode{"new": 0o750, "new/er/2026": 0o750, "new/er/2026/11-01.jsonl": 0o640} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestFileGoesByItsTimeZone(t *testing.T) {
	dir := t.TempDir()
	f := newFile(t, FileOptions{Path: filepath.Join(dir, "%Y-%m-%d.jsonl"), Timezone: time.FixedZone("east", 3600)})
	allDone(t, f.Deliver(t.Context(), owed(on(1, "1"))))
	if read(t, dir, "2026-11-02.jsonl") != "1\n" {
		t.Error("it is not in the file of the day that it was there")
	}
}

func TestFileGluesNoLineToATornOne(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.jsonl")
	write(t, path, "{\"whole\":1}\n{\"torn")
	f := newFile(t, FileOptions{Path: path})
	allDone(t, f.Deliver(t.Context(), owed(on(1, "1"), on(1, "2"))))
	allDone(t, f.Deliver(t.Context(), owed(on(1, "3"))))
	if got := read(t, path); got != "{\"whole\":1}\n{\"torn\n1\n2\n3\n" {
		t.Errorf("the file holds %q", got)
	}
}

func TestFileFollowsWhatLogrotateDoes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "a.jsonl")
	f := newFile(t, FileOptions{Path: path})
	deliver := func(data string) {
		t.Helper()
		allDone(t, f.Deliver(t.Context(), owed(on(1, data))))
	}
	deliver("1")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	deliver("2")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	deliver("3")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	deliver("4")
	if err := os.Rename(filepath.Dir(path), filepath.Join(dir, "old")); err != nil {
		t.Fatal(err)
	}
	deliver("5")
	if a, b, c := read(t, dir, "old/a.jsonl.1"), read(t, dir, "old/a.jsonl"), read(t, path); a != "1\n" || b != "4\n" || c != "5\n" {
		t.Errorf("%q, %q, %q", a, b, c)
	}
}

func TestFileIsConfined(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "2026")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "f"), filepath.Join(dir, "11.jsonl")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"%Y/a.jsonl", "%m.jsonl", "x%Y/../../a.jsonl"} {
		r := newFile(t, FileOptions{Path: filepath.Join(dir) + "/" + path}).Deliver(t.Context(), owed(on(1, "1")))
		want(t, r, dispatch.Retry)
		if reason := r[0].Reason; !strings.HasSuffix(reason, "name the place itself in the path") {
			t.Errorf("%q says not what to do", reason)
		}
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("%v was written outside", left)
	}
	if left, _ := os.ReadDir(filepath.Dir(dir)); slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == "a.jsonl" }) {
		t.Error("a.jsonl was written above")
	}
}

func TestFileTroubleIsASentence(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plain"), "")
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, reason := range map[string]string{
		"plain/a.jsonl": "Can't open directory " + dir + "/plain: not a directory",
		".":             "Can't write " + dir + ": is a directory",
		"fifo":          "Can't write " + dir + "/fifo: it is not a regular file",
	} {
		r := want(t, newFile(t, FileOptions{Path: dir + "/" + path}).Deliver(t.Context(), owed(on(1, "1"))), dispatch.Retry)
		if r.Reason != reason {
			t.Errorf("%q, want %q", r.Reason, reason)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want(t, newFile(t, FileOptions{Path: dir + "/late"}).Deliver(ctx, owed(on(1, "1"))), dispatch.Retry)
}

func TestFileTellsOfOneBadFileAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "01"), 0o750); err != nil {
		t.Fatal(err)
	}
	r := newFile(t, FileOptions{Path: dir + "/%d"}).Deliver(t.Context(), owed(on(1, "1"), on(2, "2"), on(1, "3")))
	if r[0].Verdict != dispatch.Retry || r[1].Verdict != dispatch.Done || r[2].Verdict != dispatch.Retry || read(t, dir, "02") != "2\n" {
		t.Errorf("%+v", r)
	}
}

// A file size limit of the process stands in for a full disk: the write stops short in the same way.
func TestFileTakesBackAShortWrite(t *testing.T) {
	if os.Getenv("TIDINGS_TEST_SHORT") == "" {
		out, err := helper(t, "TestFileTakesBackAShortWrite", "TIDINGS_TEST_SHORT=1")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "a.jsonl")
	f := newFile(t, FileOptions{Path: path})
	long := `"` + strings.Repeat("x", 700) + `"`
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	ignoreSIGXFSZ()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1000, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	r := f.Deliver(t.Context(), owed(on(1, long), on(1, long), on(1, "3")))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if r[0].Verdict != dispatch.Done || r[1].Verdict != dispatch.Retry || r[2].Verdict != dispatch.Retry || !strings.Contains(r[1].Reason, "file too large") {
		t.Errorf("%+v", r)
	}
	if got := read(t, path); got != long+"\n" {
		t.Errorf("the file holds %d bytes, want %d", len(got), len(long)+1)
	}
	allDone(t, f.Deliver(t.Context(), owed(on(1, "4"))))
	if got := read(t, path); got != long+"\n4\n" {
		t.Errorf("the file ends in %q", got[len(got)-10:])
	}
}

func TestFileSpool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	f := newFile(t, FileOptions{Spool: dir})
	first, second := sample("evt_1", "{ \"a\": 1 }"), sample("../x", "2")
	second.Received = first.Received.Add(time.Nanosecond)
	allDone(t, f.Deliver(t.Context(), owed(second, first)))
	allDone(t, f.Deliver(t.Context(), owed(first)))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	if got := entries[0].Name(); got != "20261121T210000.000000005Z.flatpeak.evt_1.json" {
		t.Errorf("the first is %s", got)
	}
	if a, b := read(t, dir, entries[0].Name()), read(t, dir, entries[1].Name()); a != "{ \"a\": 1 }" || b != "2" {
		t.Errorf("%q, %q", a, b)
	}
	if err := os.Mkdir(filepath.Join(dir, spoolName(on(1, ""))), 0o750); err != nil {
		t.Fatal(err)
	}
	r := f.Deliver(t.Context(), owed(on(1, "1"), on(2, "2")))
	if r[0].Verdict != dispatch.Retry || r[1].Verdict != dispatch.Done {
		t.Errorf("%+v", r)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 4 {
		t.Errorf("%v: a hidden file was left", entries)
	}
}

func TestNewFileRefuses(t *testing.T) {
	for name, o := range map[string]FileOptions{
		"neither": {}, "both": {Path: "/a", Spool: "/b"}, "stray": {Path: "/a/%"}, "unknown": {Path: "/a/%!"}, "directory": {Path: "/a/"},
	} {
		o.Format = Raw
		if _, err := NewFile(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
