package event

import (
	"sync/atomic"
	"time"
)

// began anchors Progress to the monotonic clock: a jump of the wall clock is no progress and no lack of it.
var began = time.Now()

// Progress is a loop's promise about its next step, for a watchdog to hold it to. A loop calls Within before each step that
// takes time, a wait included, with the longest time that the step may take. The zero value has promised nothing.
type Progress struct{ until atomic.Int64 }

// Within promises the next call of Within, or of Rest, within d.
func (p *Progress) Within(d time.Duration) { p.until.Store(int64(time.Since(began) + d)) }

// Rest takes the promise back: the loop has ended, or waits for something that no time bounds.
func (p *Progress) Rest() { p.until.Store(0) }

// Overdue reports whether a promise was made and its time has passed.
func (p *Progress) Overdue() bool {
	until := p.until.Load()
	return until != 0 && int64(time.Since(began)) > until
}
