package store

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/event"
)

// A disk that is truly full: what is owed goes on, and taking in resumes when history has made room.
func TestAFullDisk(t *testing.T) {
	t.Run("tmpfs", func(t *testing.T) {
		fullDisk(t, smallDisk(t, "6m"))
	})
	t.Run("ext4", func(t *testing.T) {
		image, dir := filepath.Join(t.TempDir(), "disk"), t.TempDir()
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, 12<<20); err != nil {
			t.Fatal(err)
		}
		for _, command := range [][]string{{"mkfs.ext4", "-q", "-F", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
			if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
				t.Skipf("can't mount a disk here, which takes root: %s: %v: %s", command[0], err, out)
			}
		}
		unmountAfter(t, dir)
		fullDisk(t, dir)
	})
}

// A disk without room for the first start: it is refused with a sentence, and succeeds once there is room.
func TestNoRoomForAFirstStart(t *testing.T) {
	for pages := range 14 {
		dir := smallDisk(t, fmt.Sprintf("%dk", 4+4*pages))
		path := filepath.Join(dir, "store.db")
		s, err := Open(path, Options{Create: true})
		if err == nil {
			if err := s.Close(); err != nil {
				t.Errorf("%d pages: %v", pages, err)
			}
		} else if bad := isSentence(err.Error()); bad != "" || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%d pages: %v %s", pages, err, bad)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
			t.Fatal(err)
		}
		b := openAt(t, path, Options{})
		b.apply(topology("app"))
		b.commit("p", events(1, 3)...)
		b.end()
	}
}

// smallDisk is a directory with so much room and no more; where that can't be had the test is skipped.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("can't mount a small file system here, which takes root: %v", err)
	}
	unmountAfter(t, dir)
	return dir
}

func unmountAfter(t *testing.T, dir string) {
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

func fullDisk(t *testing.T, dir string) {
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
