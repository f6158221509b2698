package store

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tidings/event"
)

// skewed is a wall clock that can be set; the monotonic clock runs on.
type skewed struct{ off atomic.Int64 }

func (k *skewed) now() time.Time        { return time.Now().Add(time.Duration(k.off.Load())).Round(0) }
func (k *skewed) jump(by time.Duration) { k.off.Add(int64(by)) }

// has waits for the writer to have looked at the time, and checks what is kept.
func (b *bench) has(events, ids uint64) {
	b.t.Helper()
	time.Sleep(5 * time.Second)
	synctest.Wait()
	if s := b.stats(); s.Events != events || s.IDs != ids {
		b.t.Fatalf("%d events and %d ids are kept, not %d and %d (%s)", s.Events, s.IDs, events, ids, s.Clock)
	}
}

func (b *bench) saw(date time.Time) { b.SawDate(context.Background(), date) }

// deliverNew takes in and delivers n events.
func (b *bench) deliverNew(first, n int) {
	b.t.Helper()
	b.commit("p", events(first, n)...)
	b.settle(event.Delivered, 0, b.next("app", n, 0).Deliveries...)
}

const (
	keep     = 2 * time.Hour
	remember = 48 * time.Hour
)

func clocked(t *testing.T, k *skewed) *bench {
	return fresh(t, Options{Keep: keep, Remember: remember, wall: k.now}, "app")
}

func TestJumpForwardExpiresNothingUntilAServerAgrees(t *testing.T) {
	slow(t)
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		b := clocked(t, &k)
		right := k.now()
		b.saw(right)
		b.deliverNew(1, 3)
		k.jump(1000 * 24 * time.Hour)
		b.has(3, 3)
		if b.stats().Clock == "" {
			t.Error("nothing tells of the doubt")
		}
		b.saw(time.Now()) // the server disagrees
		time.Sleep(100 * time.Hour)
		b.has(3, 3)
		k.jump(-1000 * 24 * time.Hour)
		b.has(3, 3)
		b.saw(time.Now())
		b.has(0, 0)
		if b.stats().Clock != "" {
			t.Error("the doubt never ends")
		}
		b.commit("q", events(1, 1)...)
		if d := b.next("app", 1, 0).Deliveries[0]; time.Until(d.Event.Received).Abs() > time.Minute {
			t.Errorf("taken in at %v", d.Event.Received)
		}
	})
}

func TestSuspendedMachineGoesOnOnceAServerAgrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		b := clocked(t, &k)
		b.saw(k.now())
		b.deliverNew(1, 3)
		k.jump(72 * time.Hour) // the monotonic clock stood still
		b.has(3, 3)
		b.saw(k.now())
		b.has(0, 0)
	})
}

func TestClockThatStartsIn1970(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		ahead := time.Since(time.Unix(3600, 0))
		k.jump(-ahead)
		b := clocked(t, &k)
		time.Sleep(time.Second)
		b.deliverNew(1, 3)
		b.saw(time.Now()) // from here on records bear the right time, and still nothing expires
		b.deliverNew(4, 3)
		b.commit("p", events(100, 1)...)
		failing := b.next("app", 1, 0).Deliveries
		if at := failing[0].Event.Received; time.Until(at).Abs() > time.Minute {
			t.Errorf("taken in at %v", at)
		}
		b.settle(event.Retry, time.Second, failing...)
		time.Sleep(3 * keep)
		b.has(7, 7)
		k.jump(ahead) // it comes right
		b.has(7, 7)
		b.saw(time.Now())
		b.has(1, 7)
		if d := b.next("app", 0, 1).Deliveries; len(d) != 1 || d[0].FailingFor > 3*keep+time.Minute || d[0].FailingFor < 3*keep {
			t.Errorf("%+v", d)
		}
		b = b.again("app")
		b.saw(time.Now())
		if d := b.next("app", 0, 1).Deliveries; len(d) != 1 || d[0].FailingFor > 3*keep+time.Minute || d[0].FailingFor < 3*keep {
			t.Errorf("after a restart: %+v", d)
		}
		b.saw(time.Now())
		time.Sleep(remember - 3*keep - time.Hour)
		b.has(1, 7) // counted from when the time was known, not from 1970
		time.Sleep(26 * time.Hour)
		b.has(1, 0)
	})
}

// A clock in 1970 for the whole of a run, and right in the next: what the run took in is young.
func TestBackFrom1970AcrossAReopening(t *testing.T) {
	slow(t)
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		b := clocked(t, &k)
		b.saw(time.Now())
		b.deliverNew(1, 3)
		time.Sleep(time.Second)
		ahead := time.Since(time.Unix(3600, 0))
		k.jump(-ahead)
		b = b.again("app")
		b.deliverNew(4, 3)
		b.commit("p", events(100, 1)...)
		b.settle(event.Retry, time.Second, b.next("app", 1, 0).Deliveries...)
		b.has(7, 7)
		time.Sleep(100 * time.Hour)
		b.has(7, 7)
		k.jump(ahead)
		b = b.again("app")
		b.has(7, 7) // no server has said yet that these 100 hours were
		if d := b.next("app", 0, 1).Deliveries; len(d) != 1 || d[0].FailingFor > 101*time.Hour {
			t.Errorf("%+v", d)
		}
		b.saw(time.Now())
		b.has(1, 0)
	})
}

func TestClockAheadAcrossReopeningsStopsNothingForYears(t *testing.T) {
	slow(t)
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		const years = 14 * 365 * 24 * time.Hour
		b := clocked(t, &k)
		b.saw(time.Now())
		b.deliverNew(1, 3)
		b.commit("p", events(50, 1)...)
		old := b.next("app", 1, 0).Deliveries
		b.settle(event.Retry, time.Minute, old...)
		time.Sleep(time.Hour)

		k.jump(years)
		b = b.again("app")
		b.deliverNew(4, 3)
		b.commit("p", events(100, 1)...)
		b.settle(event.Retry, time.Second, b.next("app", 1, 0).Deliveries...)
		b.has(8, 8)
		time.Sleep(time.Minute)
		for _, d := range b.next("app", 0, 9).Deliveries {
			if d.FailingFor > 2*time.Hour {
				t.Fatalf("%s fails for %v by a clock in doubt", d.Event.ID, d.FailingFor)
			}
		}

		k.jump(-years)
		b = b.again("app")
		b.has(8, 8)
		b.deliverNew(7, 1)
		b.has(9, 9)
		b.saw(time.Now())
		b.commit("q", events(200, 1)...)
		d := b.next("app", 1, 9).Deliveries
		if at := d[0].Event.Received; time.Until(at).Abs() > time.Minute {
			t.Errorf("taken in at %v", at)
		}
		for _, d := range d[1:] {
			if d.FailingFor > 3*time.Hour {
				t.Errorf("%s fails for %v", d.Event.ID, d.FailingFor)
			}
		}
		b.Release("app", d[0].Seq, d[1].Seq, d[2].Seq)
		b.saw(time.Now())
		time.Sleep(keep + time.Hour)
		b.has(3, 10) // what bears a time to come was collected too, but two failing ones and one owed
		time.Sleep(remember + 25*time.Hour)
		b.has(3, 0)
		for _, d := range b.next("app", 0, 9).Deliveries {
			if d.FailingFor < remember || d.FailingFor > remember+40*time.Hour {
				t.Errorf("%s fails for %v", d.Event.ID, d.FailingFor)
			}
		}
		b = b.again("app") // and the next opening knows it too
		b.saw(time.Now())
		b.deliverNew(300, 1)
		time.Sleep(keep + time.Hour)
		b.has(3, 1)
	})
}

// A store to which a server has told the time waits for one after a stop, one without such servers can't.
func TestAfterAStopAServerIsHeardFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, dated := range []bool{true, false} {
			var k skewed
			b := clocked(t, &k)
			if dated {
				b.saw(time.Now())
			}
			b.deliverNew(1, 3)
			b.end()
			time.Sleep(72 * time.Hour)
			b = b.again("app")
			if dated {
				b.has(3, 3)
				if why := b.stats().Clock; why != "" {
					t.Errorf("a stop is no trouble: %s", why)
				}
				b.saw(time.Now())
			}
			time.Sleep(24 * time.Hour)
			b.has(0, 0)
			b.end()
		}
	})
}

func TestWithoutServersAClockThatRunsOnIsBelieved(t *testing.T) {
	slow(t)
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		b := clocked(t, &k)
		b.deliverNew(1, 3)
		k.jump(72 * time.Hour)
		b.has(3, 3)
		time.Sleep(23 * time.Hour)
		b.has(3, 3)
		time.Sleep(2 * time.Hour)
		b.has(3, 3) // it may have been wrong before
		if why := b.stats().Clock; why != "" {
			t.Errorf("the doubt never ends: %s", why)
		}
		time.Sleep(72 * time.Hour)
		b.has(0, 0)
	})
}

func TestClockSetBackALittleOnlyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		b := clocked(t, &k)
		b.deliverNew(1, 3)
		k.jump(-30 * time.Minute)
		time.Sleep(keep)
		b.has(3, 3)
		time.Sleep(31 * time.Minute)
		b.has(0, 3)
	})
}

// While a server that is wrong about the time is one of several, it changes nothing.
func TestOneWrongServerIsOutvoted(t *testing.T) {
	slow(t)
	synctest.Test(t, func(t *testing.T) {
		var k skewed
		b := clocked(t, &k)
		wrong := 5 * 365 * 24 * time.Hour
		for range 3 {
			b.saw(time.Now().Add(wrong))
			b.deliverNew(1, 1)
			b.saw(time.Now())
			b.deliverNew(2, 1)
		}
		b.has(2, 2)
		time.Sleep(keep)
		b.has(0, 2)
		time.Sleep(remember + 24*time.Hour)
		b.has(0, 0)
	})
}

func TestRetriesKeepToTheMonotonicClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, by := range []time.Duration{-1000 * 24 * time.Hour, 1000 * 24 * time.Hour} {
			var k skewed
			b := clocked(t, &k)
			b.commit("p", events(1, 1)...)
			b.settle(event.Retry, 10*time.Minute, b.next("app", 1, 0).Deliveries...)
			k.jump(by)
			if time.Sleep(9 * time.Minute); len(b.next("app", 0, 1).Deliveries) != 0 {
				t.Error("too soon")
			}
			b = b.again("app")
			if time.Sleep(11 * time.Minute); len(b.next("app", 0, 1).Deliveries) != 1 {
				t.Error("too late")
			}
			b.end()
		}
	})
}

// When a store is full for long, the ids that are old enough still go.
func TestIDsExpireWhileTheStoreIsFull(t *testing.T) {
	slow(t)
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Int64
		free.Store(1 << 40)
		b := fresh(t, Options{Keep: keep, Remember: remember, MinFree: 1 << 30, free: func(string) (int64, error) { return free.Load(), nil }}, "app")
		b.commit("p", events(1, 3)...)
		time.Sleep(25 * time.Hour)
		b.has(3, 3) // sealed by now
		free.Store(0)
		time.Sleep(remember + 24*time.Hour)
		b.has(3, 0)
	})
}
