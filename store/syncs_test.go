package store

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/event"
)

// A lone settlement costs at most two syncs, and many callers at once share theirs.
func TestSyncsOfASettlement(t *testing.T) {
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	path := workPath(dir)
	command, env := child(t, "syncs", path)
	command = append(straced(t, trace, "-e", "trace=write,fdatasync,fsync"), command...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%.2000s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := readTrace(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	syncs, at := map[string]int{}, ""
	for _, c := range calls {
		switch {
		case c.began && c.name == "write" && c.args[0].word == "1":
			at = strings.TrimSpace(string(c.args[1].text))
		case !c.began && c.name != "write" && c.args[0].path == path:
			syncs[at]++
		}
	}
	t.Logf("syncs: %v", syncs)
	for n := range loneSettlements {
		if got := syncs[fmt.Sprint("lone ", n)]; got == 0 || got > 2 {
			t.Errorf("a lone settlement cost %d syncs", got)
		}
	}
	if got := syncs["together"]; got == 0 || got > 2*callers/4 {
		t.Errorf("%d settlements at once cost %d syncs", callers, got)
	}
	if got := syncs["rest"]; got > 0 {
		t.Errorf("a store at rest synced %d times", got)
	}
}

// The place of a file that another process put there, and that was killed before it synced the directory, is durable before anything
// is promised in it.
func TestOpeningMakesThePlaceOfTheFileDurable(t *testing.T) {
	b := wreck(t)
	dir := t.TempDir()
	calls := record(t, filepath.Join(dir, "trace"), "place", placing{Path: b.path, Backup: filepath.Join(dir, "b.db"), Export: filepath.Join(dir, "e.jsonl")})
	for _, c := range calls {
		if !c.began && !c.failed && (c.name == "fsync" || c.name == "fdatasync") {
			if c.args[0].path != filepath.Dir(b.path) {
				t.Errorf("%s was synced first", c.args[0].path)
			}
			return
		}
	}
	t.Error("nothing was synced")
}

const loneSettlements, callers = 5, 64

// settleCounted is what the process does whose syncs are counted.
func settleCounted(path string) error {
	s, err := Open(path, Options{Create: true, Keep: time.Hour, tick: time.Hour})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := s.Apply(ctx, topology("app"), false); err != nil {
		return err
	}
	p, err := s.Position("api")
	if err != nil {
		return err
	}
	if _, err := s.Commit(ctx, event.Commit{Source: "api", Generation: p.Generation, Events: events(1, loneSettlements+callers)}); err != nil {
		return err
	}
	due, err := s.Next("app", loneSettlements+callers, 0)
	if err != nil {
		return err
	}
	settle := func(n int) error {
		return s.Settle(ctx, []event.Settlement{{Sink: "app", Seq: due.Deliveries[n].Seq, Outcome: event.Delivered}})
	}
	mark := func(text string) { _, _ = os.Stdout.WriteString(text + "\n") }
	for n := range loneSettlements {
		mark(fmt.Sprint("lone ", n))
		if err := settle(n); err != nil {
			return err
		}
	}
	mark("together")
	var all sync.WaitGroup
	errs := make([]error, callers)
	for n := range callers {
		all.Go(func() { errs[n] = settle(loneSettlements + n) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	mark("rest")
	time.Sleep(50 * time.Millisecond)
	mark("end")
	return s.Close()
}
