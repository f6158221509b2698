package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// Bits flip one at a time anywhere in the file. Whatever it does is an error that says so and a repair that opens and is whole, or no
// event is delivered with another content than it was taken in with; and none is missing without being told.
func TestFlippedBits(t *testing.T) {
	slow(t)
	stores := []*bench{wreck(t), worn(t)}
	seeds(t, 10, func(t *testing.T, seed uint64) {
		b := stores[seed%2]
		whole, _ := os.ReadFile(b.path)
		used := int(newestHeader(t, whole).pages) * os.Getpagesize()
		random := rand.New(rand.NewPCG(seed, 0))
		ended := map[string]int{}
		for range 300 {
			ended[b.flip(t, whole, random.IntN(used), byte(1)<<random.IntN(8))]++
		}
		t.Log(ended)
	})
}

// The same where no record's checksum covers it: headers, the page with the list of buckets and the small ones in it, heads of pages.
func TestFlippedStructure(t *testing.T) {
	slow(t)
	stores := []*bench{worn(t), wreck(t)}
	seeds(t, 10, func(t *testing.T, seed uint64) {
		b := stores[seed%2]
		whole, _ := os.ReadFile(b.path)
		places := structure(t, whole)
		random := rand.New(rand.NewPCG(seed, 1))
		ended := map[string]int{}
		for range 200 {
			ended[b.flip(t, whole, places[random.IntN(len(places))], byte(1)<<random.IntN(8))]++
		}
		t.Log(ended)
	})
}

// The same with two bits of each letter of the names by which a store finds its way.
func TestFlippedNames(t *testing.T) {
	slow(t)
	b := wreck(t)
	whole, _ := os.ReadFile(b.path)
	newest := newestHeader(t, whole)
	root := whole[int64(newest.root)*newest.pageSize:][:newest.pageSize]
	ended := map[string]int{}
	for _, name := range []string{"uuid", "hashkey", "schema", metaSum, bucketMeta, bucketSrc, bucketLog, bucketIDs, bucketSink, bucketRuns, bucketAgain, "x/app", "dead/app"} {
		at := bytes.Index(root, []byte(name))
		if at < 0 {
			t.Fatalf("there is no %s", name)
		}
		for i := range name {
			for _, bit := range []byte{1, 64} {
				ended[b.flip(t, whole, int(newest.root)*int(newest.pageSize)+at+i, bit)]++
			}
		}
	}
	t.Log(ended)
}

// worn is a wreck that has more: sealed ids, a replay half done, something set aside, and a clock that was wrong.
func worn(t testing.TB) *bench {
	t.Helper()
	first := wreck(t)
	o := first.opt
	o.runSize, o.sealSlice = 80, 20
	b := openAt(t, first.path, o)
	b.apply(topology("app", "other"))
	b.replay(event.Replay{Sink: "app", To: 101}, 100)
	for n := 0; n < 10; {
		again := slices.DeleteFunc(b.next("app", 60, 0).Deliveries, func(d event.Delivery) bool { return !d.Replay })
		if n += len(again); len(again) > 0 {
			b.settle(event.Delivered, 0, again...)
		}
	}
	for range 50 {
		b.tidyNow()
	}
	b.end()
	if err := edit(b.path, func(tx *bolt.Tx) error {
		aside, key := tx.Bucket([]byte(bucketAside)), seqKey(1)
		return errors.Join(aside.SetSequence(1), aside.Put(key, asideRecord(key, event.SetAside{What: "bytes", Why: "they are odd"}, []byte("odd"))),
			tx.Bucket([]byte(bucketMeta)).Put([]byte(metaClock), amended{at: time.Unix(1e9, 0).UTC(), from: 3, to: 5}.record(true)))
	}); err != nil {
		t.Fatal(err)
	}
	b = openAt(t, b.path, o)
	b.apply(topology("app", "other"))
	b.commit("p39")
	b.end()
	return b
}

// structure lists the bytes that no record's checksum covers, as far as they stand together.
func structure(t testing.TB, whole []byte) (places []int) {
	newest := newestHeader(t, whole)
	page := int(newest.pageSize)
	add := func(from, n int) {
		for i := range n {
			places = append(places, from+i)
		}
	}
	add(0, pageHead+headerLen)
	add(page, pageHead+headerLen)
	add(int(newest.root)*page, page)
	for id := 2; id < int(newest.pages); id++ {
		add(id*page, pageHead+2*elementLen)
	}
	return places
}

// flip looks at the store with one bit flipped and says how it ended.
func (b *bench) flip(t *testing.T, whole []byte, at int, bit byte) (how string) {
	data := bytes.Clone(whole)
	data[at] ^= bit
	path := copyStore(t, b.path, data)
	defer os.RemoveAll(filepath.Dir(path))
	failed := func(format string, args ...any) {
		t.Errorf("VIOLATION: bit %d of byte %d: %s", bit, at, fmt.Sprintf(format, args...))
	}
	o := Options{Keep: time.Hour, Remember: time.Hour, tick: time.Hour}
	var mu sync.Mutex
	var notices []event.Notice
	o.Notify = func(n event.Notice) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, n)
	}
	told := func() []event.Notice {
		mu.Lock()
		defer mu.Unlock()
		return notices
	}
	repair, how := "", "taken"
	s, err := Open(path, o)
	if err != nil {
		how = "refused, repaired"
		if bad := isSentence(err.Error()); bad != "" || strings.Contains(err.Error(), "\n") {
			failed("%s%v", bad, err)
		}
		r, err := PlanRepair(t.Context(), path, RepairOptions{})
		if err != nil {
			failed("it can't be repaired: %v", err)
			return "stuck"
		}
		if err := r.Apply(); err != nil {
			failed("%v", err)
		}
		repair = strings.Join(r.Report.Text(), "\n")
		if report, err := CheckFile(t.Context(), path); err != nil || report.Err() != nil {
			failed("after the repair: %v %v", report.Problems, err)
		}
		if s, err = Open(path, o); err != nil {
			failed("after the repair: %v\n%s", err, repair)
			return "stuck"
		}
	}
	if err := s.Check(); err != nil && (repair != "" || !settles(err)) {
		failed("a check: %v\n%s", err, repair)
	}
	if err := s.Apply(t.Context(), topology("app", "other"), false); err != nil {
		failed("%v", err)
	}
	n := 0
	for {
		due, err := s.Next("other", 1000, 0)
		if err != nil {
			failed("%v", err)
			break
		}
		if len(due.Deliveries) == 0 && !due.More {
			break
		}
		for _, d := range due.Deliveries {
			n++
			if want := fmt.Sprintf(`{"n":%s,"pad":"%s"}`, strings.TrimPrefix(d.Event.ID, "evt_"), strings.Repeat("p", 600)); string(d.Event.Data) != want {
				failed("event %s came as %.40q", d.Event.ID, d.Event.Data)
			}
		}
	}
	letters, err := s.Dead(event.DeadQuery{Sink: "other"})
	if err != nil {
		failed("%v", err)
	}
	switch {
	case n+len(letters) < 399, n+len(letters) < 400 && !strings.Contains(repair, "Lost: ") && !vanishedIn(told()):
		failed("other got %d events and has %d dead letters\n%s", n, len(letters), repair)
	case len(letters) > 0 || n < 400:
		how += ", an event lost and told"
	}
	if err := s.Close(); err != nil {
		failed("%v", err)
	}
	return how
}

// vanishedIn reports whether it was told that the log no longer has an event: one whose number was changed.
func vanishedIn(told []event.Notice) bool {
	return slices.ContainsFunc(told, func(n event.Notice) bool {
		a, ok := n.(event.SetAside)
		return ok && strings.Contains(a.Why, "the log no longer has their events")
	})
}

// settles reports whether a check found only what the daemon sets aside and tells when it meets it, what follows from a record under a
// changed key, and what nobody reads.
func settles(err error) bool {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !slices.ContainsFunc([]string{"its checksum is wrong", "not the kind of record", "it is cut off", "can't be read", "the log has", "is not remembered", "is dead and owed",
			"without the event", "is not before the next number", "pages: page 0", "pages: page 1", "pages: Page expected to be: "}, func(known string) bool { return strings.Contains(line, known) }) {
			return false
		}
	}
	return true
}

// The last event of a page is known by another number since: the daemon goes on without it and tells so.
func TestAnEventWhoseNumberWasChanged(t *testing.T) {
	b := wreck(t)
	whole, _ := os.ReadFile(b.path)
	at := int64(-1)
	newTree(bytes.NewReader(whole), newestHeader(t, whole), int64(len(whole))).walk(func(in string, e element) {
		if in == bucketLog && bytes.Equal(e.key, seqKey(400)) {
			at = e.at - 8
		}
	})
	if how := b.flip(t, whole, int(at), 2); how != "taken, an event lost and told" {
		t.Error(how)
	}
}
