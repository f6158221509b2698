package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

func TestOpenCreatesOnlyWhenAsked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "store.db")
	if _, err := Open(path, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Fatal("something was made")
	}
	openAt(t, path, Options{}).end()
	for name, want := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Fatalf("%s: %v %v", name, info.Mode(), err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 3 { // the store, the mark that it is there, the copy of the positions
		t.Fatalf("left: %v", left)
	}
}

func TestASecondInstanceIsToldWho(t *testing.T) {
	b := fresh(t, Options{}, "app")
	_, err := Open(b.path, Options{})
	var use *InUseError
	if !errors.As(err, &use) || use.PID != os.Getpid() || !strings.Contains(err.Error(), "in use by process") {
		t.Fatalf("got %v", err)
	}
}

func TestOpenRefusesWhatItCannotRead(t *testing.T) {
	cases := map[string]func(path string) error{
		"is an empty file": func(path string) error { return os.Truncate(path, 0) },
		"is damaged": func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("not a store ", 2000)), 0o600)
		},
		"written by a newer version": func(path string) error {
			return edit(path, func(tx *bolt.Tx) error {
				meta := tx.Bucket([]byte(bucketMeta))
				return sign(meta, seqKey(schema+1), meta.Get([]byte("uuid")), meta.Get([]byte("hashkey")))
			})
		},
		"recognisable was changed": func(path string) error {
			return edit(path, func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketMeta)).Put([]byte("schema"), seqKey(schema+1)) })
		},
		"database of another program": func(path string) error {
			return errors.Join(os.Remove(markerPath(path)), os.Remove(sidePath(path)), edit(path, func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(bucketLog)) }))
		},
		"it lacks what every store has": func(path string) error {
			return edit(path, func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(bucketLog)) })
		},
		"the last number given out": func(path string) error {
			return edit(path, func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte(bucketAside))
				key := seqKey(3)
				return b.Put(key, asideRecord(key, event.SetAside{What: "x"}, nil))
			})
		},
		"the deliveries of sink app are missing": func(path string) error {
			return edit(path, func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(prefixX + "app")) })
		},
		"what belongs elsewhere": func(path string) error {
			return edit(path, func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketLog)).Put([]byte("short"), []byte("x")) })
		},
		"the record of source api": func(path string) error {
			return edit(path, func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketSrc)).Put([]byte("api"), []byte("S1xxxxxxx")) })
		},
	}
	for want, damage := range cases {
		b := fresh(t, Options{}, "app")
		b.end()
		if err := damage(b.path); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(b.path)
		_, err := Open(b.path, Options{Create: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
		if after, _ := os.ReadFile(b.path); !slices.Equal(before, after) {
			t.Errorf("%s: the file was changed", want)
		}
	}
}

func edit(path string, fn func(*bolt.Tx) error) error {
	db, err := bolt.Open(path, 0o600, boltOptions())
	if err != nil {
		return err
	}
	return errors.Join(db.Update(fn), db.Close())
}

func flip(at int) func(key, value []byte) []byte {
	return func(_, value []byte) []byte {
		if at < 0 {
			at += len(value)
		}
		value[at] ^= 0x10
		return value
	}
}

func TestUnreadableEventsBecomeDeadLetters(t *testing.T) {
	for name, damage := range map[string]func(key, value []byte) []byte{
		"body": flip(-2), "head": flip(eventHead + 1), "wants": func(key, value []byte) []byte {
			h, err := readHead(key, value)
			if err != nil {
				t.Error(err)
			}
			value[h.rest-2] ^= 0x10 // app, of the two sinks that want it
			return value
		},
		"magic": flip(0), "version": flip(1), "cut off": func(_, v []byte) []byte { return v[:5] },
	} {
		t.Run(name, func(t *testing.T) {
			b := fresh(t, Options{}, "app", "other", "else")
			only := topology("app", "other", "else")
			only.Sinks[2].Events = event.Filter{"else"}
			b.apply(only)
			evs := events(1, 5)
			evs[4].Type = "else"
			b.commit("p", evs...)
			b.settle(event.Retry, 0, b.next("other", 5, 0).Deliveries...)
			b.end()
			b.editRecord(bucketLog, 3, damage)
			b = openAt(t, b.path, b.opt)
			if got := ids(b.next("app", 9, 9).Deliveries); !slices.Equal(got, []string{"evt_1", "evt_2", "evt_4", "evt_5"}) {
				t.Fatalf("app got %v", got)
			}
			if got := ids(b.next("other", 9, 9).Deliveries); !slices.Equal(got, []string{"evt_1", "evt_2", "evt_4", "evt_5"}) {
				t.Fatalf("other got %v", got)
			}
			if got := ids(b.next("else", 9, 9).Deliveries); !slices.Equal(got, []string{"evt_5"}) {
				t.Fatalf("else got %v", got)
			}
			all := b.letters(event.DeadQuery{})
			if len(all) != 2 || all[0].Event.ID != "unreadable-3" || !strings.Contains(all[0].Reason, "log/3") || all[1].Sink != "other" {
				t.Fatalf("%+v", all)
			}
			told := 0
			for _, n := range b.told() {
				if _, ok := n.(event.SetAside); ok {
					told++
				}
			}
			if told != 2 {
				t.Fatalf("told %d times", told)
			}
			if n, err := b.RetryDead(t.Context(), "app", []uint64{3}); n != 0 || err != nil {
				t.Fatalf("%d %v", n, err)
			}
		})
	}
}

func TestAMissingEventIsNotWaitedForForever(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p", events(1, 3)...)
	b.end()
	b.editRecord(bucketLog, 3, func(_, _ []byte) []byte { return nil })
	db, err := bolt.Open(b.path, 0o600, boltOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b = openAt(t, b.path, b.opt)
	due := b.next("app", 9, 0)
	if len(due.Deliveries) != 2 {
		t.Fatalf("%v", ids(due.Deliveries))
	}
	if due = b.next("app", 9, 0); due.More || len(due.Deliveries) > 0 || b.sink("app").Owed != 2 {
		t.Fatalf("%+v, owed %d", due, b.sink("app").Owed)
	}
}

func TestOtherUnreadableRecords(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p", events(1, 3)...)
	due := b.next("app", 3, 0).Deliveries
	b.settle(event.Retry, time.Hour, due[0])
	b.settle(event.Dead, 0, due[1])
	b.end()
	b.editRecord(prefixX+"app", 1, flip(-1))
	b.editRecord(prefixDead+"app", 2, flip(-1))
	b.editRecord(bucketIDs, 1, flip(-1))
	b = openAt(t, b.path, b.opt)
	for range 2 { // the second time it is repaired
		all := b.letters(event.DeadQuery{})
		if len(all) != 2 || all[0].Event.ID != "evt_1" || !strings.Contains(all[0].Reason, "x/app/1") || all[1].Event.ID != "unreadable-2" {
			t.Fatalf("%+v", all)
		}
	}
	if n, err := b.RetryDead(t.Context(), "app", []uint64{1, 2}); n != 1 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	if n := b.stats().IDs; n != 0 {
		t.Fatalf("%d ids", n)
	}
	told := 0
	for _, n := range b.told() {
		if _, ok := n.(event.SetAside); ok {
			told++
		}
	}
	if told != 3 {
		t.Fatalf("told %d times", told)
	}
	// The ids are lost, which Check says: let their events go, then all is well again.
	if err := b.Check(); err == nil || !strings.Contains(err.Error(), "not remembered") {
		t.Fatalf("check: %v", err)
	}
	b.settle(event.Delivered, 0, b.next("app", 9, 9).Deliveries...)
	b.tidyNow()
}
