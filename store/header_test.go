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

// Both headers of a store that was compacted or repaired, and not written since, lead to all of it.
func TestEitherHeaderOfANewFileLeadsToAllOfIt(t *testing.T) {
	whole := func(t *testing.T, path string) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		size := os.Getpagesize()
		for i := range 2 {
			one := bytes.Clone(data)
			clear(one[i*size:][:size])
			s := openAt(t, copyStore(t, path, one), Options{Keep: time.Hour, Remember: time.Hour, tick: time.Hour})
			stats, err := s.Stats()
			if owed := s.sink("other").Owed; err != nil || owed != 400 || stats.Events != 400 || stats.IDs != 400 {
				t.Errorf("without header %d: other is owed %d, %+v %v", i, owed, stats, err)
			}
			if p, err := s.Position("api"); err != nil || string(p.Data) != "p39" {
				t.Errorf("without header %d: api stands at %q, %v", i, p.Data, err)
			}
			s.apply(topology("app", "other"))
			for _, position := range []string{"p40", "p41", "p42"} { // they write the header anew
				s.commit(position)
			}
			s.end()
		}
	}
	t.Run("compacted", func(t *testing.T) {
		b := wreck(t)
		s := openAt(t, b.path, b.opt)
		if _, err := s.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.end()
		whole(t, b.path)
	})
	t.Run("repaired", func(t *testing.T) {
		b := wreck(t)
		data, err := os.ReadFile(b.path)
		if err != nil {
			t.Fatal(err)
		}
		clear(data[:2*os.Getpagesize()])
		if err := os.WriteFile(b.path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := PlanRepair(t.Context(), b.path, RepairOptions{})
		if err == nil {
			err = r.Apply()
		}
		if err != nil {
			t.Fatal(err)
		}
		whole(t, b.path)
	})
}
