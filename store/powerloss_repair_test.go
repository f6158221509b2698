package store

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The power goes at every moment of a repair: what is left opens as the repaired store, or is refused and can be repaired again
// to the same; it is never taken for a first start, and the damaged file is never gone.
func TestPowerLossInRepair(t *testing.T) {
	slow(t)
	straced(t, "")
	t.Run("links", func(t *testing.T) { powerLossInRepair(t) })
	t.Run("no links", func(t *testing.T) { powerLossInRepair(t, "-e", "inject=linkat:error=EPERM") })
}

func powerLossInRepair(t *testing.T, options ...string) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		dir := fastDir(t)
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		order := workOrder{Path: workPath(data), Seed: seed, Rounds: 2, Steps: 12, Body: 2000}
		command, env := child(t, "work", order)
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%.2000s", err, out)
		}
		damaged, err := os.ReadFile(order.Path)
		if err != nil {
			t.Fatal(err)
		}
		clear(damaged[:2*diskPage])
		if err := os.WriteFile(order.Path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		disk := newCrashDisk(data)
		if err := disk.load(); err != nil {
			t.Fatal(err)
		}
		k := newLooker(t)
		defer k.end()
		calls := record(t, filepath.Join(dir, "trace"), "repair", order.Path, options...)
		known := map[string]int{"api": 300, "other": 300}
		saw, err := k.look(look{Path: order.Path, Known: known, Body: order.Body})
		if err != nil || saw.Refused != "" || len(saw.Wrong) > 0 {
			t.Fatalf("VIOLATION: what was repaired: %v %s %q", err, saw.Refused, saw.Wrong)
		}
		want := saw.Found
		if len(want) < 10 {
			t.Fatalf("too little was saved for a proof: %v", want)
		}
		images, again, points, done := 0, 0, 0, false
		for _, c := range append(calls, call{name: "end"}) {
			if c.began && c.name == "write" && c.args[0].word == "1" && bytes.HasPrefix(c.args[1].text, []byte("repaired")) {
				done = true
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
					where := fmt.Sprintf("VIOLATION: power lost before sync %d of a repair, %s", points, way)
					if !keeps(t, at, damaged) {
						t.Errorf("%s: the damaged file is gone", where)
					}
					saw, err := k.look(look{Path: workPath(at), Known: known, Body: order.Body, Repair: true})
					switch {
					case err != nil || saw.Refused != "" || len(saw.Wrong) > 0:
						t.Errorf("%s: %v %s %q", where, err, saw.Refused, saw.Wrong)
					case !maps.Equal(saw.Found, want):
						t.Errorf("%s: repaired again %v, it has other things: %d, not %d", where, saw.Repaired, len(saw.Found), len(want))
					case done && saw.Repaired:
						t.Errorf("%s: it was said to be repaired and is not", where)
					}
					if saw.Repaired {
						again++
					}
					if !keeps(t, at, damaged) {
						t.Errorf("%s: the damaged file is gone after the second repair", where)
					}
					removeAll(t, at)
					if t.Failed() {
						return
					}
				}
			}
			if err := disk.do(c); c.name != "end" && err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d images of %d moments, %d of them repaired again", images, points, again)
	})
}

// keeps reports whether a directory has a file with that content.
func keeps(t *testing.T, dir string, content []byte) bool {
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.Size() == int64(len(content)) {
			if data, err := os.ReadFile(filepath.Join(dir, f.Name())); err == nil && bytes.Equal(data, content) {
				return true
			}
		}
	}
	return false
}
