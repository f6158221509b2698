package store

import (
	"bytes"
	"os"
	"testing"
	"time"
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
	data, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	w := newTree(bytes.NewReader(data), newestHeader(t, data), int64(len(data)))
	at := int64(-1)
	w.walk(func(bucket string, e element) {
		if family(bucket) == bucketRun {
			at = e.at / w.h.pageSize * w.h.pageSize
		}
	})
	clear(data[at : at+w.h.pageSize])
	path := copyStore(t, b.path, data)
	r, err := PlanRepair(t.Context(), path, RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path, Options{Keep: 0, Remember: 100 * time.Hour, tick: time.Hour, runSize: 2000, sealSlice: 500})
	s.apply(topology("app"))
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
