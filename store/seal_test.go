package store

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"tidings/event"
)

// How much one transaction of sealing may write: a page is 4 KiB, so this is less than what taking in two pages of events writes, which is done within
// 50 ms by any disk that is fit for a store.
const maxSealPages = 64

// Sealing a full run, deleting the chunks that it came from and forgetting it are cut into transactions of which each writes little, however many ids
// are remembered: who waits meanwhile waits for one of these.
func TestNoTransactionOfSealingIsLong(t *testing.T) {
	slow(t)
	var clock skewed
	b := fresh(t, Options{Keep: time.Hour, Remember: 30 * time.Minute, tick: time.Hour, wall: clock.now})
	b.quick(true) // no syncs: only what is written is counted
	none := topology()
	none.Sources[0].Events = event.Filter{"nothing"}
	b.apply(none)
	b.inWriter(func() { b.sealAfter = time.Now().Add(time.Hour) }) // not by itself
	page := make([]event.Event, 5000)
	for n := 0; n < runSize; n += len(page) {
		for i := range page {
			print := fingerprint(fmt.Appendf(nil, "%016x", uint64(n+i)*0x9e3779b97f4a7c15))
			page[i] = event.Event{ID: "evt_" + hex.EncodeToString(print[:12]), Type: "t"}
		}
		b.commit(fmt.Sprint(n), page...)
	}
	steps := map[string]int{}
	most, longest := map[string]int64{}, map[string]time.Duration{}
	step := func(what string, do func() bool) {
		for more := true; more; {
			b.inWriter(func() {
				after := b.sealAfter
				b.sealAfter = time.Time{}
				before, began := b.writes(), time.Now()
				more = do()
				if b.sealAfter = after; b.writes() > before {
					steps[what]++
					most[what] = max(most[what], b.writes()-before)
					longest[what] = max(longest[what], time.Since(began))
				}
			})
		}
	}
	step("sealing", func() bool { return b.seal() && b.st.memory.leftover == 0 })
	step("deleting chunks", b.seal)
	clock.jump(50 * time.Minute)
	step("forgetting", b.expire)
	for what, n := range map[string]int{"sealing": runSize / sealSlice, "deleting chunks": runSize / chunkSize / unsealSlice, "forgetting": 1} {
		if t.Logf("%s: %d transactions, the longest %v, at most %d pages", what, steps[what], longest[what], most[what]); steps[what] < n || most[what] > maxSealPages {
			t.Errorf("%s: %d transactions, the largest of %d pages; at least %d and at most %d", what, steps[what], most[what], n, maxSealPages)
		}
	}
	if ids := b.stats().IDs; ids != 0 {
		t.Errorf("%d ids are left", ids)
	}
}

// inWriter runs fn while nothing is written.
func (b *bench) inWriter(fn func()) {
	b.t.Helper()
	if err := b.between(b.t.Context(), func() error { fn(); return nil }); err != nil {
		b.t.Fatal(err)
	}
}
