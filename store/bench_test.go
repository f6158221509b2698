package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tidings/event"
)

// benchPage makes pages of 100 events of 850 bytes with random-looking ids.
func benchPage(first int) []event.Event {
	evs := events(first, 100)
	for i := range evs {
		evs[i].ID = fmt.Sprintf("evt_%024x", uint64(first+i)*0x9e3779b97f4a7c15)
		evs[i].Data = []byte(`{"id":"` + evs[i].ID + `","data":"` + strings.Repeat("x", 850-50) + `"}`)
	}
	return evs
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report says what n events cost since before.
func (b *bench) report(bm *testing.B, n int, pages, txs int64, began time.Duration) {
	tx := b.db.Stats().TxStats
	pages = tx.GetWrite() - pages // pages written, and the header of each transaction
	bm.ReportMetric(float64(n)/bm.Elapsed().Seconds(), "events/s")
	bm.ReportMetric(float64(pages)/float64(txs), "pages/tx")
	bm.ReportMetric(float64(pages*4096)/float64(n), "bytes/event")
	bm.ReportMetric(float64((cpu()-began).Microseconds())/float64(n), "cpu-µs/event")
}

func BenchmarkIngest(bm *testing.B) {
	for _, sinks := range []int{1, 3} {
		bm.Run(fmt.Sprintf("sinks=%d", sinks), func(bm *testing.B) {
			b := fresh(bm, Options{Keep: time.Hour, Remember: time.Hour}, []string{"a", "b", "c"}[:sinks]...)
			pages := make([][]event.Event, bm.N)
			for i := range pages {
				pages[i] = benchPage(100 * i)
			}
			tx := b.db.Stats().TxStats
			before, began, id := tx.GetWrite(), cpu(), b.txid()
			bm.ResetTimer()
			for i := range bm.N {
				b.commit(fmt.Sprint(i), pages[i]...)
			}
			bm.StopTimer()
			b.report(bm, 100*bm.N, before, int64(b.txid()-id), began)
		})
	}
}

// BenchmarkSettle settles what three sinks hand out, 100 each at a time, and one at a time by 64 callers.
func BenchmarkSettle(bm *testing.B) {
	bm.Run("300", func(bm *testing.B) {
		b := fresh(bm, Options{Keep: time.Hour, Remember: time.Hour}, "a", "b", "c")
		for i := range bm.N {
			b.commit(fmt.Sprint(i), benchPage(100*i)...)
		}
		tx := b.db.Stats().TxStats
		before, began, id := tx.GetWrite(), cpu(), b.txid()
		bm.ResetTimer()
		for range bm.N {
			var all []event.Delivery
			for _, sink := range []string{"a", "b", "c"} {
				all = append(all, b.next(sink, 100, 0).Deliveries...)
			}
			b.settle(event.Delivered, 0, all...)
		}
		bm.StopTimer()
		b.report(bm, 300*bm.N, before, int64(b.txid()-id), began)
	})
	bm.Run("callers=64", func(bm *testing.B) {
		b := fresh(bm, Options{Keep: time.Hour, Remember: time.Hour}, "a")
		for i := 0; i < bm.N; i += 100 {
			b.commit(fmt.Sprint(i), benchPage(i)...)
		}
		tx := b.db.Stats().TxStats
		before, began, id := tx.GetWrite(), cpu(), b.txid()
		bm.ResetTimer()
		for settled := 0; settled < bm.N; {
			due := b.next("a", min(64*64, bm.N-settled), 0).Deliveries
			if settled += len(due); len(due) == 0 {
				bm.Fatalf("nothing is due after %d of %d", settled, bm.N)
			}
			var callers sync.WaitGroup
			for caller := range 64 {
				callers.Go(func() {
					for i := caller; i < len(due); i += 64 {
						v := event.Settlement{Sink: "a", Seq: due[i].Seq, Outcome: event.Delivered}
						if err := b.Settle(context.Background(), []event.Settlement{v}); err != nil {
							bm.Error(err)
						}
					}
				})
			}
			callers.Wait()
		}
		bm.StopTimer()
		b.report(bm, bm.N, before, int64(b.txid()-id), began)
	})
}
