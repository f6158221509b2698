package store

import (
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

// Where no server ever says what time it is a clock that was never set makes nothing old, and once it is set and has run on evenly for a day, with
// jumps forwards and backwards before, what it stamped before is young: nothing is forgotten, collected or given up too soon.
func TestWithoutServersAClockOf1970ComesRight(t *testing.T) {
	slow(t)
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		ahead := time.Since(time.Unix(3600, 0))
		k.jump(-ahead)
		b := clocked(t, &k)
		time.Sleep(time.Second)
		b.deliverNew(1, 3)
		b.commit("p", events(100, 1)...)
		b.settle(event.Retry, time.Second, b.next("app", 1, 0).Deliveries...)
		failing := time.Now()
		time.Sleep(100 * time.Hour)
		b.has(4, 4) // it was never set
		k.jump(ahead + 20*365*24*time.Hour)
		time.Sleep(23 * time.Hour)
		b.deliverNew(4, 1)
		b.has(5, 5)
		k.jump(-20 * 365 * 24 * time.Hour)
		time.Sleep(23 * time.Hour)
		b.has(5, 5) // counted from the last jump
		young := func() {
			t.Helper()
			for _, d := range b.next("app", 0, 9).Deliveries {
				if off := d.FailingFor - time.Since(failing); off.Abs() > time.Hour {
					t.Errorf("%s has been failing for %v, not for %v", d.Event.ID, d.FailingFor, time.Since(failing))
				}
				b.Release("app", d.Seq)
			}
		}
		young()
		time.Sleep(2 * time.Hour)
		if why := b.stats().Clock; why != "" {
			t.Errorf("the doubt never ends: %s", why)
		}
		b.has(5, 5)
		young()
		b = b.again("app")
		young()
		time.Sleep(2 * time.Hour)
		b.has(1, 5)
		time.Sleep(remember - 5*time.Hour)
		b.has(1, 5)
		time.Sleep(30 * time.Hour)
		b.has(1, 0)
	})
}

// A run with a clock that was never set, and the next one with one that is right: what the first run took in is young.
func TestWithoutServersAFormerRunOf1970IsYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		ahead := time.Since(time.Unix(3600, 0))
		k.jump(-ahead)
		b := clocked(t, &k)
		time.Sleep(time.Second)
		b.deliverNew(1, 3)
		b.commit("p", events(100, 1)...)
		b.settle(event.Retry, time.Second, b.next("app", 1, 0).Deliveries...)
		time.Sleep(time.Hour)
		k.jump(ahead)
		for range 2 {
			b = b.again("app")
			b.has(4, 4)
			d := b.next("app", 0, 1).Deliveries
			if len(d) != 1 || d[0].FailingFor > 2*time.Hour {
				t.Errorf("%+v", d)
			}
			if why := b.stats().Clock; why != "" {
				t.Errorf("the clock is doubted: %s", why)
			}
		}
		time.Sleep(keep)
		b.has(1, 4)
		time.Sleep(remember + 26*time.Hour)
		b.has(1, 0)
	})
}
