package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is an error that the system gives instead of doing a call.
type fault struct {
	call, errno string
	when        string // strace's: "3" the third one, "3+" from then on
}

// faults are those of every kind of call that the store makes on its files, but write: that one can't be told from the lines
// that the process says, and from what the Go runtime tells itself. A disk that is truly full has it.
func faults(long bool) []fault {
	var all []fault
	add := func(call string, errnos []string, whens ...string) {
		for _, errno := range errnos {
			for _, when := range whens {
				all = append(all, fault{call, errno, when})
			}
		}
	}
	full, broken := []string{"ENOSPC", "EIO"}, []string{"EIO"}
	many, few := []string{"1", "2", "3", "5", "9", "14", "22", "37", "60", "95", "12+", "40+"}, []string{"1", "2", "3"}
	if long {
		for n := range 120 {
			many = append(many, fmt.Sprint(n*3+4))
		}
	}
	add("pwrite64", full, many...)
	add("fdatasync", full, many...)
	add("fsync", full, "1", "2", "3", "4", "6", "2+")
	add("ftruncate", full, append(few, "1+")...)
	add("linkat", full, few...)
	add("linkat", []string{"EPERM"}, "1+") // a file system without links
	add("renameat", full, few...)
	add("unlinkat", broken, few...)
	add("openat", []string{"ENOSPC", "EIO", "EMFILE"}, "5", "6", "7", "8", "9", "10", "11", "12", "14", "16", "20")
	add("mmap", []string{"ENOMEM"}, "1", "2", "3")
	add("flock", []string{"ENOLCK"}, few...)
	return all
}

// Whatever call fails, the process goes on or ends with a sentence, and what it had been told is in the file afterwards.
func TestInjectedFaults(t *testing.T) {
	slow(t)
	straced(t, "")
	seeds(t, 15, func(t *testing.T, seed uint64) {
		jobs := make(chan fault)
		var all sync.WaitGroup
		var mu sync.Mutex
		ended, hit := map[string]int{}, 0
		for range 2 {
			all.Go(func() {
				k := newLooker(t)
				defer k.end()
				for f := range jobs {
					how, injected := injectedRun(t, k, f, seed)
					mu.Lock()
					ended[how]++
					if injected {
						hit++
					}
					mu.Unlock()
				}
			})
		}
		list := faults(*tortureTime >= 10*time.Minute)
		for _, f := range list {
			if t.Failed() {
				break
			}
			jobs <- f
		}
		close(jobs)
		all.Wait()
		t.Logf("%d faults, of which %d were met: %v", len(list), hit, ended)
		if hit < len(list)/2 && !t.Failed() {
			t.Errorf("only %d of %d faults were met: the work is too short for them", hit, len(list))
		}
	})
}

func injectedRun(t *testing.T, k *looker, f fault, seed uint64) (how string, injected bool) {
	dir := fastDir(t)
	defer removeAll(t, dir)
	data, trace := filepath.Join(dir, "data"), filepath.Join(dir, "trace")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Error(err)
		return
	}
	order := workOrder{Path: workPath(data), Seed: seed, Rounds: 2, Steps: 14, Body: 3000}
	name := fmt.Sprintf("%s:error=%s:when=%s", f.call, f.errno, f.when)
	command, env := child(t, "work", order)
	options := []string{"-s", "0", "-e", "trace=" + f.call, "-e", "inject=" + name}
	if f.call == "mmap" { // not those of the Go runtime, which ends without memory
		options = append(options, "-P", order.Path)
	}
	command = append(straced(t, trace, options...), command...)
	limit, stop := context.WithTimeout(t.Context(), 60*time.Second)
	defer stop()
	cmd := exec.CommandContext(limit, command[0], command[1:]...)
	cmd.Env = env
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	record, _ := os.ReadFile(trace)
	injected = bytes.Contains(record, []byte("(INJECTED)"))
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case limit.Err() != nil:
		t.Errorf("VIOLATION: %s: it hangs", name)
		return "hangs", injected
	case err == nil:
		how = "went on"
	case ended && exit.ExitCode() == 1:
		how = "ended with a sentence"
		if bad := isSentence(said.String()); bad != "" {
			t.Errorf("VIOLATION: %s: %s", name, bad)
		}
	default:
		t.Errorf("VIOLATION: %s: %v\n%.2000s", name, err, said.String())
		return "crashed", injected
	}
	e := newExpected(order.Body)
	text := out.String()
	if err := e.hear(text[:strings.LastIndexByte(text, '\n')+1]); err != nil {
		t.Errorf("VIOLATION: %s: %v", name, err)
		return how, injected
	}
	saw, err := k.look(look{Path: order.Path, Known: e.highest(), Body: order.Body, GoOn: true})
	wrong := append(append(saw.Wrong, e.judge(saw.Found)...), saw.Told...)
	if err != nil || saw.Refused != "" {
		wrong = []string{fmt.Sprint(err, saw.Refused)}
	}
	if len(wrong) > 0 {
		t.Errorf("VIOLATION: %s (%s, %q):\n  %.1500s", name, how, said.String(), strings.Join(wrong, "\n  "))
	}
	return how, injected
}
