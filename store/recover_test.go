package store

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

// breaker breaks transactions: before they are durable, or after.
type breaker struct {
	times atomic.Int32 // how many transactions more
	kept  atomic.Bool  // whether they are durable all the same
	err   error
}

func (br *breaker) commit(tx *bolt.Tx) error {
	if br.times.Add(-1) < 0 {
		br.times.Store(0)
		return tx.Commit()
	}
	if br.kept.Load() {
		if err := tx.Commit(); err != nil {
			return err
		}
	} else if err := tx.Rollback(); err != nil {
		return err
	}
	return br.err
}

func TestUnknownOutcomeIsReadAgain(t *testing.T) {
	for _, kept := range []bool{false, true} {
		br := &breaker{err: syscall.EIO}
		br.kept.Store(kept)
		b := fresh(t, Options{commit: br.commit, tick: time.Hour}, "app")
		b.commit("p1", events(1, 4)...)
		due := b.next("app", 4, 0).Deliveries
		wake := b.Wake("app")
		<-wake

		br.times.Store(1)
		err := b.tryCommit(events(5, 2))
		if !errors.Is(err, event.ErrUnknownOutcome) || full(err) {
			t.Fatalf("got %v", err)
		}
		select {
		case <-wake:
		default:
			t.Fatal("nobody was woken")
		}
		if _, ok := b.told()[len(b.told())-1].(event.StoreTrouble); !ok {
			t.Fatalf("told %T", b.told()[len(b.told())-1])
		}
		known, _ := b.Known("api", []string{"evt_4", "evt_5", "evt_6"})
		if want := []bool{true, kept, kept}; !slices.Equal(known, want) {
			t.Fatalf("known %v", known)
		}
		// What was in flight is not any more, so an old verdict isn't taken, and everything is handed out again.
		settled := []event.Settlement{{Sink: "app", Seq: due[0].Seq, Outcome: event.Delivered}}
		if err := b.Settle(context.Background(), settled); err == nil {
			t.Fatal("a verdict on what is not in flight was taken")
		}
		n := len(b.next("app", 9, 0).Deliveries)
		if want := map[bool]int{false: 4, true: 6}[kept]; n != want {
			t.Fatalf("%d handed out again, not %d", n, want)
		}
		br.times.Store(1)
		if err := b.Settle(context.Background(), settled); !errors.Is(err, event.ErrUnknownOutcome) {
			t.Fatalf("got %v", err)
		}
		again := b.next("app", 9, 0).Deliveries
		if first := again[0].Event.ID; (first == "evt_2") != kept {
			t.Fatalf("kept %v, and first comes %s", kept, first)
		}
		b.end()
	}
}

func TestThreeInARowAreTheEnd(t *testing.T) {
	br := &breaker{err: syscall.EIO}
	b := fresh(t, Options{commit: br.commit, tick: time.Hour}, "app")
	for range 2 { // a good one between begins the count anew
		br.times.Store(2)
		for range 2 {
			if err := b.tryCommit(events(1, 1)); !errors.Is(err, event.ErrUnknownOutcome) {
				t.Fatalf("got %v", err)
			}
		}
		b.commit("ok")
		b.commit("good")
	}
	br.times.Store(3)
	for range 3 {
		_ = b.tryCommit(events(1, 1))
	}
	select {
	case err := <-b.Failed():
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("got %v", err)
		}
	default:
		t.Fatal("it goes on")
	}
	if _, err := b.Next("app", 1, 1); err == nil {
		t.Fatal("it still hands out")
	}
	if err := b.Ping(context.Background()); err == nil {
		t.Fatal("it still answers")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	openAt(t, b.path, Options{}).end()
}

func TestAFullDiskIsNoStrike(t *testing.T) {
	br := &breaker{err: syscall.ENOSPC}
	b := fresh(t, Options{commit: br.commit, tick: time.Hour}, "app")
	br.times.Store(5)
	for range 5 {
		if err := b.tryCommit(events(1, 1)); !full(err) || !errors.Is(err, event.ErrUnknownOutcome) {
			t.Fatalf("got %v", err)
		}
	}
	if err := b.tryCommit(events(1, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestMemoryChangesAfterTheCommit(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{})
	var holding atomic.Bool
	b := fresh(t, Options{tick: time.Hour, commit: func(tx *bolt.Tx) error {
		if holding.Swap(false) {
			close(held)
			<-hold
		}
		return tx.Commit()
	}}, "app")
	holding.Store(true)
	done := make(chan error)
	go func() { done <- b.tryCommit(events(1, 3)) }()
	<-held
	known, _ := b.Known("api", []string{"evt_1"})
	if k := b.sink("app"); known[0] || k.Owed != 0 || len(b.next("app", 9, 9).Deliveries) > 0 || len(b.told()) > 0 {
		t.Errorf("before the transaction is durable: known %v, %+v", known, k)
	}
	close(hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := len(b.next("app", 9, 9).Deliveries); n != 3 {
		t.Fatalf("%d handed out", n)
	}
}

func TestWhatIsReadAcrossAReloadIsVoid(t *testing.T) {
	b := fresh(t, Options{tick: time.Hour}, "app")
	b.commit("p", events(1, 3)...)
	reloaded, _, err := b.load(b.db)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	var due event.Due
	err = b.send(t.Context(), &request{between: func() (err error) { // in the writer, who alone replaces the state
		due, err = b.handOut("app", func(k *sink, p *plan) {
			k.planFresh(p, 2)
			b.st = reloaded // as if the store was read anew between planning and reading
			asked++
		})
		return err
	}})
	if err != nil || asked != 2 || len(due.Deliveries) != 2 {
		t.Fatalf("asked %d times, %d deliveries, %v", asked, len(due.Deliveries), err)
	}
	if rest := ids(b.next("app", 9, 0).Deliveries); !slices.Equal(rest, []string{"evt_3"}) {
		t.Fatalf("then came %v", rest)
	}
}
