package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary the tidings binary as well: scripts and tests run it as a process of its own.
func TestMain(m *testing.M) {
	// A process with the race detector sleeps a second at its end by default; there are hundreds of them here.
	ofTest := os.Getenv("GORACE") != ""
	_ = os.Setenv("GORACE", raceOptions)
	if len(os.Args) > 2 && os.Args[1] == "store" && os.Args[2] == "deep-check" { // started by a process that hands on no environment
		if self, err := os.Executable(); err == nil && !ofTest {
			_ = syscall.Exec(self, os.Args, os.Environ())
		}
		main()
	}
	if filepath.Base(os.Args[0]) != "tidings" { // else a test has set them for this process
		for _, name := range []string{"TIDINGS_CONFIG", "TIDINGS_SOCKET", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_PID"} {
			_ = os.Unsetenv(name)
		}
	}
	testscript.Main(m, map[string]func(){"tidings": main})
}

const raceOptions = "atexit_sleep_ms=0"

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:         "testdata/script",
		WorkdirRoot: shortDir(t),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"waitfor": waitFor,
			"guarded": guarded,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", raceOptions)
			env.Setenv("TMPDIR", env.WorkDir) // what a command leaves in a temporary directory goes with the script
			return nil
		},
		RequireUniqueNames: true,
	})
}

// exits runs a command and fails unless its exit code is the one named first: `exits 78 tidings check`.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		status, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = status.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s exited with %d, want %d", args[1], got, want)
	}
}

// waitFor runs a command again and again until it succeeds, for at most three minutes: `waitfor grep -c x file`.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: waitfor COMMAND [ARG...]")
	}
	var err error
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = ts.Exec(args[0], args[1:]...); err == nil {
			return
		}
	}
	ts.Fatalf("%v did not succeed: %v", args, err)
}
