package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// history returns what is known of an event at a sink.
func (b *bench) history(id, sink string) event.SinkHistory {
	b.t.Helper()
	h, found, err := b.Event("api", id)
	if err != nil || !found {
		b.t.Fatalf("%s: %v %v", id, found, err)
	}
	for _, k := range h.Sinks {
		if k.Sink == sink {
			return k
		}
	}
	b.t.Fatalf("%s: nothing is known of sink %s: %+v", id, sink, h)
	return event.SinkHistory{}
}

func TestHistoryTellsEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fresh(t, Options{Keep: 1000 * time.Hour}, "app", "other")
		b.commit("p", events(1, 3)...)
		if k := b.history("evt_1", "app"); k.State != event.StateOwed || k.Attempts != 0 || len(k.Tried) != 0 {
			t.Errorf("fresh: %+v", k)
		}
		b.settle(event.Delivered, 0, b.next("other", 1, 0).Deliveries...)
		due := b.next("app", 2, 0).Deliveries
		big := strings.Repeat("x", 20<<10)
		for n := 1; n <= 8; n++ {
			v := event.Settlement{Sink: "app", Seq: due[0].Seq, Outcome: event.Retry, Wait: time.Minute,
				Attempt: event.Attempt{At: time.Now(), Took: 3 * time.Millisecond, Reason: fmt.Sprint("no ", n), Answer: fmt.Sprint(big, n)}}
			if err := b.Settle(context.Background(), []event.Settlement{v}); err != nil {
				t.Fatal(err)
			}
			check := func() {
				t.Helper()
				k := b.history("evt_1", "app")
				if k.State != event.StateOwed || k.Attempts != n || len(k.Tried) != min(n, 5) || k.Next.Before(time.Now().Add(59*time.Second)) {
					t.Fatalf("after %d: %+v", n, k)
				}
				for i, d := range k.Tried {
					number := n - len(k.Tried) + 1 + i
					size := maxEarlier
					if number == n {
						size = maxAnswer
					}
					if d.Number != number || d.Delivered || d.Reason != fmt.Sprint("no ", number) || len(d.Answer) != size ||
						!strings.HasSuffix(d.Answer, fmt.Sprint(number)) || d.Took != 3*time.Millisecond {
						t.Fatalf("after %d: attempt %d is %d, %q, %d bytes", n, number, d.Number, d.Reason, len(d.Answer))
					}
				}
			}
			check()
			if n == 3 {
				b = b.again("app", "other")
				check()
			}
			time.Sleep(time.Minute)
			due = b.next("app", 0, 1).Deliveries
			if n == 3 {
				due[0].Seq = 1
			}
		}
		b.settle(event.Delivered, 0, due...)
		b = b.again("app", "other")
		k := b.history("evt_1", "app")
		if k.State != event.StateDelivered || k.Attempts != 9 || len(k.Tried) != 6 || !k.Tried[5].Delivered || k.Tried[0].Number != 4 ||
			k.Tried[5].Took != time.Millisecond || time.Until(k.Tried[5].At).Abs() > time.Millisecond || len(k.Tried[4].Answer) != maxEarlier {
			t.Errorf("%+v", k)
		}
		if k := b.history("evt_1", "other"); k.State != event.StateDelivered || k.Attempts != 1 || len(k.Tried) != 1 || !k.Tried[0].Delivered {
			t.Errorf("%+v", k)
		}
		if k := b.history("evt_3", "other"); k.State != event.StateOwed {
			t.Errorf("%+v", k)
		}
	})
}

func TestHistoryOfADeadLetter(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app")
	b.commit("p", events(1, 1)...)
	b.settle(event.Retry, 0, b.next("app", 1, 0).Deliveries...)
	time.Sleep(2 * time.Millisecond)
	b.settle(event.Dead, 0, b.next("app", 0, 1).Deliveries...)
	if k := b.history("evt_1", "app"); k.State != event.StateDead || k.Attempts != 2 || len(k.Tried) != 2 || k.Tried[1].Number != 2 {
		t.Errorf("%+v", k)
	}
	if n, err := b.RetryDead(context.Background(), "app", []uint64{1}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if k := b.history("evt_1", "app"); k.State != event.StateOwed || !k.Replay || k.Attempts != 2 || len(k.Tried) != 2 {
		t.Errorf("%+v", k)
	}
	time.Sleep(2 * time.Millisecond)
	b.settle(event.Delivered, 0, b.next("app", 0, 1).Deliveries...)
	if k := b.history("evt_1", "app"); k.State != event.StateDelivered || !k.Replay || k.Attempts != 3 || len(k.Tried) != 3 || !k.Tried[2].Delivered {
		t.Errorf("%+v", k)
	}
}

func TestHistoryHasTheLastFiveFailuresAlsoOfAReplay(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app")
	b.commit("p", events(1, 1)...)
	fail := func(n int) {
		for range n {
			time.Sleep(2 * time.Millisecond)
			due := b.next("app", 1, 1).Deliveries
			b.settle(event.Retry, 0, due...)
		}
		time.Sleep(2 * time.Millisecond)
	}
	fail(4)
	b.settle(event.Delivered, 0, b.next("app", 0, 1).Deliveries...)
	b.replay(event.Replay{Sink: "app"}, 1)
	fail(3)
	k := b.history("evt_1", "app")
	var got []string
	for _, d := range k.Tried {
		got = append(got, fmt.Sprint(d.Number, d.Replay, d.Delivered))
	}
	want := "[3 false false 4 false false 5 false true 1 true false 2 true false 3 true false]"
	if k.State != event.StateOwed || k.Attempts != 3 || fmt.Sprint(got) != want {
		t.Errorf("%v: %+v", got, k)
	}
}

func TestHistoryPages(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app")
	evs := events(1, 10_000)
	for i := range evs {
		if i%1000 == 7 {
			evs[i].Type = "rare"
		}
	}
	b.commit("p", evs...)
	page, err := b.History(event.HistoryQuery{Limit: 3})
	if err != nil || len(page.Events) != 3 || page.Events[0].Event.ID != "evt_10000" || string(page.Events[2].Event.Data) != `{"n":9998}` || page.Before != 9998 {
		t.Fatalf("%+v %v", page, err)
	}
	n, last := 0, uint64(1<<60)
	for q := (event.HistoryQuery{Types: event.Filter{"ra*"}, Limit: 4}); ; q.Before = page.Before {
		if page, err = b.History(q); err != nil {
			t.Fatal(err)
		}
		for _, h := range page.Events {
			if h.Event.Type != "rare" || h.Seq >= last {
				t.Fatalf("%+v", h)
			}
			last = h.Seq
			n++
		}
		if page.Before == 0 {
			break
		}
	}
	if n != 10 {
		t.Errorf("%d rare ones", n)
	}
	if page, err = b.History(event.HistoryQuery{Until: time.Now().Add(-time.Hour)}); err != nil || len(page.Events) != 0 || page.Before != 0 {
		t.Errorf("%+v %v", page, err)
	}
	if _, found, err := b.Event("api", "evt_0"); found || err != nil {
		t.Error(found, err)
	}
	if h, found, err := b.Event("api", "evt_1"); !found || err != nil || h.Seq != 1 {
		t.Error(h, found, err)
	}
}

// keys counts the records of a bucket.
func (b *bench) keys(bucket string) int {
	n := 0
	_ = b.view(func(tx *bolt.Tx) error {
		n = tx.Bucket([]byte(bucket)).Stats().KeyN
		return nil
	})
	return n
}

func TestAttemptsGoWithTheirEvents(t *testing.T) {
	b := fresh(t, Options{}, "app", "other")
	for round := range 5 {
		b.commit(fmt.Sprint(round), events(1+300*round, 300)...)
		due := b.next("app", 300, 0).Deliveries
		b.settle(event.Retry, 0, due[:50]...)
		b.settle(event.Delivered, 0, due[50:]...)
		b.settle(event.Delivered, 0, b.next("other", 300, 0).Deliveries...)
		b.settle(event.Dead, 0, b.next("app", 0, 10).Deliveries...)
		b.tidyNow()
		if b.keys(bucketTries) == 0 {
			t.Fatal("what is failing still is has lost its attempts")
		}
		b.settle(event.Delivered, 0, b.next("app", 0, 40).Deliveries...)
		if b.keys(bucketFails) != 40 {
			t.Fatalf("failures of %d events", b.keys(bucketFails))
		}
		b.tidyNow()
		if n := b.keys(bucketFails); n != 0 {
			t.Fatalf("failures of %d events are kept without them", n)
		}
		if n := b.keys(bucketTries); n > 2 { // the last block is not full yet
			t.Fatalf("%d blocks of attempts are kept without events", n)
		}
		if round == 2 {
			b = b.again("app", "other")
		}
	}
}

func TestDamagedAttemptsAreSetAside(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour}, "app")
	b.commit("p", events(1, 4)...)
	b.settle(event.Delivered, 0, b.next("app", 2, 0).Deliveries...)
	b.settle(event.Retry, 0, b.next("app", 1, 0).Deliveries...)
	err := b.send(context.Background(), &request{between: func() error {
		return b.db.Update(func(tx *bolt.Tx) error {
			return errors.Join(tx.Bucket([]byte(bucketTries)).Put(tryKey(1, 0), []byte("T, or what is left")),
				tx.Bucket([]byte(prefixX+"app")).Put(seqKey(3), []byte("X, or what is left")))
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if k := b.history("evt_1", "app"); k.State != event.StateDelivered || len(k.Tried) != 0 {
		t.Errorf("%+v", k)
	}
	b.settle(event.Delivered, 0, b.next("app", 1, 1).Deliveries...)
	aside := 0
	for _, n := range b.told() {
		if _, ok := n.(event.SetAside); ok {
			aside++
		}
	}
	if aside != 2 {
		t.Errorf("%d records were set aside", aside)
	}
	if k := b.history("evt_4", "app"); k.State != event.StateDelivered || len(k.Tried) != 1 {
		t.Errorf("%+v", k)
	}
}

func TestSettlingKeepsToItsPages(t *testing.T) {
	b := fresh(t, Options{Keep: time.Hour, tick: time.Hour}, "a", "b", "c")
	const rounds = 20
	for i := range rounds {
		b.commit(fmt.Sprint(i), events(100*i, 100)...)
	}
	stats := b.db.Stats().TxStats
	before, id := stats.GetWrite(), b.txid()
	for range rounds {
		var all []event.Delivery
		for _, sink := range []string{"a", "b", "c"} {
			all = append(all, b.next(sink, 100, 0).Deliveries...)
		}
		b.settle(event.Delivered, 0, all...)
	}
	stats = b.db.Stats().TxStats
	if pages := float64(stats.GetWrite()-before) / rounds; pages >= 10 || b.txid() != id+rounds {
		t.Errorf("settling 300 deliveries takes %.1f pages in %d transactions", pages, (b.txid()-id)/rounds)
	}
}
