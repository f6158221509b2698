package store

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPlaceFileIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "backup.db")
	put := func(text string, check func(string) error) error {
		return PlaceFile(file, func(f *os.File) error {
			_, err := io.WriteString(f, text)
			return err
		}, check)
	}
	if err := put("old", nil); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("it is not as it should be")
	if err := put("new", func(string) error { return refused }); !errors.Is(err, refused) {
		t.Fatalf("got %v", err)
	}
	// What a killed one left goes with the next; what another is writing stays.
	left, held := filepath.Join(dir, ".backup.db.partial-1"), filepath.Join(dir, ".backup.db.partial-2")
	for _, name := range []string{left, held} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(held)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file); string(text) != "old" {
		t.Fatalf("it is %q", text)
	}
	if err := put("new", nil); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(file); string(text) != "new" {
		t.Fatalf("it is %q", text)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what was left is there still")
	}
	if _, err := os.Stat(held); err != nil {
		t.Errorf("what another writes: %v", err)
	}
}

// A disk that fills up while a backup is written: the older one stays, and nothing of the new one does.
func TestNoRoomForABackup(t *testing.T) {
	b := wreck(t)
	dir := smallDisk(t, "200k")
	s := openAt(t, b.path, b.opt)
	file := filepath.Join(dir, "backup.db")
	older := bytes.Repeat([]byte("o"), 50_000)
	if err := os.WriteFile(file, older, 0o600); err != nil {
		t.Fatal(err)
	}
	put := func() error {
		return PlaceFile(file, func(f *os.File) error { return s.Backup(t.Context(), f, func(int64) error { return nil }) }, nil)
	}
	for range 2 {
		if err := put(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "backup.db") {
			t.Fatalf("got %v", err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || !bytes.Equal(text, older) {
		t.Fatalf("the older one: %d bytes, %v", len(text), err)
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("left: %v", all)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
}
