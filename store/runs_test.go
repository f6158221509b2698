package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// smallRuns are of 150 ids or a little more, sealed in slices of 40.
var smallRuns = Options{Keep: time.Hour, tick: time.Hour, runSize: 150, sealSlice: 40}

// memoryNow is how many runs there are, whether one is being made, and how many chunks are left that are in runs.
func (b *bench) memoryNow() (runs int, sealing bool, leftover uint64) {
	b.t.Helper()
	if err := b.send(context.Background(), &request{between: func() error {
		m := b.st.memory
		runs, sealing, leftover = len(m.runs), m.sealing != nil, m.leftover
		return nil
	}}); err != nil {
		b.t.Fatal(err)
	}
	return runs, sealing, leftover
}

// allKnown says how many of the events first to last are not remembered.
func (b *bench) unknown(first, last int) int {
	b.t.Helper()
	n := 0
	for _, ev := range events(first, last-first+1) {
		known, err := b.Known("api", []string{ev.ID})
		if err != nil {
			b.t.Fatal(err)
		}
		if !known[0] {
			n++
		}
	}
	return n
}

// unlogged opens a store that remembers all ids of its source and takes none of its events in.
func unlogged(t testing.TB) *bench {
	t.Helper()
	b := openAt(t, filepath.Join(t.TempDir(), "store.db"), smallRuns)
	none := topology()
	none.Sources[0].Events = event.Filter{"none"}
	b.apply(none)
	return b
}

func TestIDsAreSealedIntoRuns(t *testing.T) {
	b := fresh(t, smallRuns, "app")
	for i := range 20 {
		b.commit(fmt.Sprint(i), events(1+50*i, 50)...)
	}
	b.tidyNow()
	runs, sealing, leftover := b.memoryNow()
	if runs != 6 || sealing || leftover != 0 {
		t.Fatalf("%d runs, sealing %v, leftover %d", runs, sealing, leftover)
	}
	chunks := 0
	_ = b.view(func(tx *bolt.Tx) error { chunks = tx.Bucket([]byte(bucketIDs)).Stats().KeyN; return nil })
	if chunks != 2 {
		t.Fatalf("%d chunks are left for 100 ids", chunks)
	}
	for range 2 {
		if n := b.stats().IDs; n != 1000 {
			t.Fatalf("%d ids", n)
		}
		if n := b.unknown(1, 1000); n != 0 {
			t.Fatalf("%d are unknown", n)
		}
		if n := b.unknown(1001, 3000); n != 2000 {
			t.Fatalf("%d of 2000 are unknown", n)
		}
		before := b.txid()
		if done := b.commit("19", events(1, 1000)...); done.Repeated != 1000 || b.txid() != before {
			t.Fatalf("%+v", done)
		}
		if done := b.commit("else", events(1, 1000)...); done.Repeated != 1000 {
			t.Fatalf("%+v", done)
		}
		b.commit("19")
		b = b.again("app")
	}
}

func TestSealingLeavesRequestsTheirTurn(t *testing.T) {
	o := smallRuns
	o.sealSlice = 1
	b := fresh(t, o, "app")
	b.commit("p", events(1, 150)...)
	for range 10 {
		if err := b.Ping(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	part := 0
	if err := b.send(context.Background(), &request{between: func() error { part = b.st.memory.sealing.part; return nil }}); err != nil {
		t.Fatal(err)
	}
	if part < 10 || part > 12 {
		t.Fatalf("%d slices beside ten requests", part)
	}
	b.tidyNow()
	if n := b.unknown(1, 150); n != 0 {
		t.Fatalf("%d are unknown while a run is being made", n)
	}
}

// After each transaction of a store that seals and forgets all the time, the file is whole: opened as after a crash it remembers what it
// should, and goes on.
func TestSealingSurvivesACrashAnywhere(t *testing.T) {
	slow(t)
	synctest.Test(t, func(t *testing.T) {
		o := smallRuns
		o.Remember = 36 * time.Hour
		type image struct {
			path      string
			from, all int // the events that must be remembered
		}
		dir, path := t.TempDir(), filepath.Join(t.TempDir(), "store.db")
		var images []image
		var recording atomic.Bool
		var from, all atomic.Int64
		o.commit = func(tx *bolt.Tx) error {
			err := tx.Commit()
			data, readErr := os.ReadFile(path)
			if recording.Load() {
				i := image{filepath.Join(dir, fmt.Sprintf("image-%d.db", len(images))), int(from.Load()), int(all.Load())}
				if err := errors.Join(readErr, os.WriteFile(i.path, data, 0o600)); err != nil {
					t.Error(err)
				}
				images = append(images, i)
			}
			return err
		}
		b := openAt(t, path, o)
		b.apply(topology("app"))
		recording.Store(true)
		for i := range 7 {
			b.commit(fmt.Sprint(i), events(1+50*i, 50)...)
			all.Add(50)
			b.tidyNow()
		}
		time.Sleep(24*time.Hour + time.Minute)
		from.Store(350) // from here on these may be forgotten
		b.commit("more", events(351, 30)...)
		all.Add(30)
		time.Sleep(13 * time.Hour)
		b.end()
		if len(images) < 20 {
			t.Fatalf("only %d images", len(images))
		}
		o.commit, o.sealSlice = nil, 70 // what a crash left of a run is of no use to the next
		for i, image := range images {
			c := openAt(t, image.path, o)
			if err := c.Check(); err != nil {
				t.Fatalf("image %d: %v", i, err)
			}
			if image.all > image.from {
				if n := c.unknown(image.from+1, image.all); n != 0 {
					t.Fatalf("image %d: %d of %d are unknown", i, n, image.all)
				}
			}
			c.apply(topology("app"))
			c.commit("on", events(1000, 200)...)
			for range 3 {
				c.tidyNow()
			}
			if _, sealing, leftover := c.memoryNow(); sealing || leftover != 0 {
				t.Fatalf("image %d: it stopped sealing", i)
			}
			c.end()
		}
	})
}

func TestIDsAreForgottenAfterRemember(t *testing.T) {
	slow(t)
	for _, seal := range []int{0, 100} { // by age; by number, too
		synctest.Test(t, func(t *testing.T) {
			b := fresh(t, Options{Remember: 48 * time.Hour, Keep: time.Hour, tick: time.Minute, runSize: seal, sealSlice: 30}, "app")
			first := time.Now()
			for i := range 100 { // 20 ids an hour
				b.commit(fmt.Sprint(i), events(20*i, 20)...)
				time.Sleep(time.Hour)
				synctest.Wait()
				if i%10 == 9 {
					b = b.again("app")
				}
				for j := range i + 1 {
					age := time.Since(first.Add(time.Duration(j) * time.Hour))
					known := b.unknown(20*j, 20*j) == 0
					if age <= 48*time.Hour && !known {
						t.Fatalf("hour %d: forgotten after %v", i, age)
					}
					late := 24 * time.Hour
					if seal > 0 {
						late = 6 * time.Hour
					}
					if age > 48*time.Hour+late+5*time.Minute && known {
						t.Fatalf("hour %d: remembered for %v", i, age)
					}
				}
			}
			time.Sleep(73 * time.Hour)
			if n := b.stats().IDs; n != 0 {
				t.Fatalf("%d ids are left", n)
			}
			if done := b.commit("r", events(500, 2)...); done.New != 2 {
				t.Fatalf("%+v", done)
			}
		})
	}
}

// A chunk of a run is damaged: it is set aside and told once, at the opening or when it is read, and the rest is remembered.
func TestADamagedRunLosesAChunk(t *testing.T) {
	b := unlogged(t)
	b.commit("p", events(1, 150)...)
	b.tidyNow()
	b.end()
	spoil := func(path string) {
		err := edit(path, func(tx *bolt.Tx) error {
			bk := tx.Bucket([]byte(bucketRun)).Bucket(seqKey(1))
			key, value := bk.Cursor().Last()
			value = slices.Clone(value)
			value[len(value)-1] ^= 4
			return bk.Put(slices.Clone(key), value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	told := func(b *bench) (n int) {
		for _, notice := range b.told() {
			if aside, ok := notice.(event.SetAside); ok {
				n++
				if !strings.HasPrefix(aside.What, "the record run/1/") || !strings.Contains(aside.Why, "checksum is wrong; ids") {
					t.Errorf("told %q, %q", aside.What, aside.Why)
				}
			}
		}
		return n
	}
	spoil(b.path)
	for i := range 2 {
		b = b.again()
		lost := b.unknown(1, 150)
		if lost < 1 || lost > chunkSize || b.stats().IDs != uint64(150-lost) || told(b) != 1-i {
			t.Fatalf("opening %d: %d lost, %d ids, told %d", i, lost, b.stats().IDs, told(b))
		}
	}

	none := topology()
	none.Sources[0].Events = event.Filter{"none"}
	b.apply(none)

	// And one that is damaged while the store is open.
	err := b.send(context.Background(), &request{between: func() error {
		return b.db.Update(func(tx *bolt.Tx) error {
			bk := tx.Bucket([]byte(bucketRun)).Bucket(seqKey(1))
			key, value := bk.Cursor().First()
			value = slices.Clone(value)
			value[20] ^= 1
			return bk.Put(slices.Clone(key), value)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := b.commit("q", events(1, 150)...)
	if told(b) != 1 || done.Filtered < 2 || b.stats().IDs != 150 {
		t.Fatalf("told %d, %+v, %d ids", told(b), done, b.stats().IDs)
	}
	if n := b.unknown(1, 150); n != 0 {
		t.Fatalf("%d are unknown", n)
	}
}

// A run's record that can't be read is written anew from its chunks.
func TestARunsRecordIsMended(t *testing.T) {
	b := fresh(t, smallRuns, "app")
	b.commit("p", events(1, 150)...)
	b.tidyNow()
	b.end()
	b.editRecord(bucketRuns, 1, func(_, value []byte) []byte { value[7] ^= 1; return value })
	b = b.again("app")
	if n := b.unknown(1, 150); n != 0 || b.stats().IDs != 150 {
		t.Fatalf("%d are unknown, %d ids", n, b.stats().IDs)
	}
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestSealingRestsAfterAFailure(t *testing.T) {
	br := &breaker{err: syscall.EIO}
	o := smallRuns
	o.commit = br.commit
	b := fresh(t, o, "app")
	if err := b.send(context.Background(), &request{between: func() error { b.sealAfter = time.Now().Add(time.Hour); return nil }}); err != nil {
		t.Fatal(err)
	}
	b.commit("p", events(1, 400)...)
	for _, kept := range []bool{false, true, false} {
		br.kept.Store(kept)
		if err := b.send(context.Background(), &request{between: func() error {
			b.sealAfter = time.Time{}
			br.times.Store(1)
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		b.tidyNow()
		if n := b.unknown(1, 400); n != 0 {
			t.Fatalf("%d are unknown", n)
		}
		if err := b.send(context.Background(), &request{between: func() error {
			if time.Until(b.sealAfter) < 30*time.Second {
				t.Error("it doesn't rest")
			}
			return b.db.Sync()
		}}); err != nil {
			t.Fatal(err)
		}
		b.commit("p") // a good one between
		b.commit("q")
	}
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
}

// Ids of the first layout, more than a run's worth, are sealed after the opening.
func TestOlderIDsAreSealed(t *testing.T) {
	o := smallRuns
	o.runSize = 50
	b := openAt(t, layout1(t), o)
	if n := b.unknown(1, 135); n != 0 {
		t.Fatalf("%d are unknown", n)
	}
	b.tidyNow()
	if runs, _, _ := b.memoryNow(); runs != 2 {
		t.Fatalf("%d runs", runs)
	}
	if n := b.unknown(1, 135); n != 0 {
		t.Fatalf("%d are unknown", n)
	}
}

func TestCheckSeesADamagedMemory(t *testing.T) {
	cases := map[string]func(tx *bolt.Tx) error{
		"its record says": func(tx *bolt.Tx) error {
			bk := tx.Bucket([]byte(bucketRun)).Bucket(seqKey(1))
			key, _ := bk.Cursor().First()
			return bk.Delete(slices.Clone(key))
		},
		"out of order": func(tx *bolt.Tx) error {
			bk := tx.Bucket([]byte(bucketRun)).Bucket(seqKey(1))
			key, value := bk.Cursor().First()
			at, prints, err := readChunk(key, value, nil)
			if err != nil {
				return err
			}
			slices.Reverse(prints[1:])
			key = slices.Clone(key)
			return bk.Put(key, chunkRecord(key, at, prints))
		},
		"remembered twice": func(tx *bolt.Tx) error {
			key, value := tx.Bucket([]byte(bucketRun)).Bucket(seqKey(1)).Cursor().First()
			at, prints, err := readChunk(key, value, nil)
			if err != nil {
				return err
			}
			chunk := seqKey(tx.Bucket([]byte(bucketIDs)).Sequence())
			return tx.Bucket([]byte(bucketIDs)).Put(chunk, chunkRecord(chunk, at, prints))
		},
		"has no record": func(tx *bolt.Tx) error {
			_, err := tx.Bucket([]byte(bucketRun)).CreateBucket(seqKey(7))
			return err
		},
		"memory and file differ": func(tx *bolt.Tx) error {
			r := run{number: 1, count: 150, newest: time.Now(), through: 4}
			return tx.Bucket([]byte(bucketRuns)).Put(seqKey(1), r.record())
		},
	}
	for want, damage := range cases {
		b := unlogged(t)
		b.commit("p", events(1, 150)...)
		b.tidyNow()
		b.commit("q", events(151, 1)...)
		if err := b.send(context.Background(), &request{between: func() error { return b.db.Update(damage) }}); err != nil {
			t.Fatal(err)
		}
		if err := b.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func randomPrint(rnd *rand.Rand) (f fingerprint) {
	binary.BigEndian.PutUint64(f[:8], rnd.Uint64())
	binary.BigEndian.PutUint64(f[8:], rnd.Uint64())
	return f
}

func TestTableIsASetInParts(t *testing.T) {
	slow(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	table, set := newTable(5000), map[fingerprint]bool{}
	for range 12000 { // more than a run, as when a table waits for its sealing
		f := randomPrint(rnd)
		if rnd.IntN(3) == 0 {
			f[0], f[1] = 255, 255 // a crowd at the end, that goes round
		}
		if table.has(f) {
			t.Fatal("it has what was never put in")
		}
		table.add(f)
		table.add(f)
		set[f] = true
	}
	if table.count != len(set) {
		t.Fatalf("%d, not %d", table.count, len(set))
	}
	var last fingerprint
	for i := range 7 {
		part := table.part(i, 7)
		slices.SortFunc(part, fingerprint.compare)
		for _, f := range part {
			if !set[f] || !table.has(f) || f.compare(last) <= 0 {
				t.Fatalf("part %d: %x after %x", i, f, last)
			}
			delete(set, f)
			last = f
		}
	}
	if len(set) > 0 {
		t.Fatalf("%d are in no part", len(set))
	}
	full := newTable(runSize)
	for range runSize {
		full.add(randomPrint(rnd))
	}
	if bytes := 16 * len(full.slots); bytes > 5_500_000 {
		t.Fatalf("%d bytes for a run", bytes)
	}
}

func TestBloomIsRarelyWrong(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	const n = 100_000
	b := newBloom(n)
	if bits := 256 * len(b.blocks); bits > n*bloomBits+256 {
		t.Fatalf("%d bits", bits)
	}
	var in []fingerprint
	for range n {
		f := randomPrint(rnd)
		b.add(f)
		in = append(in, f)
	}
	for _, f := range in {
		if mask := bloomMask(f); !b.mayHave(f, &mask) {
			t.Fatal("it lost one")
		}
	}
	wrong := 0
	for range n {
		f := randomPrint(rnd)
		if mask := bloomMask(f); b.mayHave(f, &mask) {
			wrong++
		}
	}
	if wrong > n/300 {
		t.Fatalf("wrong %d times in %d", wrong, n)
	}
	t.Logf("wrong %.2f%%", 100*float64(wrong)/n)
}

// What a crash left of a run that was being made is of no use to the next one, which may be cut otherwise.
func TestARunIsBegunAnew(t *testing.T) {
	o := smallRuns
	o.sealSlice = 10
	b := fresh(t, o, "app")
	b.commit("p", events(1, 150)...)
	for range 2 {
		if err := b.Ping(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if _, sealing, _ := b.memoryNow(); !sealing {
		t.Fatal("it isn't sealing")
	}
	b.end()
	o.sealSlice = 70
	b = openAt(t, b.path, o)
	b.tidyNow()
	if runs, _, _ := b.memoryNow(); runs != 1 || b.unknown(1, 150) != 0 {
		t.Fatalf("%d runs, %d are unknown", runs, b.unknown(1, 150))
	}
}
