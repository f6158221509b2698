package store

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// stocked is a closed store with a past: app has delivered 300 of 400, one of these at the second attempt, has given up on one,
// and is half through a replay of the first 100. A clock that was wrong was put right.
func stocked(t testing.TB) *bench {
	t.Helper()
	b := fresh(t, Options{Keep: time.Hour, Remember: time.Hour, tick: time.Hour}, "app")
	for i := range 40 {
		b.commit("p", events(10*i+1, 10)...)
	}
	due := b.next("app", 302, 0).Deliveries
	b.settle(event.Delivered, 0, due[1:301]...)
	b.settle(event.Dead, 0, due[301])
	b.settle(event.Retry, 0, due[0])
	b.settle(event.Delivered, 0, b.next("app", 0, 1).Deliveries...)
	b.replay(event.Replay{Sink: "app", To: 101}, 100)
	for n := 0; n < 50; {
		again := slices.DeleteFunc(b.next("app", 60, 60).Deliveries, func(d event.Delivery) bool { return !d.Replay })
		again = again[:min(len(again), 50-n)]
		if n += len(again); len(again) > 0 {
			b.settle(event.Delivered, 0, again...)
		}
	}
	b.end()
	if err := edit(b.path, func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaClock), amended{at: time.Unix(1e9, 0).UTC(), from: 3, to: 5}.record(true))
	}); err != nil {
		t.Fatal(err)
	}
	b = b.again("app")
	for _, position := range []string{"p40", "p41", "p42"} { // so that older transactions have it too
		b.commit(position)
	}
	b.end()
	return b
}

func TestRepairSavesAttemptsReplaysAndTheClock(t *testing.T) {
	b := stocked(t)
	whole, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	page := newestHeader(t, whole).pageSize
	for name, c := range map[string]struct {
		damage func(d []byte) []byte
		exact  bool // all is found as it was last
	}{
		"no headers":      {func(d []byte) []byte { clear(d[:2*page]); return d }, true},
		"list of buckets": {func(d []byte) []byte { clear(d[int64(newestHeader(t, d).root)*page:][:page]); return d }, false},
		"attempts":        {func(d []byte) []byte { clear(d[pageOf(t, d, flagLeaf, bucketTries):][:page]); return d }, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := copyStore(t, b.path, c.damage(bytes.Clone(whole)))
			r, err := PlanRepair(t.Context(), path, RepairOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Apply(); err != nil {
				t.Fatal(err)
			}
			report := strings.Join(r.Report.Text(), "\n")
			t.Log(report)
			if !strings.Contains(report, "Lost: when deliveries were made, perhaps") {
				t.Error("that attempts may be lost is not said")
			}
			if name != "attempts" && (!strings.Contains(report, "Lost: why deliveries failed before, perhaps") || !strings.Contains(report, "Lost: replays that were not done, perhaps")) {
				t.Error("what may be lost is not said")
			}
			s := openAt(t, path, Options{Keep: time.Hour, Remember: time.Hour, tick: time.Hour})
			s.apply(topology("app"))
			if s.st.amended.to != 5 || !s.st.dated {
				t.Errorf("the clock: %+v", s.st.amended)
			}
			all := s.replays()
			if len(all) != 1 || all[0].Total != 100 || c.exact && all[0].Left != 50 || all[0].Left < 50 {
				t.Errorf("replays: %+v", all)
			}
			tried, failed := 0, len(s.history("evt_1", "app").Tried)
			for n := range 300 {
				if h := s.history(events(n+1, 1)[0].ID, "app"); len(h.Tried) > 0 {
					tried++
				}
			}
			if name != "attempts" && (tried != 300 || failed < 2) { // of these, what other pages still have is chance
				t.Errorf("the attempts of %d deliveries are kept, %d of the first", tried, failed)
			}
			if err := s.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A second repair sets its file aside under a name of its own, however soon it comes.
func TestRepairsOfOneSecond(t *testing.T) {
	b := wreck(t)
	whole, _ := os.ReadFile(b.path)
	clear(whole[:2*os.Getpagesize()])
	for range 4 {
		if err := os.WriteFile(b.path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := PlanRepair(t.Context(), b.path, RepairOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	if kept, _ := filepath.Glob(b.path + ".damaged-*"); len(kept) != 4 {
		t.Errorf("kept %v", kept)
	}
}

func TestExportHasReplays(t *testing.T) {
	b := stocked(t)
	s := openAt(t, b.path, Options{Keep: time.Hour, Remember: time.Hour, tick: time.Hour})
	var out bytes.Buffer
	if _, err := s.Export(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	kinds, replayed := map[string]int{}, 0
	for line := range strings.Lines(out.String()) {
		var e Exported
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		kinds[e.Kind]++
		switch {
		case e.Kind == "replay" && (e.Sink != "app" || e.Total != 100 || e.Left != 50 || e.Started == nil || e.Replay == 0):
			t.Errorf("%s", line)
		case e.Kind == "owed" && e.Replay > 0:
			if replayed++; len(e.Data) == 0 {
				t.Errorf("%s", line)
			}
		}
	}
	if kinds["replay"] != 1 || replayed != 50 || kinds["owed"] != 98+50 || kinds["dead"] != 1 {
		t.Errorf("%v, %d replayed", kinds, replayed)
	}
}

// The clock's record that can't be read is set aside and told, once, and stops nothing.
func TestADamagedClockIsSetAside(t *testing.T) {
	b := stocked(t)
	whole, _ := os.ReadFile(b.path)
	path := copyStore(t, b.path, flipIn(t, whole, bucketMeta, metaClock))
	if report, err := CheckFile(t.Context(), path); err != nil || report.Err() != nil || report.Unreadable != 1 {
		t.Errorf("the check says %+v, %v", report, err)
	}
	for told := range 2 {
		s := openAt(t, path, Options{Keep: time.Hour, Remember: time.Hour, tick: time.Hour})
		n := 0
		for _, notice := range s.told() {
			if a, ok := notice.(event.SetAside); ok && strings.Contains(a.What, metaClock) {
				n++
			}
		}
		if n != 1-told {
			t.Errorf("opened %d times before: told %d times", told, n)
		}
		s.end()
	}
}
