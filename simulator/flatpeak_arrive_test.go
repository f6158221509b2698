package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLateEventsStandAtTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFlatpeak(Options{})
		old := f.Add(2)
		time.Sleep(time.Minute)
		fresh := f.Add(2)
		late := f.AddLate(30 * time.Second)
		tied := f.AddLate(time.Minute) // of the same second as old, inserted after it
		want := []string{fresh[1].ID, fresh[0].ID, late.ID, tied.ID, old[1].ID, old[0].ID}
		if got := eventIDs(f.Events()); !slices.Equal(got, want) {
			t.Errorf("order %v, want %v", got, want)
		}
		ids, _ := login(t, f).walk(1)
		if !slices.Equal(ids, want) {
			t.Errorf("listed %v, want %v", ids, want)
		}
	})
}

func TestBackfillGoesBehindTheHead(t *testing.T) {
	f := NewFlatpeak(Options{})
	f.Backfill(200, time.Hour)
	head := f.Add(1)[0]
	f.Backfill(200, time.Hour)
	all := f.Events()
	if len(all) != 401 || all[0].ID != head.ID {
		t.Errorf("%d events, head %s", len(all), all[0].ID)
	}
	if !slices.IsSortedFunc(all, func(a, b Event) int { return b.Time.Compare(a.Time) }) {
		t.Error("not newest first")
	}
	ties := 0
	for i := range all[1:] {
		if all[i].Time.Equal(all[i+1].Time) {
			ties++
		}
	}
	if ties < 50 || time.Since(all[400].Time) < 30*time.Minute {
		t.Errorf("%d ties, oldest at %v", ties, all[400].Time)
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFlatpeak(Options{})
		f.SetFaults(Faults{Late: Fault{Share: 0.3, For: time.Minute}})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		if err := f.Run(ctx, 10); err != nil {
			t.Fatal(err)
		}
		n, late := f.Stats().Events, f.Stats().Faults["late"]
		if n < 800 || n > 1200 || late < n/5 || late > n*2/5 {
			t.Errorf("%d events, %d of them late", n, late)
		}
		behind := 0
		times := map[uint64]time.Time{} // by order of arrival
		for _, e := range f.list.entries {
			times[e.seq] = e.Time
		}
		for head, seq := times[1], uint64(2); seq <= uint64(n); seq++ {
			if at := times[seq]; at.Before(head) {
				behind++
				if head.Sub(at) > time.Minute+time.Second {
					t.Errorf("event %d is %v late", seq, head.Sub(at))
				}
			} else {
				head = at
			}
		}
		if behind < late*9/10 || behind > late {
			t.Errorf("%d of %d late events stand behind the head", behind, late)
		}
		if err := f.Run(ctx, 0); err == nil {
			t.Error("a rate of 0 is taken")
		}
	})
}

func documentedTypes() (names []string) {
	for _, t := range flatpeakTypes {
		names = append(names, t.name)
	}
	return names
}

func TestEveryDocumentedType(t *testing.T) {
	f := NewFlatpeak(Options{Seed: 3})
	f.Add(3000)
	counts, undated, unlive, unknown, exact := map[string]int{}, 0, 0, 0, 0
	idForm := regexp.MustCompile(`^evt_[0-9a-f]{24}$`)
	for _, e := range f.Events() {
		var item struct {
			ID, Object, Type string
			Created          *time.Time `json:"time_created"`
			Data             struct {
				Live    *bool  `json:"live_mode"`
				Account string `json:"account_id"`
			}
		}
		if err := json.Unmarshal(e.Raw, &item); err != nil {
			t.Fatalf("%v: %s", err, e.Raw)
		}
		if item.ID != e.ID || !idForm.MatchString(e.ID) || item.Object != "event" || item.Type != e.Type ||
			item.Data.Account != f.accountID {
			t.Fatalf("%+v is listed as %s", e, e.Raw)
		}
		if item.Created == nil {
			undated++
		} else if !item.Created.Equal(e.Time) {
			t.Fatalf("%v is listed with %v", e.Time, item.Created)
		}
		if item.Data.Live == nil {
			unlive++
		}
		if !slices.Contains(documentedTypes(), e.Type) {
			unknown++
		}
		if again, err := json.Marshal(json.RawMessage(e.Raw)); err != nil || !bytes.Equal(again, e.Raw) {
			exact++
		}
		counts[e.Type]++
	}
	if len(documentedTypes()) != 24 {
		t.Errorf("%d types", len(documentedTypes()))
	}
	for _, typ := range documentedTypes() {
		if counts[typ] == 0 {
			t.Errorf("no %s", typ)
		}
	}
	if undated == 0 || unlive == 0 || unknown == 0 || undated+unknown > 300 {
		t.Errorf("%d without a time, %d without live_mode, %d of unknown types", undated, unlive, unknown)
	}
	if exact < 300 {
		t.Errorf("only %d events would not survive marshalling again", exact)
	}
}

func TestPlain(t *testing.T) {
	f := NewFlatpeak(Options{Plain: true})
	for _, e := range f.Add(1000) {
		if !bytes.Contains(e.Raw, []byte("time_created")) || !slices.Contains(documentedTypes(), e.Type) {
			t.Fatalf("odd: %s", e.Raw)
		}
	}
	f.SetFaults(Faults{NoTime: Fault{Next: 2}, Unknown: Fault{Next: 1}})
	if e := f.Add(1)[0]; slices.Contains(documentedTypes(), e.Type) {
		t.Errorf("a documented type: %s", e.Raw)
	}
	if e := f.AddAt(time.Now(), "tariff.expired")[0]; bytes.Contains(e.Raw, []byte("time_created")) {
		t.Errorf("dated: %s", e.Raw)
	}
	if e := f.AddAt(time.Now(), "tariff.expired")[0]; !bytes.Contains(e.Raw, []byte("time_created")) {
		t.Errorf("undated still: %s", e.Raw)
	}
}

func TestSeedDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := func(seed uint64) *Flatpeak {
			f := NewFlatpeak(Options{Seed: seed})
			f.Backfill(200, time.Hour)
			login(t, f).walk(13)
			f.Add(20)
			f.AddLate(time.Minute)
			return f
		}
		a, b, c := made(1), made(1), made(2)
		if a.key != b.key || a.accountID != b.accountID || a.key == c.key {
			t.Error("the seed does not decide the account")
		}
		same, other := a.Events(), c.Events()
		for i, e := range b.Events() {
			if e.ID != same[i].ID || !bytes.Equal(e.Raw, same[i].Raw) {
				t.Fatalf("one seed, two events:\n%s\n%s", e.Raw, same[i].Raw)
			}
			if e.ID == other[i].ID {
				t.Fatal("two seeds, one id")
			}
		}
	})
}

func TestParallel(t *testing.T) {
	f := NewFlatpeak(Options{})
	c := login(t, f)
	f.Backfill(500, time.Minute)
	before := eventIDs(f.Events())
	ctx, cancel := context.WithCancel(t.Context())
	var adders, walkers sync.WaitGroup
	adders.Go(func() { _ = f.Run(ctx, 2000) })
	adders.Go(func() {
		for i := 0; i < 1000 && ctx.Err() == nil; i++ {
			f.AddLate(30 * time.Second)
			f.SetFaults(Faults{Late: Fault{Share: 0.5}})
			_, _ = f.Stats(), f.Faults()
		}
	})
	for range 3 {
		walkers.Go(func() {
			ids, _ := c.walk(100)
			seen := map[string]int{}
			for _, id := range ids {
				seen[id]++
			}
			for _, id := range before {
				if seen[id] != 1 {
					t.Errorf("%s is listed %d times", id, seen[id])
				}
			}
		})
	}
	walkers.Wait()
	cancel()
	adders.Wait()
}
