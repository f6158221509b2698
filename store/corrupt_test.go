package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// damage is one thing done to a copy of a store: it returns the file's new bytes.
type damage struct {
	what string
	do   func(whole []byte) []byte
}

// A store with content is damaged in every way of a list: the process that opens it never dies or hangs, says sentences only,
// and never hands out, lacks or adds anything without having told so.
func TestBitFlips(t *testing.T) {
	slow(t)
	seeds(t, 10, func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var all []damage
		for range 300 {
			where, bit := rnd.Float64(), rnd.IntN(8)
			all = append(all, damage{fmt.Sprintf("bit %d at %.6f", bit, where), func(whole []byte) []byte {
				whole[int(where*float64(len(whole)))] ^= 1 << bit
				return whole
			}})
		}
		damageAll(t, seed, all)
	})
}

func TestTruncations(t *testing.T) {
	seeds(t, 5, func(t *testing.T, seed uint64) {
		var all []damage
		cut := func(what string, size func(int) int) {
			all = append(all, damage{"cut to " + what, func(whole []byte) []byte { return whole[:min(len(whole), size(len(whole)))] }})
		}
		for _, size := range []int{0, 1, 511, 512, 4095, 4096, 4097, 8191, 8192, 8193, 12288, 16384, 64 << 10, 64<<10 + 1} {
			cut(fmt.Sprint(size), func(int) int { return size })
		}
		cut("a third", func(n int) int { return n / 3 })
		cut("half", func(n int) int { return n / 2 })
		cut("all but a page", func(n int) int { return n - diskPage })
		cut("all but a byte", func(n int) int { return n - 1 })
		zero := func(what string, from, to func(int) int) {
			all = append(all, damage{what + " zeroed", func(whole []byte) []byte {
				clear(whole[from(len(whole)):to(len(whole))])
				return whole
			}})
		}
		at := func(n int) func(int) int { return func(whole int) int { return min(n, whole) } }
		zero("the first header", at(0), at(diskPage))
		zero("the second header", at(diskPage), at(2*diskPage))
		zero("both headers", at(0), at(2*diskPage))
		zero("the middle", func(n int) int { return n / 3 }, func(n int) int { return n / 2 })
		zero("everything", at(0), func(n int) int { return n })
		all = append(all, damage{"each page takes the place of the next", func(whole []byte) []byte {
			return append(append([]byte{}, whole[:2*diskPage]...), append(whole[3*diskPage:], whole[2*diskPage:3*diskPage]...)...)
		}}, damage{"text", func(whole []byte) []byte { return []byte(strings.Repeat("this is no store ", len(whole)/17)) }})
		damageAll(t, seed, all)
	})
}

// damageAll makes a store with content, and looks at each damaged copy of it.
func damageAll(t *testing.T, seed uint64, all []damage) {
	t.Helper()
	dir := fastDir(t)
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	order := workOrder{Path: workPath(data), Seed: seed, Rounds: 2, Steps: 25, Body: 3000}
	command, env := child(t, "work", order)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	said, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	e := newExpected(order.Body)
	if err := e.hear(string(said)); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(order.Path)
	if err != nil {
		t.Fatal(err)
	}
	whole = inUse(t, order.Path, whole)
	beside := map[string][]byte{}
	names, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if n.Name() != filepath.Base(order.Path) {
			if beside[n.Name()], err = os.ReadFile(filepath.Join(data, n.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	jobs := make(chan int)
	var group sync.WaitGroup
	var mu sync.Mutex
	ended := map[string]int{}
	for range 2 {
		group.Go(func() {
			k := newLooker(t)
			defer k.end()
			for n := range jobs {
				copied := filepath.Join(dir, fmt.Sprint(n))
				if err := os.Mkdir(copied, 0o700); err != nil {
					t.Error(err)
				}
				for name, text := range beside {
					if err := os.WriteFile(filepath.Join(copied, name), text, 0o600); err != nil {
						t.Error(err)
					}
				}
				damaged := all[n].do(append([]byte{}, whole...))
				if err := os.WriteFile(workPath(copied), damaged, 0o600); err != nil {
					t.Error(err)
				}
				how := judgeDamage(t, k, e, workPath(copied), all[n].what, order.Body)
				mu.Lock()
				ended[how]++
				mu.Unlock()
				removeAll(t, copied)
			}
		})
	}
	for n := range all {
		jobs <- n
	}
	close(jobs)
	group.Wait()
	t.Logf("%d damages: %v", len(all), ended)
}

// inUse cuts off the file what no transaction has ever used: damage there is no damage.
func inUse(t *testing.T, path string, whole []byte) []byte {
	t.Helper()
	s, err := Open(path, Options{tick: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	size, _ := extent(s.db)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return whole[:min(len(whole), int(size))]
}

func judgeDamage(t *testing.T, k *looker, e *expected, path, what string, body int) string {
	saw, err := k.look(look{Path: path, Known: e.highest(), Body: body})
	switch {
	case err != nil:
		t.Errorf("VIOLATION: %s: %v", what, err)
		return "crashed"
	case saw.Refused != "":
		if bad := isSentence(saw.Refused); bad != "" {
			t.Errorf("VIOLATION: %s: %s", what, bad)
		}
		return "refused"
	}
	for _, told := range append(saw.Told, saw.Wrong...) {
		if bad := isSentence(told); bad != "" {
			t.Errorf("VIOLATION: %s: %s", what, bad)
		}
	}
	wrong := e.judge(saw.Found)
	for _, w := range saw.Wrong {
		if strings.Contains(w, "was handed") || strings.Contains(w, "dead letter of") || strings.Contains(w, " and ") && !strings.HasPrefix(w, "check:") {
			t.Errorf("VIOLATION: %s: %s", what, w)
			return "delivered wrongly"
		}
	}
	switch {
	case len(wrong) == 0 && len(saw.Wrong) == 0:
		return "nothing is missing"
	case len(saw.Told) > 0:
		return "told"
	case len(wrong) == 0 && harmless(saw.Wrong):
		return "nothing is missing, and a check finds it"
	default:
		t.Errorf("VIOLATION: %s: silent:\n  %.1500s", what, strings.Join(append(wrong, saw.Wrong...), "\n  "))
		return "silent"
	}
}

// harmless reports whether a check found nothing but what costs no delivery: attempts that are kept for a person to read, which are
// set aside and told when their record is next written; and the number of a header's own page, which nobody reads and which the
// next transaction but one writes anew.
func harmless(wrong []string) bool {
	for l := range strings.SplitSeq(strings.Join(wrong, "\n"), "\n") {
		l = strings.TrimPrefix(l, "check: ")
		if !strings.HasPrefix(l, "attempts: ") && !strings.HasPrefix(l, "pages: Page expected to be: 0,") && !strings.HasPrefix(l, "pages: Page expected to be: 1,") &&
			!strings.HasPrefix(l, "pages: page 0: ") && !strings.HasPrefix(l, "pages: page 1: ") {
			return false
		}
	}
	return true
}
