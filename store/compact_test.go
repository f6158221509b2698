package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/event"
)

// backlog commits n pages of 100 events of 850 bytes.
func (b *bench) backlog(n int) {
	b.t.Helper()
	for i := range n {
		b.commit(fmt.Sprint(i), benchPage(100*i)...)
	}
}

// drain delivers all that the sink is owed and lets history go.
func (b *bench) drain(sink string) {
	b.t.Helper()
	for {
		due := b.next(sink, 2000, 0).Deliveries
		if len(due) == 0 {
			break
		}
		b.settle(event.Delivered, 0, due...)
	}
}

func (b *bench) size() int64 {
	b.t.Helper()
	info, err := os.Stat(b.path)
	if err != nil {
		b.t.Fatal(err)
	}
	return info.Size()
}

// A drained backlog gives its room back without a restart, while everyone goes on.
func TestADrainedStoreShrinksByItself(t *testing.T) {
	slow(t)
	b := fresh(t, Options{Keep: 0, tick: 5 * time.Millisecond, compactAt: 20 << 20}, "app")
	b.backlog(300)
	before := b.size()
	b.drain("app")
	stop, reader := make(chan struct{}), sync.WaitGroup{}
	end := sync.OnceFunc(func() { close(stop); reader.Wait() })
	defer end()
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := b.Sinks(); err != nil {
					t.Error(err)
				}
				if err := b.Ping(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	told := ""
	for deadline := time.Now().Add(time.Minute); b.size() > before/2 || told == ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			size, reusable := extent(b.db)
			t.Fatalf("the file has %d bytes still, %d before, %d in use", b.size(), before, size-reusable)
		}
		for _, n := range b.told() {
			if note, ok := n.(event.StoreNote); ok {
				told += note.What
			}
		}
	}
	end()
	if !strings.Contains(told, "compacted from") {
		t.Errorf("told %q", told)
	}
	if done := b.commit("again", benchPage(0)...); done.New != 0 {
		t.Errorf("%d known events came as new", done.New)
	}
	b.commit("more", events(1_000_000, 3)...)
	if _, err := Open(b.path, Options{}); err == nil {
		t.Error("the new file is not locked")
	}
	again := b.again("app")
	if n := len(again.next("app", 10, 0).Deliveries); n != 3 {
		t.Errorf("%d are owed", n)
	}
}

func TestAStoreIsCompactedAtStart(t *testing.T) {
	slow(t)
	b := fresh(t, Options{Keep: 0, tick: time.Hour}, "app")
	b.backlog(300)
	b.drain("app")
	b.commit("last", events(1_000_000, 5)...)
	b.tidyNow()
	before := b.size()
	b.end()
	if err := os.WriteFile(compactPath(b.path), []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Without room for the copy it is left as it is, and told.
	o := Options{Keep: 0, tick: time.Hour, compactAt: 8 << 20, free: func(string) (int64, error) { return 1 << 20, nil }}
	b = openAt(t, b.path, o)
	note, _ := b.told()[0].(event.StoreNote)
	if b.size() != before || !note.Warn || !strings.Contains(note.What, "and the copy needs") {
		t.Fatalf("%d of %d bytes, %+v", b.size(), before, b.told())
	}
	if _, err := os.Stat(compactPath(b.path)); err == nil {
		t.Error("a copy that was left behind is still there")
	}
	b.end()
	// A copy that fails its check is dropped.
	o.free = nil
	o.DeepCheck = func(_ context.Context, path string) (CheckReport, error) {
		return CheckReport{Path: path, Problems: []string{"page 7: bad"}}, nil
	}
	b = openAt(t, b.path, o)
	if note, _ = b.told()[0].(event.StoreNote); b.size() != before || !strings.Contains(note.What, "page 7: bad") {
		t.Fatalf("%d of %d bytes, %+v", b.size(), before, b.told())
	}
	b.end()
	o.DeepCheck = nil
	b = openAt(t, b.path, o)
	if b.size() > before/2 {
		t.Fatalf("%d of %d bytes", b.size(), before)
	}
	if n := len(b.next("app", 10, 0).Deliveries); n != 5 {
		t.Fatalf("%d are owed", n)
	}
	left, _ := filepath.Glob(b.path + ".*")
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestWhoWaitedForTheOldFileGetsTheNewOne(t *testing.T) {
	b := fresh(t, Options{Keep: 0, tick: time.Hour}, "app")
	b.backlog(5)
	opened := make(chan *Store)
	go func() {
		s, err := Open(b.path, Options{}) // finds the old file, and waits for its lock
		for _, inUse := errors.AsType[*InUseError](err); inUse; _, inUse = errors.AsType[*InUseError](err) {
			s, err = Open(b.path, Options{}) // the compaction has taken longer than an opening waits
		}
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	time.Sleep(100 * time.Millisecond)
	if _, err := b.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.commit("only in the new one")
	b.end()
	s := <-opened
	if s == nil {
		return
	}
	if p, _ := s.Position("api"); string(p.Data) != "only in the new one" {
		t.Errorf("position %q", p.Data)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestBackupIsTheStoreOfOneMoment(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour, tick: time.Hour}, "app")
	b.backlog(5)
	var copied bytes.Buffer
	var size int64
	err := b.Backup(t.Context(), &copied, func(n int64) error {
		size = n
		b.commit("after", events(1_000_000, 3)...) // work goes on
		return nil
	})
	if err != nil || int64(copied.Len()) != size {
		t.Fatalf("%d of %d bytes, %v", copied.Len(), size, err)
	}
	path := filepath.Join(t.TempDir(), "backup.db")
	if err := os.WriteFile(path, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if report, err := CheckFile(t.Context(), path); err != nil || report.Err() != nil || report.Records[bucketLog] != 500 {
		t.Fatalf("%+v, %v", report, err)
	}
	restored := openAt(t, path, Options{})
	if p, _ := restored.Position("api"); string(p.Data) != "4" || restored.sink("app").Owed != 500 {
		t.Fatalf("position %q, owed %d", p.Data, restored.sink("app").Owed)
	}
}

// A receiver that takes nothing keeps the store neither from reopening its file nor from ending.
func TestAStuckBackupHoldsNobodyUp(t *testing.T) {
	br := &breaker{err: errors.New("the disk stutters")}
	b := fresh(t, Options{Keep: time.Hour, tick: time.Hour, commit: br.commit}, "app")
	b.backlog(5)
	begin := func() (stuck *stuckWriter, result chan error) {
		stuck, result = &stuckWriter{began: make(chan struct{}), end: make(chan struct{})}, make(chan error, 1)
		go func() { result <- b.Backup(context.Background(), stuck, func(int64) error { return nil }) }()
		<-stuck.began
		return stuck, result
	}
	stuck, result := begin()
	if err := b.Backup(t.Context(), stuck, nil); err == nil {
		t.Error("two at a time")
	}
	if _, err := b.Compact(t.Context()); !errors.Is(err, errBusy) {
		t.Errorf("a compaction beside it: %v", err)
	}
	br.times.Store(1)
	if err := b.tryCommit(events(1_000_000, 1)); !errors.Is(err, event.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	b.commit("goes on")
	close(stuck.end)
	if err := <-result; err == nil || !strings.Contains(err.Error(), "reopens") {
		t.Errorf("got %v", err)
	}
	stuck, result = begin()
	b.end()
	close(stuck.end)
	if err := <-result; !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}

type stuckWriter struct {
	once       sync.Once
	began, end chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.began) })
	<-w.end
	return len(p), nil
}

func TestPositionsHaveASideCopy(t *testing.T) {
	east := time.FixedZone("east", 5*3600)
	b := fresh(t, Options{tick: 5 * time.Millisecond, wall: func() time.Time { return time.Now().In(east) }}, "app")
	read := func() (side, time.Time) {
		s, at, err := readSide(b.path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return s, at
	}
	for s, _ := read(); s.Sinks == nil; s, _ = read() {
		time.Sleep(time.Millisecond)
	}
	b.commit("p1", events(1, 3)...)
	b.end()
	s, at := read()
	if src := s.Sources["api"]; string(src.Position) != "p1" || src.Identity != "account 1" || s.Sinks["app"].Floor != 1 {
		t.Fatalf("%+v", s)
	}
	b = b.again()
	b.end()
	if _, again := read(); !again.Equal(at) {
		t.Error("it was written again, and nothing had changed")
	}
	text, _ := os.ReadFile(sidePath(b.path))
	if err := os.WriteFile(sidePath(b.path), bytes.Replace(text, []byte(`"floor":1`), []byte(`"floor":2`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readSide(b.path); err == nil {
		t.Error("a changed copy is believed")
	}
}

// BenchmarkShrink: the file after a drained 1 GB backlog with keep: 0s, without a restart.
func BenchmarkShrink(bm *testing.B) {
	for range bm.N {
		b := fresh(bm, Options{Keep: 0, Remember: time.Hour, tick: 100 * time.Millisecond}, "app")
		b.backlog(8500)
		before := b.size()
		b.drain("app")
		drained := time.Now()
		longest := time.Duration(0)
		for deadline := drained.Add(2 * time.Minute); b.size() > 300<<20 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			began := time.Now()
			if err := b.Ping(context.Background()); err != nil {
				bm.Fatal(err)
			}
			longest = max(longest, time.Since(began))
		}
		bm.ReportMetric(float64(before)/1e6, "MB-before")
		bm.ReportMetric(float64(b.size())/1e6, "MB-after")
		bm.ReportMetric(longest.Seconds(), "s-longest-pause")
		b.end()
	}
}
