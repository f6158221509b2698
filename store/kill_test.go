package store

import (
	"bufio"
	"errors"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A working process is killed at random moments, over and over, and its file compared with what it had been told.
func TestKill(t *testing.T) {
	slow(t)
	seeds(t, 15, func(t *testing.T, seed uint64) {
		const kills = 25
		rnd := rand.New(rand.NewPCG(seed, 0))
		order := workOrder{Path: workPath(t.TempDir()), Rounds: 1000, Steps: 60, Body: 3000}
		e := newExpected(order.Body)
		k := newLooker(t)
		defer k.end()
		for n := range kills {
			order.Seed = rnd.Uint64()
			said := killed(t, order, time.Duration(20+rnd.IntN(250))*time.Millisecond)
			if err := e.hear(said); err != nil {
				t.Fatalf("VIOLATION: kill %d: %v", n, err)
			}
			judgeFile(t, k, e, order)
		}
		t.Logf("%d kills, %d acknowledgements", kills, e.acked)
	})
}

// killed runs a working process for a while and returns the whole lines that it wrote.
func killed(t *testing.T, order workOrder, after time.Duration) string {
	t.Helper()
	command, env := child(t, "work", order)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	var said strings.Builder
	in := bufio.NewReader(out)
	for {
		l, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		said.WriteString(l)
	}
	_ = cmd.Wait()
	return said.String()
}

// judgeFile compares a store whose process has ended with what may be, and goes on from what is.
func judgeFile(t *testing.T, k *looker, e *expected, order workOrder) {
	t.Helper()
	saw, err := k.look(look{Path: order.Path, Known: e.highest(), Body: order.Body})
	if err != nil {
		t.Fatalf("VIOLATION: %v", err)
	}
	if saw.Refused != "" {
		t.Fatalf("VIOLATION: it does not open: %s", saw.Refused)
	}
	if wrong := append(append(saw.Wrong, e.judge(saw.Found)...), saw.Told...); len(wrong) > 0 {
		t.Fatalf("VIOLATION: %.2000s", strings.Join(wrong, "\n  "))
	}
	e.resolve(saw.Found)
}
