//go:build mutants

package store

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each proof fails when the store does what is known to be wrong: a proof that no mutant fails is none. Each pair of this list
// runs the proof in a process of its own, with one seed after the other until it fails: always the same ones.
func TestMutants(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct{ proof, mutant, what string }{
		{"TestPowerLoss", "position-first", "a position is stored before its events"},
		{"TestPowerLoss", "owed-last", "events are stored before who is owed them"},
		{"TestPowerLoss", "ids-last", "events are stored before their ids"},
		{"TestPowerLoss", "letter-last", "a delivery is given up before its dead letter is stored"},
		{"TestPowerLoss", "seal-forgets", "ids go before their run is sealed"},
		{"TestPowerLoss", "lazy-settle", "a settlement waits for the next page"},
		{"TestPowerLoss", "early-answer", "an acknowledgement comes before its commit"},
		{"TestPowerLoss", "early-memory", "memory says what is not durable yet"},
		{"TestPowerLoss", "no-sync", "nothing is synced"},
		{"TestPowerLoss", "no-copy-sync", "a compacted copy takes the file's place before it is synced"},
		{"TestPowerLoss", "no-dir-sync", "the directory is not synced"},
		{"TestPowerLoss", "no-swap-sync", "what was written to a compacted store is promised before the directory is synced"},
		{"TestPowerLossInRepair", "no-dir-sync", "the directory is not synced"},
		{"TestPowerLossInPlacing", "no-place-sync", "a backup takes its name before it is synced"},
		{"TestPowerLossInPlacing", "no-dir-sync", "the directory is not synced"},
		{"TestKill", "position-first", "a position is stored before its events"},
		{"TestKill", "letter-last", "a delivery is given up before its dead letter is stored"},
		{"TestKill", "lazy-settle", "a settlement waits for the next page"},
		{"TestKill", "early-answer", "an acknowledgement comes before its commit"},
		{"TestRandomWalk", "delete-while-iterating", "history is deleted under a moving cursor"},
		{"TestRandomWalk", "keep-memory", "an unknown outcome is not read again"},
		{"TestRandomWalk", "blind-copy", "a compaction's copy doesn't follow what is written"},
		{"TestRandomWalk", "blind-clock", "a clock in doubt is believed"},
		{"TestRandomWalk", "lazy-settle", "a settlement waits for the next page"},
		{"TestBitFlips", "blind-checksum", "records are believed without their checksum"},
		{"TestFlippedBits", "blind-checksum", "records are believed without their checksum"},
		{"TestFlippedNames", "blind-outline", "the parts of a store are not compared, and a repair believes its survey"},
		{"TestFaultsBesideTheWork", "keep-nothing", "a repair does not keep the damaged file"},
		{"TestTruncations", "blind-preflight", "a file is mapped without being examined first"},
		{"TestInjectedFaults", "keep-memory", "an unknown outcome is not read again"},
		{"TestInjectedFaults", "early-answer", "an acknowledgement comes before its commit"},
		{"TestSyncsOfASettlement", "no-sync", "nothing is synced"},
		{"TestOpeningMakesThePlaceOfTheFileDurable", "no-dir-sync", "the directory is not synced"},
		{"TestEitherHeaderOfANewFileLeadsToAllOfIt", "half-header", "one header of a compacted or repaired file leads to a part of it"},
	} {
		t.Run(m.proof+"/"+m.mutant, func(t *testing.T) {
			limit, stop := context.WithTimeout(t.Context(), 10*time.Minute)
			defer stop()
			cmd := exec.CommandContext(limit, self, "-test.run=^"+m.proof+"$", "-torture.seeds=100", "-test.v")
			cmd.Env = append(os.Environ(), "TIDINGS_MUTANT="+m.mutant)
			began := time.Now()
			out, err := cmd.CombinedOutput()
			how := howItDied(string(out))
			switch {
			case limit.Err() != nil:
				t.Errorf("%s: the proof did not end", m.what)
			case strings.Contains(string(out), "--- SKIP: "+m.proof):
				t.Skip("the proof can't run here")
			case err == nil || !strings.Contains(string(out), "--- FAIL: "+m.proof) || how == "":
				t.Errorf("%s, and the proof does not see it: %v\n%.3000s", m.what, err, out)
			default:
				t.Logf("%s: seen after %.1fs with seed %d: %.160s", m.what, time.Since(began).Seconds(), strings.Count(string(out), "the same work, if not"), how)
			}
		})
	}
}

// howItDied is the first thing that a proof said against a mutant.
func howItDied(out string) string {
	lines := strings.Split(out, "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "VIOLATION: ") })
	if at < 0 { // the proofs that are older than this word end with what they found
		at = slices.IndexFunc(lines, func(l string) bool {
			return strings.Contains(l, "_test.go:") && !strings.Contains(l, "repeat with") && !strings.Contains(l, "the same work") && !strings.Contains(l, ": syncs: ")
		})
	}
	if at < 0 {
		return ""
	}
	_, said, _ := strings.Cut(lines[at], ": ")
	if strings.HasSuffix(said, ":") && at+1 < len(lines) {
		said += " " + strings.TrimSpace(lines[at+1])
	}
	return strings.TrimPrefix(said, "VIOLATION: ")
}
