package store

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

// A sink that is dead for weeks: exceptions stop at what may fail singly, and from then on nothing grows but the log, whose
// events wait in it as one count.
func TestWeeksOfOutageMakeNoExceptions(t *testing.T) {
	slow(t)
	synctest.Test(t, func(t *testing.T) {
		const most = 1000 // max_failing of dispatch
		b := fresh(t, Options{Keep: time.Hour, Remember: 24 * time.Hour, MaxSize: 64 << 20, tick: time.Hour}, "gone", "works")
		b.commit("p", events(1, most)...)
		b.settle(event.Retry, time.Minute, b.next("gone", most, 0).Deliveries...)
		b.settle(event.Delivered, 0, b.next("works", most, 0).Deliveries...)
		failed := b.keys(prefixX + "gone")
		grown := func() int64 {
			b.tidyNow()
			return b.stats().Used
		}
		var began int64
		for quarter := range 21 * 4 {
			b.commit(fmt.Sprint(quarter), events(10_000+80*quarter, 80)...)
			b.settle(event.Delivered, 0, b.next("works", 80, 0).Deliveries...)
			due := b.next("gone", 0, 0)
			if due.Failing != most {
				t.Fatalf("%d fail", due.Failing)
			}
			b.settle(event.Retry, time.Minute, b.next("gone", 0, 1).Deliveries...) // dispatch probes with one that fails
			time.Sleep(6 * time.Hour)
			if quarter == 0 {
				began = grown()
			}
		}
		if n := b.keys(prefixX + "gone"); n != failed {
			t.Errorf("%d exceptions", n)
		}
		if k := b.sink("gone"); k.Owed != most+80*21*4 || k.Retrying != most {
			t.Errorf("%+v", k)
		}
		if k := b.st.sinks["gone"]; len(k.out) > 1 || len(k.failing) != most {
			t.Errorf("%d in memory", len(k.out)+len(k.failing))
		}
		end := grown()
		// Each event once in the log, its attempts, and its id while that is remembered.
		if perEvent := float64(end-began) / (80 * 21 * 4); perEvent > 500 {
			t.Errorf("%.0f bytes an event that waits", perEvent)
		}
	})
}

// However often it is tried, a failing delivery takes no more than its last answer and four short ones.
func TestFailingForeverTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fresh(t, Options{Keep: time.Hour}, "gone")
		b.commit("p", events(1, 20)...)
		fail := func() {
			due := b.next("gone", 20, 20).Deliveries
			var all []event.Settlement
			for _, d := range due {
				all = append(all, event.Settlement{Sink: "gone", Seq: d.Seq, Outcome: event.Retry, Wait: time.Minute,
					Attempt: event.Attempt{At: time.Now(), Reason: strings.Repeat("r", 5000), Answer: strings.Repeat("a", 100_000)}})
			}
			if err := b.Settle(t.Context(), all); err != nil || len(all) != 20 {
				t.Fatal(len(all), err)
			}
			time.Sleep(time.Minute)
		}
		for range 6 {
			fail()
		}
		before := b.stats().Used
		for range 60 {
			fail()
		}
		if after := b.stats().Used; after > before+before/2 || after > 20*(16<<10+5*(2<<10))*2 {
			t.Errorf("%d bytes, before %d", after, before)
		}
	})
}
