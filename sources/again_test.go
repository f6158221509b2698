package sources

import (
	"io"
	"log"
	"os"
	"os/exec"
	"testing"
)

// quiet is the log of servers whose clients are to fail.
var quiet = log.New(io.Discard, "", 0)

// runAgain runs the test in a process of its own, with more in its environment.
func runAgain(t *testing.T, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
