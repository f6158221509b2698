package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// wreck is a closed store with everything in it: app has delivered 1 to 300, failed at 301, given up on 302 and is owed the
// rest; other is owed all.
func wreck(t testing.TB) *bench {
	t.Helper()
	b := fresh(t, Options{Keep: time.Hour, Remember: time.Hour, tick: time.Hour}, "app", "other")
	for i := range 40 {
		evs := events(10*i+1, 10)
		for j := range evs {
			evs[j].Data = fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, 10*i+j+1, strings.Repeat("p", 600))
		}
		b.commit(fmt.Sprintf("p%d", i), evs...)
	}
	due := b.next("app", 302, 0).Deliveries
	b.settle(event.Delivered, 0, due[:300]...)
	b.settle(event.Retry, time.Hour, due[300])
	b.settle(event.Dead, 0, due[301])
	b.end()
	return b
}

func truncate(n int64) func([]byte) []byte { return func(data []byte) []byte { return data[:n] } }

// newestHeader is the file's newest header.
func newestHeader(t testing.TB, data []byte) header {
	t.Helper()
	a, errA := readHeader(bytes.NewReader(data), 0)
	b, errB := readHeader(bytes.NewReader(data), int64(os.Getpagesize()))
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if a.txid > b.txid {
		return a
	}
	return b
}

// pageOf finds a branch or a leaf page that the newest header leads to.
func pageOf(t testing.TB, data []byte, flags uint16, bucket string) int64 {
	t.Helper()
	found := int64(-1)
	w := newTree(bytes.NewReader(data), newestHeader(t, data), int64(len(data)))
	w.walk(func(in string, e element) {
		if in == bucket && flags == flagLeaf {
			found = e.at / w.h.pageSize
		}
	})
	if flags == flagBranch {
		for id := range int64(w.there) {
			page := data[id*w.h.pageSize:]
			if order.Uint16(page[8:]) == flagBranch && w.visited[id/64]&(1<<(id%64)) != 0 {
				found = id
			}
		}
	}
	if found < 0 {
		t.Fatal("there is no such page")
	}
	return found * w.h.pageSize
}

// Every damage of the table ends in an error that says so: never a signal, never a hang, never a store that looks new. Nothing is
// changed, and a repair then makes a store that opens, with nothing owed that is not there and all that could be read.
func TestDamageIsToldAndRepaired(t *testing.T) {
	b := wreck(t)
	whole, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	page := int64(os.Getpagesize())
	used := int64(newestHeader(t, whole).pages) * page
	cases := []struct {
		name, want string
		damage     func(data []byte) []byte
		events     int // at least as many are kept; -1: all
	}{
		{"empty", "is an empty file", truncate(0), 0},
		{"one byte", "neither of its two headers", truncate(1), 0},
		{"one page", "cut off", truncate(page), 0},
		{"two pages", "cut off", truncate(2 * page), 0},
		{"64 KiB", "cut off", truncate(64 << 10), 0},
		{"a third", "cut off", truncate(used / 3), 60},
		{"a half", "cut off", truncate(used / 2), 100},
		{"odd middle", "cut off", truncate(used/2 + 1234), 100},
		{"last byte", "cut off", truncate(used - 1), 300},
		{"both headers", "neither of its two headers", func(d []byte) []byte { clear(d[:2*page]); return d }, -1},
		{"other file", "neither of its two headers", func(d []byte) []byte { return bytes.Repeat([]byte("no store "), 9000) }, 0},
		{"middle zeroed", "page", func(d []byte) []byte { clear(d[used/3 : used/2]); return d }, 150},
		{"wrong page", "something else stands", func(d []byte) []byte {
			at := pageOf(t, d, flagLeaf, bucketLog)
			copy(d[at:], d[pageOf(t, d, flagBranch, ""):][:page])
			return d
		}, 300},
		{"page cycle", "referred to twice", func(d []byte) []byte {
			at := pageOf(t, d, flagBranch, "")
			order.PutUint64(d[at+pageHead+8:], uint64(at/page))
			return d
		}, -1},
		{"page far away", "it is referred to", func(d []byte) []byte {
			at := pageOf(t, d, flagBranch, "")
			order.PutUint64(d[at+pageHead+8:], 1<<39)
			return d
		}, -1},
		{"entry out of its page", "its entries can't be", func(d []byte) []byte {
			order.PutUint32(d[pageOf(t, d, flagLeaf, bucketLog)+pageHead+12:], 1<<31)
			return d
		}, 300},
		{"keys not in order", "not in order", func(d []byte) []byte {
			at := pageOf(t, d, flagLeaf, bucketLog)
			pos := int64(order.Uint32(d[at+pageHead+4:]))
			binary.BigEndian.PutUint64(d[at+pageHead+pos:], 1<<40)
			return d
		}, 300},
		{"list of buckets", "page", func(d []byte) []byte {
			clear(d[int64(newestHeader(t, d).root)*page:][:page])
			return d
		}, -1},
		{"source", "the record of source", func(d []byte) []byte { return flipIn(t, d, bucketSrc, "api") }, -1},
		{"sink", "the record of sink", func(d []byte) []byte { return flipIn(t, d, bucketSink, "app") }, -1},
		{"hash key", "recognisable was changed", func(d []byte) []byte { return flipIn(t, d, bucketMeta, "hashkey") }, -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := copyStore(t, b.path, c.damage(bytes.Clone(whole)))
			before, _ := os.ReadFile(path)
			_, err := Open(path, Options{Create: true})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "store repair") {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "goroutine") {
				t.Errorf("not one sentence: %v", err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Fatal("the file was changed")
			}
			r, err := PlanRepair(t.Context(), path, RepairOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Fatal("planning changed the file")
			}
			if err := r.Apply(); err != nil {
				t.Fatal(err)
			}
			if aside, err := os.ReadFile(r.Report.Aside); err != nil || !bytes.Equal(aside, before) {
				t.Fatalf("the damaged file is not kept: %v", err)
			}
			t.Log(strings.Join(r.Report.Text(), "\n"))
			want := c.events
			if want < 0 {
				want = 400
			}
			if got := r.Report.Kept["events"]; got < want {
				t.Errorf("%d events were kept, of %d", got, want)
			}
			s := openAt(t, path, Options{Keep: time.Hour, Remember: time.Hour, tick: time.Hour})
			s.apply(topology("app", "other"))
			p, err := s.Position("api")
			if err != nil || !strings.HasPrefix(string(p.Data), "p3") {
				t.Errorf("position %q, %v", p.Data, err)
			}
			if c.events < 0 && c.name != "hash key" {
				if owed := s.sink("other").Owed; owed != 400 {
					t.Errorf("other is owed %d", owed)
				}
				if k := s.sink("app"); k.Owed < 99 || k.Retrying < 1 || k.Dead != 1 && k.Owed != 100 { // the dead letter may be owed again
					t.Errorf("app: %+v", k)
				}
			}
			// Whatever is owed can be handed out, and what is new gets a new number.
			for _, name := range []string{"app", "other"} {
				for due := s.next(name, 1000, 1000); len(due.Deliveries) > 0; due = s.next(name, 1000, 1000) {
					s.settle(event.Delivered, 0, due.Deliveries...)
				}
			}
			if done := s.commit("after", events(1001, 3)...); done.New != 3 {
				t.Errorf("%+v", done)
			}
			if got := ids(s.next("other", 9, 0).Deliveries); !slices.Equal(got, []string{"evt_1001", "evt_1002", "evt_1003"}) {
				t.Errorf("then came %v", got)
			}
		})
	}
}

// copyStore makes a data directory like that of the store at path, with other content.
func copyStore(t testing.TB, path string, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{markerPath(path), sidePath(path)} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// flipIn flips a bit in the value of one record.
func flipIn(t testing.TB, data []byte, bucket, key string) []byte {
	t.Helper()
	at := int64(-1)
	newTree(bytes.NewReader(data), newestHeader(t, data), int64(len(data))).walk(func(in string, e element) {
		if in == bucket && string(e.key) == key {
			at = e.at + int64(len(e.value)) - 1
		}
	})
	if at < 0 {
		t.Fatal("there is no such record")
	}
	data[at] ^= 0x10
	return data
}

func TestAMissingStoreIsNoFirstStart(t *testing.T) {
	b := wreck(t)
	if err := os.Remove(b.path); err != nil {
		t.Fatal(err)
	}
	mark, err := os.ReadFile(markerPath(b.path))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(markerPath(b.path)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(b.path, Options{Create: true}); err == nil || !strings.Contains(err.Error(), sidePath(b.path)+" says that there was one") {
		t.Fatalf("without the mark: %v", err)
	}
	if err := os.WriteFile(markerPath(b.path), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // also the second time: the first one made nothing
		_, err := Open(b.path, Options{Create: true})
		if m, ok := errors.AsType[*MissingError](err); !ok || errors.Is(err, fs.ErrNotExist) || !strings.Contains(m.Error(), "store repair") {
			t.Fatalf("got %v", err)
		}
	}
	r, err := PlanRepair(t.Context(), b.path, RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, b.path, b.opt)
	s.apply(topology("app", "other"))
	if p, _ := s.Position("api"); string(p.Data) != "p39" {
		t.Fatalf("position %q", p.Data)
	}
	s.end()
	if r, err = PlanRepair(t.Context(), b.path, RepairOptions{}); err != nil || !r.Report.Whole {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := r.Apply(); err != nil {
		t.Fatal(err)
	}
	// From nothing means from nothing.
	if r, err = PlanRepair(t.Context(), b.path, RepairOptions{FromNothing: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, b.path, b.opt)
	s.apply(topology("app"))
	if p, _ := s.Position("api"); p.Data != nil {
		t.Fatalf("position %q", p.Data)
	}
}

func TestAnotherStoreUnderTheSameMark(t *testing.T) {
	b, other := wreck(t), wreck(t)
	data, _ := os.ReadFile(other.path)
	_, err := Open(copyStore(t, b.path, data), Options{})
	if err == nil || !strings.Contains(err.Error(), "another store") {
		t.Fatalf("got %v", err)
	}
}

func TestNetworkFileSystemsAreRefused(t *testing.T) {
	nfs := func(string) (uint32, error) { return 0x6969, nil }
	path := filepath.Join(t.TempDir(), "store.db")
	_, err := Open(path, Options{Create: true, magic: nfs})
	if n, ok := errors.AsType[*NetworkFSError](err); !ok || n.Kind != "nfs" {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a store was made")
	}
	openAt(t, path, Options{AllowNetworkFS: true, magic: nfs}).end()
	if _, err := Open(path, Options{magic: nfs}); err == nil {
		t.Fatal("an existing one was opened")
	}
}

func TestBboltAgreesWithWhatIsExamined(t *testing.T) {
	b := wreck(t)
	report, err := CheckFile(t.Context(), b.path)
	if err != nil || report.Err() != nil || report.Unreadable > 0 || report.Records[bucketLog] != 400 {
		t.Fatalf("%+v, %v", report, err)
	}
	counted := map[string]int{}
	db, err := bolt.Open(b.path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_ = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bk *bolt.Bucket) error {
			if n := bk.Stats().KeyN; n > 0 {
				counted[string(name)] = n
			}
			return nil
		})
	})
	for name, n := range counted {
		if report.Records[name] != n {
			t.Errorf("%s: bbolt has %d, the check counted %d", name, n, report.Records[name])
		}
	}
}
