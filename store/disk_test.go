package store

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/event"
)

// A disk that is truly full: what is owed goes on, and taking in resumes when history has made room.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("can't mount a small file system here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	b := openAt(t, filepath.Join(dir, "store.db"), Options{Keep: 0, tick: 20 * time.Millisecond})
	b.apply(topology("app"))
	page := func(n int) []event.Event {
		evs := events(n, 20)
		for i := range evs {
			evs[i].Data = []byte(strings.Repeat("z", 10_000))
		}
		return evs
	}
	n := 0
	var err error
	for ; err == nil && n < 2000; n += 20 {
		err = b.tryCommit(page(n))
	}
	if !full(err) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d events: %v", n, err)
	}
	for range 5 { // more than three in a row
		if err := b.tryCommit(page(n)); !full(err) {
			t.Fatal(err)
		}
	}
	for {
		due := b.next("app", 50, 0).Deliveries
		if len(due) == 0 {
			break
		}
		b.settle(event.Delivered, 0, due...)
	}
	b.tidyNow()
	if err := b.tryCommit(page(n)); err != nil {
		t.Fatalf("after all was delivered: %v", err)
	}
	select {
	case err := <-b.Failed():
		t.Fatal(err)
	default:
	}
}
