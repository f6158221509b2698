package sinks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tidings/dispatch"
	"tidings/event"
)

// helper runs one test of this binary in a process of its own.
func helper(t *testing.T, test string, env ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func ignoreSIGXFSZ() { signal.Ignore(syscall.SIGXFSZ) }

func shell(t *testing.T, script string) *Exec {
	t.Helper()
	return newExec(t, ExecOptions{Command: []string{"/bin/sh", "-c", script}})
}

func newExec(t *testing.T, o ExecOptions) *Exec {
	t.Helper()
	if o.Format == "" {
		o.Format = Raw
	}
	o.Sink = "script"
	x, err := NewExec(o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestExecGivesTheEventAndItsFacts(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/x")
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/y")
	t.Setenv("TIDINGS_CONFIG", "/etc/z")
	t.Setenv("TZ", "Europe/London")
	x := newExec(t, ExecOptions{
		Command: []string{"/bin/sh", "-c", `cat; echo "args $# $1 $2"; env | sort`, "name", "a b", "$HOME"},
		Env:     map[string]event.Secret{"EXTRA": event.NewSecret("m0re"), "LANG": event.NewSecret("xx")},
	})
	e := sample("id\x00 "+strings.Repeat("é", 4096), "{ \"a\":\n1 }")
	d := owed(e)
	d[0].Attempts, d[0].Replay = 2, true
	r := want(t, x.Deliver(t.Context(), d), dispatch.Done)
	got := map[string]string{}
	rest, isData := strings.CutPrefix(r.Answer, "{ \"a\":\n1 }\nargs 2 a b $HOME\n")
	if !isData {
		t.Fatalf("got %q", r.Answer)
	}
	for line := range strings.Lines(rest) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		got[name] = value
	}
	for name, value := range map[string]string{
		"EXTRA": "[redacted]", "LANG": "xx", "TZ": "Europe/London", "PATH": os.Getenv("PATH"), "HOME": os.Getenv("HOME"),
		"TIDINGS_EVENT_ID": "id " + strings.Repeat("é", 2046), "TIDINGS_EVENT_TYPE": e.Type, "TIDINGS_EVENT_TIME": "2026-11-21T20:59:00Z",
		"TIDINGS_SOURCE": "flatpeak", "TIDINGS_SINK": "script", "TIDINGS_ATTEMPT": "3", "TIDINGS_REPLAY": "1",
	} {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
		delete(got, name)
	}
	for _, own := range []string{"PWD", "_", "SHLVL", "OLDPWD"} { // the shell's
		delete(got, own)
	}
	if len(got) != 0 {
		t.Errorf("and it got %v", got)
	}
}

func TestExecVerdicts(t *testing.T) {
	for code := 0; code <= 255; code += 1 {
		verdict := dispatch.Retry
		switch code {
		case 0:
			verdict = dispatch.Done
		case 65, 77, 78, 100:
			verdict = dispatch.Permanent
		case 126, 127:
			verdict = dispatch.SinkDown
		case 1, 2, 64, 75, 99, 111, 128, 143, 255:
		default:
			continue
		}
		r := want(t, shell(t, "echo out; echo why >&2; exit "+strconv.Itoa(code)).Deliver(t.Context(), owed(sample("1", "{}"))), verdict)
		if r.Answer != "out\nwhy\n" || code != 0 && (!strings.Contains(r.Reason, "/bin/sh exited with code "+strconv.Itoa(code)) || !strings.HasSuffix(r.Reason, ": why")) {
			t.Errorf("%d: %+v", code, r)
		}
	}
	r := want(t, shell(t, "kill -SEGV $$").Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if !strings.Contains(r.Reason, "signal 11 (segmentation fault)") {
		t.Errorf("%+v", r)
	}
}

func TestExecHidesSecrets(t *testing.T) {
	x := newExec(t, ExecOptions{
		Command: []string{"/bin/sh", "-c", `echo "$0 $KEY"; exit 1`, "arg0ment"},
		Env:     map[string]event.Secret{"KEY": event.NewSecret("k3yk3y")}, Hide: []event.Secret{event.NewSecret("arg0ment")},
	})
	r := want(t, x.Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if r.Answer != "[redacted] [redacted]\n" || r.Reason != "/bin/sh exited with code 1: [redacted] [redacted]" {
		t.Errorf("%+v", r)
	}
}

func TestExecThatCannotBeStartedMakesTheSinkDown(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plain"), "#!/bin/sh\n")
	write(t, filepath.Join(dir, "nointerpreter"), "#!/no/such/shell\n")
	write(t, filepath.Join(dir, "garbage"), "\x01\x02")
	for _, name := range []string{"nointerpreter", "garbage"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{dir + "/none", dir + "/plain", dir + "/nointerpreter", dir + "/garbage", dir, "no-such-program-anywhere"} {
		r := want(t, newExec(t, ExecOptions{Command: []string{program}}).Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.SinkDown)
		if !strings.HasPrefix(r.Reason, program+" can't be started: ") {
			t.Error(r.Reason)
		}
	}
}

func TestExecWithoutReadingIsJudgedByItsCode(t *testing.T) {
	big := `"` + strings.Repeat("x", 8<<20) + `"`
	want(t, shell(t, "exit 0").Deliver(t.Context(), owed(sample("1", big))), dispatch.Done)
	want(t, shell(t, "exec <&-; exit 65").Deliver(t.Context(), owed(sample("1", big))), dispatch.Permanent)
	r := want(t, shell(t, "wc -c").Deliver(t.Context(), owed(sample("1", big))), dispatch.Done)
	if strings.TrimSpace(r.Answer) != strconv.Itoa(len(big)+1) {
		t.Errorf("it read %s bytes, want %d", r.Answer, len(big)+1)
	}
}

func TestExecKeepsTheEndOfItsOutput(t *testing.T) {
	r := want(t, shell(t, "head -c 300000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1").Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Retry)
	if len(r.Answer) != 16<<10 || !strings.HasSuffix(r.Answer, "x\nthe end\n") {
		t.Errorf("%d bytes", len(r.Answer))
	}
}

// gone waits until no process of the group runs. One that has ended may wait for its new parent to notice.
func gone(t *testing.T, group string) {
	t.Helper()
	group = strings.TrimSpace(group)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		alive := ""
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, path := range stats {
			stat, _ := os.ReadFile(path) // PID (NAME) STATE PARENT GROUP, proc_pid_stat(5)
			_, rest, _ := strings.Cut(string(stat), ") ")
			if f := strings.Fields(rest); len(f) > 2 && f[2] == group && f[0] != "Z" && f[0] != "X" {
				alive = path
			}
		}
		if alive == "" {
			return
		}
		if time.Now().After(deadline) {
			pid, _ := strconv.Atoi(group)
			_ = syscall.Kill(-pid, syscall.SIGKILL)
			t.Fatalf("%s of process group %s is alive", alive, group)
		}
	}
}

// untilRuns returns a context that ends when a program has written its id to a file, and is stopped if it says that it stops itself.
func untilRuns(t *testing.T, pidFile string, stopped bool, cause error) context.Context {
	ctx, end := context.WithCancelCause(t.Context())
	go func() {
		for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			pid, _ := os.ReadFile(pidFile)
			stat, _ := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
			if strings.HasSuffix(string(pid), "\n") && (!stopped || strings.Contains(string(stat), ") T ")) {
				end(cause)
			}
		}
	}()
	return ctx
}

func TestExecEndsTheWholeGroupAtTheTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		script string // in which "started" stands for saying so
		least  time.Duration
	}{
		"that obeys":                    {`sleep 60 & started; wait`, 0},
		"that cleans up and says 0":     {`trap 'echo bye; exit 0' TERM; started; while :; do sleep 0.05; done`, 0},
		"that ignores SIGTERM":          {`trap '' TERM; sleep 60 & started; while :; do sleep 1; done`, endGrace},
		"whose grandchild ignores it":   {`(trap '' TERM; exec sleep 60) & sleep 0.1; started; exec sleep 61`, 0},
		"that is stopped":               {`started; kill -STOP $$`, endGrace},
		"whose grandchild has no pipes": {`(trap '' TERM; exec sleep 60 >/dev/null 2>&1 </dev/null) & sleep 0.1; started; wait`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pidFile := filepath.Join(t.TempDir(), "pid")
			ctx := untilRuns(t, pidFile, name == "that is stopped", context.DeadlineExceeded)
			began := time.Now()
			r := want(t, shell(t, "started() { echo started; echo $$ > "+pidFile+"; }; "+c.script).Deliver(ctx, owed(sample("1", "{}"))), dispatch.Retry)
			took := time.Since(began)
			if !strings.Contains(r.Answer, "started") || !strings.Contains(r.Reason, "was ended: it took longer than") {
				t.Errorf("%+v", r)
			}
			if took < c.least || took > 30*time.Second {
				t.Errorf("took %v", took)
			}
			gone(t, read(t, pidFile))
		})
	}
}

func TestExecGivesNoGraceAtAShutdown(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx := untilRuns(t, pidFile, false, dispatch.ErrStopping)
	r := want(t, shell(t, "trap 'echo asked to end' TERM; echo $$ > "+pidFile+"; while :; do sleep 0.1; done").Deliver(ctx, owed(sample("1", "{}"))), dispatch.Retry)
	if r.Answer != "" || !strings.Contains(r.Reason, "it took longer than ") {
		t.Errorf("%+v", r)
	}
	gone(t, read(t, pidFile))
}

func TestExecDoesNotHangOnAGrandchild(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	began := time.Now()
	r := want(t, shell(t, "echo $$ > "+pidFile+"; sleep 60 & echo done; exit 0").Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Done)
	if took := time.Since(began); took > 30*time.Second || r.Answer != "done\n" {
		t.Errorf("took %v: %+v", took, r)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(read(t, pidFile)))
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		t.Errorf("what it left in the background is gone: %v", err)
	}
}

func TestExecLeavesNoProcessAndNoFile(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(entries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	attempts := func() {
		want(t, shell(t, "exit 0").Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.Done)
		want(t, newExec(t, ExecOptions{Command: []string{"/no/such"}}).Deliver(t.Context(), owed(sample("1", "{}"))), dispatch.SinkDown)
		want(t, shell(t, "exit 0").Deliver(ctx, owed(sample("1", "{}"))), dispatch.Retry)
	}
	attempts() // what the runtime opens once
	before := open()
	for range 20 {
		attempts()
	}
	if after := open(); after > before {
		t.Errorf("%d files are open, %d before", after, before)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err == nil && len(children) != 0 {
		t.Errorf("children are left: %s", children)
	}
}

func TestNewExecRefuses(t *testing.T) {
	s := event.NewSecret("hidden\x00")
	for name, o := range map[string]ExecOptions{
		"nothing": {}, "empty": {Command: []string{""}}, "nul": {Command: []string{"a", "b\x00"}},
		"name":  {Command: []string{"a"}, Env: map[string]event.Secret{"A=B": {}}},
		"ours":  {Command: []string{"a"}, Env: map[string]event.Secret{"TIDINGS_SINK": {}}},
		"value": {Command: []string{"a"}, Env: map[string]event.Secret{"A": s}},
	} {
		o.Format = Raw
		if _, err := NewExec(o); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
