package store

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The proofs of this package run the store in a process of its own, which is this test binary again: a page that isn't what it
// should be can end a process or hang it, and a power cut ends one in any case. What the process does it says on fd 1, a line
// before and a line after, and the test compares what the file has with what was said.

var (
	tortureTime  = flag.Duration("torture.time", 0, "go on with random seeds for so long, all proofs together")
	tortureSeed  = flag.Uint64("torture.seed", 0, "repeat the run of this seed")
	tortureSeeds = flag.Uint64("torture.seeds", 1, "run the seeds from 1 to this one")
)

const (
	childRole = "TIDINGS_STORE_CHILD" // what this process is: "", "work", "look", "repair", "place", "compact", "syncs"
	childArgs = "TIDINGS_STORE_ARGS"
)

// TestChild is the process that a proof starts; by itself it does nothing.
func TestChild(t *testing.T) {
	var err error
	switch os.Getenv(childRole) {
	case "":
		return
	case "work":
		err = work(os.Getenv(childArgs))
	case "syncs":
		var path string
		if err = json.Unmarshal([]byte(os.Getenv(childArgs)), &path); err == nil {
			err = settleCounted(path)
		}
	case "repair":
		var path string
		if err = json.Unmarshal([]byte(os.Getenv(childArgs)), &path); err == nil {
			if err = repairNow(path); err == nil {
				_, err = os.Stdout.WriteString("repaired\n")
			}
		}
	case "place":
		err = placeCopy(os.Getenv(childArgs))
	case "compact":
		err = compactNow(os.Getenv(childArgs))
	case "look":
		err = lookAtMany(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child is the command line and the environment of a process with a role.
func child(t testing.TB, role string, args any) (command, env []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	env = append(os.Environ(), childRole+"="+role, childArgs+"="+string(text), "GORACE=atexit_sleep_ms=0")
	if role == "look" && !strings.HasPrefix(os.Getenv("TIDINGS_MUTANT"), "blind-") {
		env = append(env, "TIDINGS_MUTANT=") // who judges does nothing wrong, unless it is reading that is tried
	}
	return []string{self, "-test.run=^TestChild$", "-test.timeout=10m"}, env
}

// seeds runs a proof with one seed, which is always the same: what fails then is what was changed. With -torture.seeds it runs the first
// so many, until one fails; with -torture.time random ones, as many as its percentage of that time allows. It says how to repeat each.
func seeds(t *testing.T, percent int, proof func(t *testing.T, seed uint64)) {
	budget := *tortureTime * time.Duration(percent) / 100
	began := time.Now()
	for n := uint64(1); ; n++ {
		seed := n
		switch {
		case *tortureSeed != 0:
			seed = *tortureSeed
		case *tortureTime != 0:
			seed = rand.Uint64()
		}
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			name, _, _ := strings.Cut(t.Name(), "/")
			t.Logf("the same work, if not at the same moments: go test ./store -run '^%s$' -torture.seed=%d", name, seed)
			proof(t, seed)
		})
		if t.Failed() || *tortureSeed != 0 || n >= *tortureSeeds && time.Since(began) >= budget {
			return
		}
	}
}

// fastDir is a new directory, in memory where there is one: what is proved there needs no disk.
func fastDir(t testing.TB) string {
	t.Helper()
	if _, err := os.Stat("/dev/shm"); err == nil {
		if dir, err := os.MkdirTemp("/dev/shm", "tidings-"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	return t.TempDir()
}
