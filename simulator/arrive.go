package simulator

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Add lets n random events happen now: they head the list. It returns them, oldest first.
func (a *account) Add(n int) []Event {
	return a.AddAt(a.now(), make([]string, n)...)
}

// AddLate lets one random event become visible now that happened d ago: it is listed behind the head.
func (a *account) AddLate(d time.Duration) Event {
	return a.AddAt(a.now().Add(-d), "")[0]
}

// AddAt adds an event of each of these types at t, to the second, and returns them, oldest first. An empty type is a random
// one. Events of one second stand in the order in which they were added.
func (a *account) AddAt(t time.Time, types ...string) []Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	var added []*entry
	for _, typ := range types {
		added = append(added, a.vendor.happen(t, typ)...)
	}
	a.list.insert(added...)
	return events(added)
}

// Backfill adds n random events that happened at random moments of the time before now, many of them in the same seconds.
func (a *account) Backfill(n int, over time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	times := make([]time.Time, n)
	for i := range times {
		if i > 0 && a.arrivals.IntN(4) == 0 {
			times[i] = times[i-1] // one action of a customer makes several events
		} else {
			times[i] = now.Add(-time.Duration(a.arrivals.Float64() * float64(over))).Truncate(time.Second)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	added := make([]*entry, 0, n)
	for _, t := range times {
		added = append(added, a.vendor.happen(t, "")...)
	}
	a.list.insert(added...)
}

// Run lets events happen at random moments, rate a second on average, until ctx ends; then it returns nil. The fault "late"
// says how many of them are listed behind the head, and how far.
func (a *account) Run(ctx context.Context, rate float64) error {
	if !(rate > 0 && rate <= MaxRate) {
		return fmt.Errorf("events can't arrive at a rate of %v a second; give one above 0 and up to %d", rate, MaxRate)
	}
	next := time.Now()
	for {
		a.mu.Lock()
		gap := a.arrivals.ExpFloat64() / rate
		a.mu.Unlock()
		next = next.Add(time.Duration(min(gap, maxGap) * float64(time.Second)))
		if !wait(ctx, time.Until(next)) {
			return nil
		}
		if late := a.lateness(); late > 0 {
			a.AddLate(late)
		} else {
			a.Add(1)
		}
	}
}

const (
	MaxRate = 100_000 // new events a second
	maxGap  = 1e9     // seconds; keeps a tiny rate from overflowing a Duration
)

// lateness draws how late an arrival is listed; 0 is in time.
func (a *account) lateness() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	late := a.faults.Late.For
	if !a.strikes(&a.faults.Late, "late") {
		return 0
	}
	return min(late, time.Second+time.Duration(a.arrivals.Float64()*float64(late)))
}

func events(entries []*entry) []Event {
	all := make([]Event, len(entries))
	for i, e := range entries {
		all[i] = e.Event
	}
	return all
}
