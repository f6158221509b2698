package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// placing is what a placing process is told: to put a backup of a store, and after it an export, where older ones are.
type placing struct{ Path, Backup, Export string }

func placeCopy(args string) error {
	var p placing
	if err := json.Unmarshal([]byte(args), &p); err != nil {
		return err
	}
	s, err := Open(p.Path, workOptions())
	if err != nil {
		return err
	}
	defer s.Close()
	ctx := context.Background()
	err = PlaceFile(p.Backup, func(f *os.File) error { return s.Backup(ctx, f, func(int64) error { return nil }) }, func(path string) error {
		report, err := CheckFile(ctx, path)
		if err != nil {
			return err
		}
		return report.Err()
	})
	if err != nil {
		return err
	}
	say("A", line{Op: p.Backup})
	err = PlaceFile(p.Export, func(f *os.File) error {
		_, err := s.Export(ctx, f)
		return err
	}, nil)
	if err == nil {
		say("A", line{Op: p.Export})
	}
	return err
}

// The power goes at every moment while a backup and an export are put in place of older ones: each is the old one or the new one,
// whole, and the new one once it was said.
func TestPowerLossInPlacing(t *testing.T) {
	slow(t)
	straced(t, "")
	seeds(t, 2, func(t *testing.T, seed uint64) {
		b := wreck(t)
		dir := fastDir(t)
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		p := placing{Path: b.path, Backup: filepath.Join(data, "backup.db"), Export: filepath.Join(data, "export.jsonl")}
		files := []string{p.Backup, p.Export}
		older, newer, said := map[string][]byte{}, map[string][]byte{}, map[string]bool{}
		for _, file := range files {
			older[file] = bytes.Repeat([]byte("an older one\n"), 1000)
			if err := os.WriteFile(file, older[file], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		disk := newCrashDisk(data)
		if err := disk.load(); err != nil {
			t.Fatal(err)
		}
		calls := record(t, filepath.Join(dir, "trace"), "place", p)
		for _, file := range files {
			var err error
			if newer[file], err = os.ReadFile(file); err != nil || bytes.Equal(newer[file], older[file]) {
				t.Fatalf("%s is the old one: %v", file, err)
			}
		}
		images, points := 0, 0
		for _, c := range append(calls, call{name: "end"}) {
			if c.began && c.name == "write" && c.args[0].word == "1" {
				for _, file := range files {
					said[file] = said[file] || bytes.Contains(c.args[1].text, []byte(file))
				}
			}
			if c.name == "end" || disk.syncs(c) {
				points++
				seen, rnd := map[uint64]bool{}, rand.New(rand.NewPCG(seed, uint64(points)))
				for _, way := range ways {
					at := filepath.Join(dir, fmt.Sprint(points, "-", len(seen)))
					sum, layOut := disk.crash(at, way, rnd)
					if seen[sum] {
						continue
					}
					seen[sum] = true
					if err := layOut(); err != nil {
						t.Fatal(err)
					}
					images++
					for _, file := range files {
						got, err := os.ReadFile(filepath.Join(at, filepath.Base(file)))
						if isNew := bytes.Equal(got, newer[file]); err != nil || !isNew && (said[file] || !bytes.Equal(got, older[file])) {
							t.Fatalf("VIOLATION: power lost before sync %d, %s: %s has %d bytes, said to be in place: %v, %v",
								points, way, filepath.Base(file), len(got), said[file], err)
						}
					}
					removeAll(t, at)
				}
			}
			if err := disk.do(c); c.name != "end" && err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d images of %d moments", images, points)
	})
}
