package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func compactNow(args string) error {
	var path string
	if err := json.Unmarshal([]byte(args), &path); err != nil {
		return err
	}
	s, err := Open(path, Options{Keep: time.Hour, tick: time.Hour})
	if err != nil {
		return err
	}
	_, err = s.Compact(context.Background())
	return errors.Join(err, s.Close())
}

// duties are what is done to a store beside its work.
var duties = []string{"repair", "place", "compact"}

// Whatever call fails in a repair, a backup or a compaction: nothing of the store is lost, what stood there stands there still or the new
// one does, a sentence says what went wrong, and the next try succeeds and leaves nothing behind.
func TestFaultsBesideTheWork(t *testing.T) {
	slow(t)
	straced(t, "")
	dir := fastDir(t)
	order := workOrder{Path: workPath(filepath.Join(dir, "data")), Seed: 7, Rounds: 2, Steps: 12, Body: 2000}
	if err := os.Mkdir(filepath.Dir(order.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	command, env := child(t, "work", order)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%.2000s", err, out)
	}
	site := map[string][]byte{}
	files, err := os.ReadDir(filepath.Dir(order.Path))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if site[f.Name()], err = os.ReadFile(filepath.Join(filepath.Dir(order.Path), f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	k := newLooker(t)
	defer k.end()
	whens := []string{"1", "2", "3", "5", "9", "1+", "4+"}
	if *tortureTime >= time.Minute {
		whens = append(whens, "4", "6", "7", "8", "12", "16", "25", "40", "3+")
	}
	hit, ended := 0, map[string]int{}
	for _, duty := range duties {
		d := dutyRun{t: t, k: k, duty: duty, dir: dir, site: maps.Clone(site), body: order.Body}
		if duty == "repair" {
			damaged := bytes.Clone(site["store.db"])
			clear(damaged[:2*diskPage])
			d.site["store.db"] = damaged
		}
		d.run("", "") // what it comes to without a fault
		if t.Failed() {
			return
		}
		for _, call := range []string{"pwrite64", "pread64", "fdatasync", "fsync", "ftruncate", "linkat", "renameat", "unlinkat", "openat", "mkdirat"} {
			for _, errno := range []string{"ENOSPC", "EIO"} {
				for _, when := range whens {
					if call == "openat" && strings.Contains(when, "+") {
						continue // it doesn't get as far as this test
					}
					how, injected := d.run(call, fmt.Sprintf("%s:error=%s:when=%s", call, errno, when))
					if injected {
						hit++
						ended[duty+" "+how]++
					}
				}
			}
		}
	}
	t.Logf("%d faults met: %v", hit, ended)
	if hit < 100 {
		t.Errorf("only %d faults were met", hit)
	}
}

type dutyRun struct {
	t    *testing.T
	k    *looker
	duty string
	dir  string
	site map[string][]byte
	body int
	want map[string]string // what the store has in the end
	runs int
}

func (d *dutyRun) run(call, fault string) (how string, injected bool) {
	d.runs++
	data, away, trace := filepath.Join(d.dir, fmt.Sprint(d.duty, d.runs)), filepath.Join(d.dir, fmt.Sprint("away", d.duty, d.runs)), filepath.Join(d.dir, "trace")
	defer removeAll(d.t, data)
	defer removeAll(d.t, away)
	violated := func(format string, args ...any) {
		d.t.Errorf("VIOLATION: %s with %s: %s", d.duty, fault, fmt.Sprintf(format, args...))
	}
	for _, dir := range []string{data, away} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			d.t.Fatal(err)
		}
	}
	for name, content := range d.site {
		if err := os.WriteFile(filepath.Join(data, name), content, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	path := workPath(data)
	var args any = path
	p := placing{Path: path, Backup: filepath.Join(away, "backup.db"), Export: filepath.Join(away, "export.jsonl")}
	older := []byte("an older one")
	if d.duty == "place" {
		args = p
		for _, file := range []string{p.Backup, p.Export} {
			if err := os.WriteFile(file, older, 0o600); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	command, env := child(d.t, d.duty, args)
	if fault != "" {
		command = append(straced(d.t, trace, "-s", "0", "-e", "trace="+call, "-e", "inject="+fault), command...)
	}
	said, err := runChild(d.t, command, env)
	if fault != "" {
		record, _ := os.ReadFile(trace)
		injected = bytes.Contains(record, []byte("(INJECTED)"))
	}
	if strings.Contains(said, "error while loading shared libraries") {
		return "never began", false
	}
	how = "went well"
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		how = "ended with a sentence"
		if bad := isSentence(said); bad != "" || fault == "" {
			violated("%s %s", bad, said)
		}
	} else if err != nil {
		violated("%v: %.2000s", err, said)
		return "crashed", injected
	}
	switch d.duty {
	case "repair":
		if !keeps(d.t, data, d.site["store.db"]) {
			violated("the damaged file is gone")
		}
	case "place":
		for _, file := range []string{p.Backup, p.Export} {
			got, err := os.ReadFile(file)
			if isOld := bytes.Equal(got, older); err != nil || isOld && how == "went well" {
				violated("%s is the old one, after it %s: %v", filepath.Base(file), how, err)
			} else if report, err := CheckFile(d.t.Context(), file); !isOld && file == p.Backup && (err != nil || report.Err() != nil) {
				violated("the backup is neither the old one nor whole: %v %v", report.Err(), err)
			}
		}
	}
	if how != "went well" { // the next try
		command, env := child(d.t, d.duty, args)
		if said, err := runChild(d.t, command, env); err != nil {
			violated("then the next try: %v %s", err, said)
		}
	}
	saw, err := d.k.look(look{Path: path, Known: map[string]int{"api": 300, "other": 300}, Body: d.body})
	if err != nil || saw.Refused != "" || len(saw.Wrong) > 0 {
		violated("it %s, and then: %v %s %q", how, err, saw.Refused, saw.Wrong)
	}
	if d.want == nil {
		d.want = saw.Found
	} else if !maps.Equal(d.want, saw.Found) {
		violated("it %s, and the store has other things: %d, not %d", how, len(saw.Found), len(d.want))
	}
	for _, dir := range []string{data, away} {
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			known := slices.Contains([]string{"store.db", "store.id", "store.lock", "positions.json", "backup.db", "export.jsonl"}, f.Name())
			if !known && !strings.HasPrefix(f.Name(), "store.db.damaged-") && call != "unlinkat" {
				violated("it %s and left %s", how, f.Name())
			}
		}
	}
	return how, injected
}

// runChild runs a process that must end soon, and returns what it said of its trouble.
func runChild(t *testing.T, command, env []string) (said string, err error) {
	limit, stop := context.WithTimeout(t.Context(), 60*time.Second)
	defer stop()
	cmd := exec.CommandContext(limit, command[0], command[1:]...)
	cmd.Env = env
	var text bytes.Buffer
	cmd.Stderr = &text
	err = cmd.Run()
	if limit.Err() != nil {
		err = errors.New("it hangs")
	}
	return text.String(), err
}
