package store

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

// One header that is torn, gone or wrong is what the other is for: the store opens with that one and says so, a check calls it a
// remark, and the next transactions write it anew.
func TestOneDamagedHeaderIsToldAndSurvived(t *testing.T) {
	b := wreck(t)
	whole, _ := os.ReadFile(b.path)
	size := os.Getpagesize()
	for name, harm := range map[string]func(page []byte){
		"flipped":        func(page []byte) { page[pageHead+20] ^= 1 },
		"zeroed":         func(page []byte) { clear(page) },
		"torn":           func(page []byte) { clear(page[pageHead+40:]) },
		"another number": func(page []byte) { page[0] ^= 8 },
		"another kind":   func(page []byte) { page[8] ^= 1 },
		"garbage":        func(page []byte) { copy(page, bytes.Repeat([]byte("garbage "), size/8)) },
	} {
		for i := range 2 {
			data := bytes.Clone(whole)
			harm(data[i*size:][:size])
			path := copyStore(t, b.path, data)
			report, err := CheckFile(t.Context(), path)
			if err != nil || report.Err() != nil || !strings.Contains(report.Warning, "header") {
				t.Errorf("%s %d: the check says %v %v %q", name, i, err, report.Err(), report.Warning)
			}
			checked := 0
			s := openAt(t, path, Options{Keep: time.Hour, Remember: time.Hour, tick: time.Hour, DeepCheck: counting(&checked)})
			told := false
			for _, n := range s.told() {
				note, ok := n.(event.StoreNote)
				told = told || ok && note.Warn && strings.Contains(note.What, "header")
			}
			if !told || checked != 1 {
				t.Errorf("%s %d: told %v, checked %d times", name, i, told, checked)
			}
			if owed := s.sink("other").Owed; owed != 400 {
				t.Errorf("%s %d: other is owed %d", name, i, owed)
			}
			s.apply(topology("app", "other"))
			for _, position := range []string{"p50", "p51", "p52"} {
				s.commit(position)
			}
			s.end()
			if report, err := CheckFile(t.Context(), path); err != nil || report.Err() != nil || report.Warning != "" {
				t.Errorf("%s %d: after two transactions the check says %v %v %q", name, i, err, report.Err(), report.Warning)
			}
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
}

func counting(n *int) DeepCheck {
	return func(ctx context.Context, path string) (CheckReport, error) {
		*n++
		return CheckFile(ctx, path)
	}
}

func TestADoubtfulStoreThatFailsItsCheckIsNotOpened(t *testing.T) {
	b := wreck(t)
	data, _ := os.ReadFile(b.path)
	data[pageHead+20] ^= 1
	path := copyStore(t, b.path, data)
	_, err := Open(path, Options{DeepCheck: func(context.Context, string) (CheckReport, error) {
		return CheckReport{}, errors.New("the check did not end within 1s")
	}})
	if damaged, ok := errors.AsType[*DamagedError](err); !ok || !strings.Contains(damaged.Error(), "did not end") {
		t.Fatalf("got %v", err)
	}
}
