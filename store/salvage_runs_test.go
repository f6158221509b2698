package store

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

// What is remembered survives the loss of a page of a sealed run, as far as that page and the events that are left allow.
func TestRepairKeepsWhatIsRemembered(t *testing.T) {
	slow(t)
	b := fresh(t, Options{Keep: 0, Remember: 100 * time.Hour, tick: time.Hour, runSize: 2000, sealSlice: 500}, "app")
	b.backlog(50)
	b.drain("app")
	for range 200 {
		b.tidy()
	}
	if len(b.st.memory.runs) == 0 {
		t.Fatal("nothing was sealed")
	}
	b.end()
	path := repairedWithout(t, b.path, func(bucket string) bool { return family(bucket) == bucketRun })
	s := openAt(t, path, Options{Keep: 0, Remember: 100 * time.Hour, tick: time.Hour, runSize: 2000, sealSlice: 500})
	s.apply(topology("app"))
	if m := s.st.memory; len(m.runs) == 0 || len(m.tables) > 1 || m.tables[0].count > 0 {
		t.Errorf("%d runs, and %d tables of which the first has %d ids: sorted ids make tables slow", len(m.runs), len(m.tables), m.tables[0].count)
	}
	again := 0
	for i := range 50 {
		again += s.commit("again", benchPage(100*i)...).New
	}
	if again > 5*chunkSize { // a page has four chunks
		t.Errorf("%d of 5000 ids are forgotten", again)
	}
	if again == 0 {
		t.Log("nothing was forgotten: an older copy of the page was found")
	}
}

// repairedWithout repairs a copy of a store that lacks the last page of the buckets named.
func repairedWithout(t *testing.T, path string, lacks func(bucket string) bool) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := newTree(bytes.NewReader(data), newestHeader(t, data), int64(len(data)))
	at := int64(-1)
	w.walk(func(bucket string, e element) {
		if lacks(bucket) {
			at = e.at / w.h.pageSize * w.h.pageSize
		}
	})
	clear(data[at : at+w.h.pageSize])
	path = copyStore(t, path, data)
	r, err := PlanRepair(t.Context(), path, RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A sink's record stays small where events are lost, though it is owed many: each of its settlements writes it.
func TestRepairTellsOneByOneOnlyWhatIsInDoubt(t *testing.T) {
	b := fresh(t, Options{Keep: 0, tick: time.Hour}, "app", "other")
	b.backlog(20)
	due := b.next("app", 300, 0).Deliveries
	b.settle(event.Delivered, 0, due[7:]...)
	b.end()
	path := repairedWithout(t, b.path, func(bucket string) bool { return bucket == bucketLog })
	s := openAt(t, path, Options{Keep: 0, tick: time.Hour})
	s.apply(topology("app", "other"))
	for _, sink := range []string{"app", "other"} {
		k := s.st.sinks[sink]
		left := 1700 + 7
		if sink == "other" {
			left = 2000
		}
		if int(k.fresh) < left-10 || int(k.fresh) == left || len(k.out) > 7 {
			t.Errorf("sink %s: %d are owed, some less than %d, and %d are told one by one", sink, k.fresh, left, len(k.out))
		}
	}
	s.drain("app")
	s.drain("other")
}

// A record that can't be read is no damage that a repair mends, but nobody is told that all is whole.
func TestRepairTellsOfRecordsThatTheDaemonSetsAside(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.backlog(1)
	b.end()
	data, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	w := newTree(bytes.NewReader(data), newestHeader(t, data), int64(len(data)))
	w.walk(func(bucket string, e element) {
		if bucket == bucketLog && bytes.Equal(e.key, seqKey(50)) {
			data[e.at+int64(len(e.value))-1] ^= 1
		}
	})
	r, err := PlanRepair(t.Context(), copyStore(t, b.path, data), RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Discard()
	if text := strings.Join(r.Report.Text(), " "); !r.Report.Whole || r.Report.Unreadable != 1 || !strings.Contains(text, "1 of its records can't be read") {
		t.Errorf("%+v: %s", r.Report, text)
	}
}
