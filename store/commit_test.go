package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tidings/event"
)

func TestCommitTakesEachEventOnce(t *testing.T) {
	b := fresh(t, Options{}, "app", "archive")
	page := events(1, 100)
	if done := b.commit("p1", append(page, page[3])...); done != (event.Committed{New: 100, Repeated: 1}) {
		t.Fatalf("first: %+v", done)
	}
	if done := b.commit("p2", page...); done != (event.Committed{Repeated: 100}) {
		t.Fatalf("again: %+v", done)
	}
	b = b.again("app", "archive")
	if done := b.commit("p3", append(page[50:], events(101, 1)...)...); done != (event.Committed{New: 1, Repeated: 50}) {
		t.Fatalf("after a restart: %+v", done)
	}
	known, err := b.Known("api", []string{"evt_1", "evt_101", "evt_102"})
	if err != nil || !slices.Equal(known, []bool{true, true, false}) {
		t.Fatalf("known: %v %v", known, err)
	}
	if known, _ := b.Known("other", []string{"evt_1"}); known[0] {
		t.Fatal("ids of different sources are told apart")
	}
	due := b.next("app", 200, 0)
	if len(due.Deliveries) != 101 || due.More {
		t.Fatalf("%d deliveries, more %v", len(due.Deliveries), due.More)
	}
	for i, d := range due.Deliveries {
		want := events(i+1, 1)[0]
		if d.Event.ID != want.ID || string(d.Event.Data) != string(want.Data) || !d.Event.Time.Equal(want.Time) || d.Event.Source != "api" ||
			d.Event.Type != "t" || time.Since(d.Event.Received) > time.Minute || d.Attempts != 0 || d.FailingFor != 0 {
			t.Fatalf("delivery %d: %+v", i, d)
		}
	}
	if p, _ := b.Position("api"); string(p.Data) != "p3" {
		t.Fatalf("position %q", p.Data)
	}
}

func TestCommitWritesNothingWhenNothingIsNew(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p1", events(1, 3)...)
	before := b.txid()
	for range 3 {
		b.commit("p1", events(1, 3)...)
		b.commit("p1")
	}
	b.apply(topology("app"))
	if err := b.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.tidyNow()
	if after := b.txid(); after != before {
		t.Fatalf("%d transactions were made", after-before)
	}
	b.commit("p2")
	if after := b.txid(); after != before+1 {
		t.Fatalf("a new position made %d transactions", after-before)
	}
}

func TestCommitOfAnotherGenerationIsRefused(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p1", events(1, 1)...)
	old, _ := b.Position("api")
	if err := b.SetPosition(context.Background(), "api", []byte("elsewhere")); err != nil {
		t.Fatal(err)
	}
	_, err := b.Commit(context.Background(), event.Commit{Source: "api", Generation: old.Generation, Events: events(2, 1), Position: []byte("p2")})
	if !errors.Is(err, event.ErrStale) {
		t.Fatalf("got %v", err)
	}
	b = b.again("app")
	p, _ := b.Position("api")
	if p.Generation != old.Generation+1 || string(p.Data) != "elsewhere" {
		t.Fatalf("position %+v", p)
	}
	if owed := b.sink("app").Owed; owed != 1 {
		t.Fatalf("owed %d: the refused commit left something", owed)
	}
	_, err = b.Commit(context.Background(), event.Commit{Source: "gone", Events: events(2, 1)})
	if !errors.Is(err, event.ErrStale) {
		t.Fatalf("unknown source: %v", err)
	}
}

func TestOneRefusedCommitLeavesItsGroupAlone(t *testing.T) {
	b := fresh(t, Options{}, "app")
	results := make([]error, 3)
	var group []*request
	for i, generation := range []uint64{1, 7, 1} {
		c := event.Commit{Source: "api", Generation: generation, Events: events(10*i, 2), Position: fmt.Appendf(nil, "p%d", i)}
		prints := []fingerprint{b.st.memory.fingerprint("api", c.Events[0].ID), b.st.memory.fingerprint("api", c.Events[1].ID)}
		group = append(group, &request{prepare: func(bt *batch) error {
			_, results[i] = bt.commit(c, prints)
			return results[i]
		}})
	}
	before := b.txid()
	if err := b.send(context.Background(), &request{between: func() error { return b.write(group) }}); err != nil {
		t.Fatal(err)
	}
	if results[0] != nil || !errors.Is(results[1], event.ErrStale) || results[2] != nil || b.txid() != before+1 {
		t.Fatalf("%v in %d transactions", results, b.txid()-before)
	}
	if owed := b.sink("app").Owed; owed != 4 {
		t.Fatalf("owed %d", owed)
	}
}

func TestFiltersDecideAtCommit(t *testing.T) {
	b := fresh(t, Options{}, "all")
	want := topology("all", "some")
	want.Sources[0].Events = event.Filter{"tariff.*", "broken", "lonely"}
	want.Sinks[0].Events = event.Filter{"tariff.*"}
	want.Sinks[1].Events = event.Filter{"tariff.*.failed"}
	b.apply(want)
	kinds := []string{"tariff.fetch.failed", "customer.created", "tariff.fetch.done", "lonely"}
	evs := events(1, 5)
	for i, kind := range kinds {
		evs[i].Type = kind
	}
	evs[4].Broken = "it is not a JSON object"
	evs[4].Data = []byte("[1]")
	if done := b.commit("p", evs...); done != (event.Committed{New: 4, Filtered: 1}) {
		t.Fatalf("%+v", done)
	}
	if done := b.commit("p", evs...); done != (event.Committed{Repeated: 5}) {
		t.Fatalf("%+v", done)
	}
	if all, some := ids(b.next("all", 9, 0).Deliveries), ids(b.next("some", 9, 0).Deliveries); !slices.Equal(all, []string{"evt_1", "evt_3"}) || !slices.Equal(some, []string{"evt_1"}) {
		t.Fatalf("all %v, some %v", all, some)
	}
	if stats, _ := b.Stats(); stats.Events != 3 || stats.IDs != 5 {
		t.Fatalf("%+v", stats)
	}
	if sources, _ := b.Sources(); sources[0].Aside != 1 {
		t.Fatalf("%+v", sources)
	}
	var aside, taken int
	for _, n := range b.told() {
		switch n := n.(type) {
		case event.SetAside:
			aside++
			if n.Source != "api" || n.Why != "it is not a JSON object" {
				t.Errorf("%+v", n)
			}
		case event.TakenIn:
			taken += len(n.Events)
		}
	}
	if aside != 1 || taken != 3 {
		t.Fatalf("told of %d set aside and %d taken in", aside, taken)
	}
}

func TestLargeCommitIsSplit(t *testing.T) {
	b := fresh(t, Options{}, "app")
	evs := events(1, 10)
	for i := range evs {
		evs[i].Data = []byte(strings.Repeat("x", 1<<20))
	}
	evs[9].Data = []byte(strings.Repeat("y", 6<<20))
	before := b.txid()
	gap := &event.Gap{Certain: true, Why: "it expired"}
	p, _ := b.Position("api")
	done, err := b.Commit(context.Background(), event.Commit{Source: "api", Generation: p.Generation, Events: evs, Position: []byte("end"), Gap: gap})
	if err != nil || done.New != 10 {
		t.Fatalf("%+v %v", done, err)
	}
	if n := b.txid() - before; n != 4 {
		t.Fatalf("%d transactions", n)
	}
	sources, _ := b.Sources()
	if len(sources[0].Gaps) != 1 || sources[0].GapCount != 1 || sources[0].Gaps[0].Source != "api" {
		t.Fatalf("%+v", sources[0])
	}
	due := b.next("app", 20, 0)
	if len(due.Deliveries) != 10 || len(due.Deliveries[9].Event.Data) != 6<<20 {
		t.Fatalf("%d deliveries", len(due.Deliveries))
	}
}

func TestGapsAreKept(t *testing.T) {
	b := fresh(t, Options{}, "app")
	for i := range maxGaps + 3 {
		c := event.Commit{Source: "api", Generation: 1, Gap: &event.Gap{Found: time.Unix(int64(i), 0).UTC(), Why: "retention"}}
		if _, err := b.Commit(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	b = b.again()
	sources, _ := b.Sources()
	if s := sources[0]; s.GapCount != maxGaps+3 || len(s.Gaps) != maxGaps || s.Gaps[maxGaps-1].Found.Unix() != maxGaps+2 {
		t.Fatalf("%+v", s)
	}
}

func TestRememberWithoutAnEvent(t *testing.T) {
	b := fresh(t, Options{}, "app")
	commit := func(events []event.Event, ids ...string) event.Committed {
		t.Helper()
		p, _ := b.Position("api")
		done, err := b.Commit(t.Context(), event.Commit{Source: "api", Generation: p.Generation, Events: events, Position: []byte("p"), Remember: ids})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if done := commit(events(1, 2), "evt_2", "doc_1", "doc_2"); done != (event.Committed{New: 2}) {
		t.Fatalf("%+v", done)
	}
	before := b.txid()
	if done := commit(events(1, 1), "doc_1"); done != (event.Committed{Repeated: 1}) || b.txid() != before {
		t.Fatalf("again: %+v, %d transactions", done, b.txid()-before)
	}
	if commit(nil, "doc_3"); b.txid() != before+1 {
		t.Fatalf("an unknown id made %d transactions", b.txid()-before)
	}
	b = b.again("app")
	known, err := b.Known("api", []string{"evt_1", "doc_1", "doc_2", "doc_3", "doc_4"})
	if err != nil || !slices.Equal(known, []bool{true, true, true, true, false}) {
		t.Fatalf("%v %v", known, err)
	}
	if owed := b.sink("app").Owed; owed != 2 {
		t.Fatalf("owed %d", owed)
	}
	big := events(10, 3)
	for i := range big {
		big[i].Data = fmt.Appendf(nil, `{"pad":"%s"}`, strings.Repeat("x", partSize))
	}
	before = b.txid()
	if done := commit(big, "doc_5"); done.New != 3 || b.txid() != before+1 {
		t.Fatalf("%+v in %d transactions: what is remembered beside events goes with all of them", done, b.txid()-before)
	}
}

func TestAGapIsAnEventForSinksThatNameOurSource(t *testing.T) {
	b := fresh(t, Options{}, "all")
	want := topology("all", "ops", "picky")
	want.Sinks[1].Sources = event.Filter{"*", event.Own}
	want.Sinks[2].Sources, want.Sinks[2].Events = event.Filter{event.Own}, event.Filter{"tidings.other"}
	b.apply(want)
	gap := event.Gap{From: time.Unix(1, 0).UTC(), To: time.Unix(2, 0).UTC(), Found: time.Unix(3, 0).UTC(), Why: "retention"}
	for range 2 {
		gap.Found = gap.Found.Add(time.Second)
		if _, err := b.Commit(t.Context(), event.Commit{Source: "api", Generation: 1, Gap: &gap, Events: events(int(gap.Found.Unix()), 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if all, picky := b.sink("all").Owed, b.sink("picky").Owed; all != 2 || picky != 0 {
		t.Fatalf("a sink that does not name it is owed %d, one that wants other types %d", all, picky)
	}
	due := b.next("ops", 10, 0).Deliveries
	if len(due) != 4 {
		t.Fatalf("ops is owed %d events", len(due))
	}
	got := due[3].Event
	body := `{"type":"tidings.gap","timestamp":"1970-01-01T00:00:05Z","data":{"source":"api","from":"1970-01-01T00:00:01Z",` +
		`"to":"1970-01-01T00:00:02Z","found":"1970-01-01T00:00:05Z","certain":false,"why":"retention"}}`
	if got.Source != "tidings" || got.Type != "tidings.gap" || string(got.Data) != body || got.ID == due[1].Event.ID || !got.Time.Equal(gap.Found) {
		t.Fatalf("%+v\n%s", got, got.Data)
	}
	b.settle(event.Delivered, 0, due...)
	b.again("all", "ops")
}

func TestApply(t *testing.T) {
	b := fresh(t, Options{}, "app")
	b.commit("p1", events(1, 2)...)
	b.apply(topology("late")) // app is gone, late is new
	b.commit("p2", events(3, 2)...)
	if k := b.sink("app"); !k.Frozen || k.Owed != 2 {
		t.Fatalf("%+v", k)
	}
	if got := ids(b.next("late", 9, 0).Deliveries); !slices.Equal(got, []string{"evt_3", "evt_4"}) {
		t.Fatalf("late got %v", got)
	}
	b = b.again("app", "late")
	b.commit("p3", events(5, 1)...)
	if got := ids(b.next("app", 9, 0).Deliveries); !slices.Equal(got, []string{"evt_1", "evt_2", "evt_5"}) {
		t.Fatalf("app got %v", got)
	}

	other := topology("app", "late")
	other.Sources[0].Identity = "account 2"
	var identity *IdentityError
	if err := b.Apply(context.Background(), other, false); !errors.As(err, &identity) || !slices.Equal(identity.Sources, []string{"api"}) {
		t.Fatalf("got %v", err)
	}
	if err := b.Apply(context.Background(), other, true); err != nil {
		t.Fatal(err)
	}
	if p, _ := b.Position("api"); p.Generation != 2 || p.Data != nil {
		t.Fatalf("%+v", p)
	}
}

// tidyNow makes the writer tidy and waits for it.
func (b *bench) tidyNow() {
	b.t.Helper()
	if err := b.send(context.Background(), &request{between: func() error { b.tidy(); return nil }}); err != nil {
		b.t.Fatal(err)
	}
}
