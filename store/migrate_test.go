package store

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// layout1 unpacks a store that the first layout's program wrote: 135 events taken in, of which sink app settled 100 and sink slow
// 10, one of them dead and one to be tried again.
func layout1(t testing.TB) string {
	t.Helper()
	f, err := os.Open("testdata/schema1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnOlderLayoutIsMigrated(t *testing.T) {
	path := layout1(t)
	o := Options{Keep: time.Hour, tick: time.Hour}
	for range 2 {
		b := openAt(t, path, o)
		b.apply(topology("app", "slow"))
		if s := b.stats(); s.Events != 135 || s.IDs != 135 {
			t.Fatalf("%+v", s)
		}
		app, slow := b.sink("app"), b.sink("slow")
		if app.Owed != 35 || slow.Owed != 126 || slow.Retrying != 1 || slow.Dead != 1 {
			t.Fatalf("%+v %+v", app, slow)
		}
		if done := b.commit("p3", events(1, 135)...); done.Repeated != 135 {
			t.Fatalf("%+v", done)
		}
		if err := b.view(func(tx *bolt.Tx) error {
			v, err := checkSchema(tx)
			if v != schema {
				t.Errorf("layout %d", v)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		b.Release("app", b.next("app", 1, 0).Deliveries[0].Seq)
		b.end()
	}
	b := openAt(t, path, o)
	b.apply(topology("app", "slow"))
	b.settle(event.Delivered, 0, b.next("app", 35, 0).Deliveries...)
	if done := b.commit("p4", events(136, 1)...); done.New != 1 || b.sink("app").Owed != 1 {
		t.Fatalf("%+v", done)
	}
}
