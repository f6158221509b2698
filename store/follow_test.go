package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// contents lists all that a file has.
func contents(t *testing.T, path string) []string {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var all []string
	var list func(name string, b *bolt.Bucket) error
	list = func(name string, b *bolt.Bucket) error {
		all = append(all, fmt.Sprintf("%s: sequence %d", name, b.Sequence()))
		return b.ForEach(func(key, value []byte) error {
			if value == nil {
				return list(fmt.Sprintf("%s/%x", name, key), b.Bucket(key))
			}
			all = append(all, fmt.Sprintf("%s/%x: %x", name, key, value))
			return nil
		})
	}
	if err := db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return list(string(name), b) })
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// halted lets a test do something while a compaction's copy is being checked.
type halted struct{ reached, goOn chan struct{} }

func newHalted() *halted { return &halted{make(chan struct{}), make(chan struct{})} }

func (h *halted) check(ctx context.Context, path string) (CheckReport, error) {
	close(h.reached)
	select {
	case <-h.goOn:
	case <-ctx.Done():
		return CheckReport{}, ctx.Err()
	}
	return CheckFile(ctx, path)
}

func (b *bench) compact() chan error {
	done := make(chan error, 1)
	go func() {
		_, err := b.Compact(context.Background())
		done <- err
	}()
	return done
}

// Everything goes on while a copy is made, and the copy has all of it: commits, settlements, dead letters, sealing, collecting.
func TestWorkGoesOnWhileTheStoreIsCompacted(t *testing.T) {
	var clock skewed
	h := newHalted()
	o := smallRuns
	o.Keep, o.Remember, o.wall, o.DeepCheck = 0, 30*time.Minute, clock.now, h.check
	b := fresh(t, o, "app", "slow")
	b.backlog(3)
	b.settle(event.Delivered, 0, b.next("app", 100, 0).Deliveries...)
	b.tidyNow()
	sealed := b.st.memory.nextRun
	old := filepath.Join(filepath.Dir(b.path), "old.db")
	if err := os.Link(b.path, old); err != nil {
		t.Fatal(err)
	}
	done := b.compact()
	<-h.reached
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 40 {
		b.commit(fmt.Sprint("p", i), events(10_000+25*i, 30)...)
		for _, sink := range []string{"app", "slow"} {
			due := b.next(sink, 20+rnd.IntN(20), 5).Deliveries
			b.settle(event.Delivered, 0, due[:len(due)/2]...)
			b.settle([]event.Outcome{event.Retry, event.Dead}[rnd.IntN(2)], 0, due[len(due)/2:]...)
		}
		if i == 20 {
			b.apply(topology("app", "slow", "late"))
			if _, err := b.RetryDead(t.Context(), "app", []uint64{b.letters(event.DeadQuery{Sink: "app"})[0].Seq}); err != nil {
				t.Fatal(err)
			}
			clock.jump(50 * time.Minute) // runs of before the copy expire
		}
		b.tidyNow()
	}
	if m := b.st.memory; sealed == 1 || m.runs[0].number < sealed || m.nextRun < sealed+3 {
		t.Errorf("%d runs were sealed before, now they are %d to %d", sealed-1, m.runs[0].number, m.nextRun-1)
	}
	close(h.goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.end()
	was, is := contents(t, old), contents(t, b.path)
	if !slices.Equal(was, is) {
		for i := range min(len(was), len(is)) {
			if was[i] != is[i] {
				t.Fatalf("record %d of %d and %d:\n%.200s\n%.200s", i, len(was), len(is), was[i], is[i])
			}
		}
		t.Fatalf("%d records, %d in the copy", len(was), len(is))
	}
}

// When more is written all the time than the copy can follow, nobody waits for it: it is given up.
func TestACompactionThatCantFollowIsGivenUp(t *testing.T) {
	var b *bench
	rounds, most, n := 0, 3, 1_000_000
	o := Options{Keep: time.Hour, tick: time.Hour}
	o.caught = func() {
		if rounds++; rounds <= most {
			n += lastKeys + 1
			b.commit("p", events(n, lastKeys+1)...)
		}
	}
	b = fresh(t, o, "app")
	b.backlog(1)
	if c, err := b.Compact(t.Context()); err != nil || rounds != most+1 || c.Paused == 0 || c.Paused > c.Took {
		t.Fatalf("%+v, %v after %d rounds", c, err, rounds)
	}
	most, rounds = 1<<30, 0
	if _, err := b.Compact(t.Context()); !errors.Is(err, errBehind) || rounds != compactTries {
		t.Fatalf("%v after %d rounds", err, rounds)
	}
	if _, err := os.Stat(compactPath(b.path)); err == nil {
		t.Error("the copy is left")
	}
	b.commit("goes on", events(1, 1)...)
}

// A write whose outcome is unknown ends a compaction, and so does the end of the store; neither waits for it.
func TestACompactionEndsWithWhatItCopies(t *testing.T) {
	br := &breaker{err: errors.New("the disk stutters")}
	var h *halted
	o := Options{Keep: time.Hour, tick: time.Hour, commit: br.commit}
	o.DeepCheck = func(ctx context.Context, path string) (CheckReport, error) { return h.check(ctx, path) }
	b := fresh(t, o, "app")
	b.backlog(1)
	h = newHalted()
	done := b.compact()
	<-h.reached
	br.times.Store(1)
	if err := b.tryCommit(events(1_000_000, 1)); !errors.Is(err, event.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "reopens") {
		t.Errorf("got %v", err)
	}
	b.commit("goes on", events(2_000_000, 1)...)
	h = newHalted()
	done = b.compact()
	<-h.reached
	b.end()
	if err := <-done; !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(compactPath(b.path)); err == nil {
		t.Error("the copy is left")
	}
}

// What is written while a copy is being checked is noted in memory, so there is an end to that.
func TestACopyWhoseCheckTakesTooLongIsGivenUp(t *testing.T) {
	h := newHalted()
	b := fresh(t, Options{Keep: time.Hour, tick: time.Hour, DeepCheck: h.check}, "app")
	b.backlog(1)
	done := b.compact()
	<-h.reached
	r := b.replica.Load()
	r.changed.mu.Lock()
	r.changed.count = mostKeys
	r.changed.mu.Unlock()
	b.commit("one more", events(1_000_000, 1)...)
	if err := <-done; !errors.Is(err, errBehind) {
		t.Errorf("got %v", err)
	}
	b.commit("goes on", events(2_000_000, 1)...)
	if n := len(b.next("app", 1000, 0).Deliveries); n != 102 {
		t.Errorf("%d are owed", n)
	}
}

// BenchmarkCompactUnderTraffic: how long a commit and a settlement wait while a store with 350 MB in use is compacted, and how long in as much
// time without that.
func BenchmarkCompactUnderTraffic(bm *testing.B) {
	for range bm.N {
		b := fresh(bm, Options{Keep: time.Hour, Remember: time.Hour, tick: 100 * time.Millisecond}, "app", "behind")
		b.backlog(3500)
		size, reusable := extent(b.db)
		bm.ReportMetric(float64(size-reusable)/1e6, "MB-in-use")
		stop, traffic := make(chan struct{}), sync.WaitGroup{}
		var mu sync.Mutex
		longest, events := time.Duration(0), 0
		waited := func(began time.Time, n int) {
			mu.Lock()
			longest, events = max(longest, time.Since(began)), events+n
			mu.Unlock()
		}
		traffic.Go(func() {
			for n := 1_000_000; ; n += 100 {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
				began := time.Now()
				b.commit(fmt.Sprint(n), benchPage(n)...)
				waited(began, 100)
			}
		})
		traffic.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				due := b.next("behind", 20, 0).Deliveries
				began := time.Now()
				b.settle(event.Delivered, 0, due...)
				waited(began, len(due))
			}
		})
		began := time.Now()
		c, err := b.Compact(context.Background())
		if err != nil {
			bm.Fatal(err)
		}
		took := time.Since(began)
		mu.Lock()
		bm.ReportMetric(longest.Seconds(), "s-longest-wait")
		bm.ReportMetric(c.Paused.Seconds(), "s-pause")
		bm.ReportMetric(took.Seconds(), "s-took")
		bm.ReportMetric(float64(events)/took.Seconds(), "events/s")
		longest = 0
		mu.Unlock()
		time.Sleep(took)
		close(stop)
		traffic.Wait()
		bm.ReportMetric(longest.Seconds(), "s-longest-wait-without")
		b.end()
	}
}
