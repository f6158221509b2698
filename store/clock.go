package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

const (
	// tolerance is how far two clocks may be apart and still agree.
	tolerance = time.Hour
	// steady is how long a clock must run on evenly after a jump to be believed where no source has ever told the time.
	steady = 24 * time.Hour
)

// neverBefore: a clock that stands before it was never set.
var neverBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is the time that records are stamped with and that ages are measured by. It follows the wall clock as long as that runs
// evenly, and runs on by the monotonic clock when that does not. A wall clock in doubt makes nothing expire: one that stands
// before the newest stored time, has jumped by more than an hour, or, in a store to which servers have told the time before,
// comes back from a stop of more than an hour. The doubt ends when a server's Date agrees with it, to the hour. One such
// agreement is enough until the next jump; then a server that is wrong about the time changes nothing.
//
// A store of whose servers none has ever told the time would otherwise keep everything for ever after the first suspended night, and only until
// the next start, which has no monotonic clock to compare with and believes the wall clock again. So there a clock that runs on
// evenly for a day after its last jump, ahead of every record, is believed too. It may still be wrong: so all that was stamped since the opening counts as made at
// that moment, and is kept too long rather than too short. A clock that was never set, or stands before a record, is never believed without a server.
type clock struct {
	wall func() time.Time

	mu    sync.Mutex
	at    time.Time // what it said
	mono  time.Time // and when, by the monotonic clock
	lag   time.Duration
	sure  bool // a server has agreed since the opening, and since the last jump
	dated bool // some server has agreed once, in the life of the store
	doubt string
	quiet bool          // the doubt is nobody's trouble: it comes with a stop and ends with the first answer
	since time.Time     // by the monotonic clock: when the doubt began, or the wall clock jumped last in it
	off   time.Duration // in doubt: how far the wall clock was ahead then

	// Where the clock stopped being sure. What was stamped from there on is put right when it is sure again.
	unsure struct {
		age    time.Time // by age
		marked bool      // the next two are set; the writer sets them
		event  uint64
		chunk  uint64
	}
}

// newClock starts a clock after newest, the newest stored time.
func newClock(wall func() time.Time, newest time.Time, dated bool) *clock {
	c := &clock{wall: wall, at: wall(), mono: time.Now(), dated: dated}
	c.since = c.mono
	switch {
	case !dated && !newest.IsZero() && newest.Before(neverBefore) && !c.at.Before(neverBefore):
		// All that is stored was stamped by a clock that was never set. What the next look at the clock believes puts it right.
		c.doubt, c.quiet, c.since = "the clock was never set before", true, c.mono.Add(-steady)
		c.off, c.at = c.at.Sub(newest), newest
		c.unsure.marked = true // from the first event and the first chunk on
		return c
	case c.at.Before(neverBefore), c.at.Before(newest.Add(-tolerance)):
		c.doubt = fmt.Sprintf("the clock says %s, the newest record is of %s", stamp(c.at), stamp(newest))
		if newest.After(c.at) {
			c.at = newest
		}
	case dated && c.at.After(newest.Add(tolerance)):
		c.doubt, c.quiet = fmt.Sprintf("the clock says %s, the newest record is of %s, and no server has said yet which day it is",
			stamp(c.at), stamp(newest)), true
		c.lag = c.at.Sub(newest)
	}
	c.unsure.age = c.at.Add(-c.lag)
	c.off = wall().Sub(c.at)
	return c
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "nothing"
	}
	return t.UTC().Format(time.RFC3339)
}

// read looks at the wall clock and moves on. c.mu is held.
func (c *clock) read() time.Time {
	mono := time.Now()
	next, wall := c.at.Add(mono.Sub(c.mono)), c.wall()
	off := wall.Sub(next)
	switch {
	case c.doubt != "":
		if (off - c.off).Abs() > tolerance {
			c.off, c.since = off, mono
		}
	case off.Abs() > tolerance:
		c.doubt = fmt.Sprintf("the clock has jumped by %s, to %s", off.Round(time.Second), stamp(wall))
		c.off, c.since = off, mono
		if c.quiet = false; c.sure { // else all since the opening is unsure
			c.unsure.age, c.unsure.marked = next, false
		}
		c.sure = false
	default:
		next = wall
	}
	c.at, c.mono = next, mono
	return next.Round(0).UTC() // as a record gives it back: what is in memory and what was read again look the same
}

// now is the time for a record.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// ripe reports whether a clock in doubt is to be believed without a server.
func (c *clock) ripe() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, wall := c.read(), c.wall()
	return c.doubt != "" && !c.dated && time.Since(c.since) >= steady && !wall.Before(now) && !wall.Before(neverBefore)
}

// age is the time by which failing deliveries grow old: it doesn't count a stop that only a clock in doubt tells of.
func (c *clock) age() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read().Add(-c.lag)
}

// trusted reports whether something may expire, be collected or be given up by the wall clock; newest is the newest stored time.
func (c *clock) trusted(newest time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read()
	return c.doubt == "" && !c.wall().Before(newest) || mutant("blind-clock")
}

// trouble is why the clock isn't believed, in a sentence for a person; empty when it is, or when that says nothing yet.
func (c *clock) trouble() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read(); c.quiet {
		return ""
	}
	return c.doubt
}

// mark says where a clock that isn't sure stands. Only the writer calls it, before it stamps anything.
func (c *clock) mark(st *state) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read(); !c.sure && !c.unsure.marked {
		c.unsure.event, c.unsure.chunk, c.unsure.marked = st.next, st.nextChunk, true
	}
}

// SawDate tells the store what time it is by a server that has just answered. Poll by poll it is how a clock that was in doubt
// comes to be believed; a zero time says nothing.
func (s *Store) SawDate(ctx context.Context, date time.Time) {
	c := s.clock
	c.mu.Lock()
	c.read()
	useless := date.IsZero() || c.sure
	c.mu.Unlock()
	if !useless {
		_ = s.do(ctx, func(b *batch) error { b.sawDate(date, true); return nil }) // the next answer says it again
	}
}

// ripen believes a clock that is ripe.
func (s *Store) ripen() {
	if s.db != nil && s.clock.ripe() {
		_ = s.write([]*request{{prepare: func(b *batch) error { b.sawDate(s.clock.wall(), false); return nil }}}) // the next tick tries again
	}
}

// sawDate compares the wall clock with a server's. Where they agree the wall clock is believed, and what was stamped since it
// last was is put right. Where they don't, records are stamped with the server's time from now on, and nothing grows old by it.
// What no server said is the wall clock's own date: it ends the doubt and proves nothing.
func (b *batch) sawDate(date time.Time, server bool) {
	c := b.s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.read()
	wall := c.wall()
	agree := wall.Sub(date).Abs() <= tolerance
	if c.sure || !agree && c.doubt != "" && now.Sub(date).Abs() <= tolerance {
		return
	}
	right, lag := wall, time.Duration(0)
	if !agree {
		if right = date; date.Before(b.st.newest.Add(-tolerance)) {
			right = now
		}
		lag = c.lag + right.Sub(now)
	}
	a := b.st.amended
	if right.Sub(now).Abs() > tolerance || b.st.newest.After(right.Add(tolerance)) {
		a = a.extend(amended{at: right, from: c.unsure.event, to: b.next, fromChunk: c.unsure.chunk, toChunk: b.nextChunk}, b.s.longest())
	}
	if agree {
		b.shift(c.unsure.age, right.Sub(now)+c.lag, right)
	}
	sure := agree && server
	if a != b.st.amended || sure && !c.dated {
		b.put(bucketMeta, []byte(metaClock), a.record(sure || c.dated))
	}
	b.now = right
	b.after = append(b.after, func(st *state) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if a != st.amended {
			st.memory.cut() // so that no run is made of ids from before and after
			st.amended = a
		}
		if st.newest.After(right) {
			st.newest = right
		}
		c.at, c.mono, c.lag = right, time.Now(), lag
		c.sure, c.dated = sure, c.dated || sure
		c.unsure.marked = false
		if agree {
			c.doubt, c.quiet, c.unsure.age = "", false, right
		} else {
			c.doubt, c.quiet = fmt.Sprintf("the clock says %s, a server that was asked says %s", stamp(wall), stamp(date)), false
		}
	})
}

// shift moves what was found failing, or down, since the clock was last sure by as much as the clock was wrong. Nothing has
// been failing since a time to come.
func (b *batch) shift(since time.Time, by time.Duration, now time.Time) {
	moved := func(t time.Time) time.Time {
		if t.After(since) {
			t = t.Add(by)
		}
		if t.After(now) {
			t = now
		}
		return t
	}
	for name, k := range b.st.sinks {
		if at := moved(k.idleSince); !at.Equal(k.idleSince) {
			d := b.sink(name)
			d.idleSince, d.changed = at, true
		}
		for seq, x := range k.failing {
			first := x.first
			if !first.IsZero() {
				first = moved(first)
			}
			off := first.Sub(x.first).Abs()
			b.after = append(b.after, func(*state) { x.first = first })
			if off <= time.Minute && !b.st.newest.After(now.Add(tolerance)) {
				continue // the difference that a restart makes
			}
			whole, err := b.exception(name, seq)
			if err != nil {
				continue // the next opening finds it
			}
			if settled := whole.due.Add(-whole.wait); settled.After(now) {
				whole.due = now.Add(whole.wait)
			}
			key := seqKey(seq)
			whole.first = first
			b.put(prefixX+name, key, whole.record(key, k.index))
		}
	}
}

// amended says which records were stamped by a clock that turned out to be wrong: those in the ranges count as made at that
// time, and so does any before their ends that claims to be younger.
type amended struct {
	at                 time.Time
	from, to           uint64 // events, by seq
	fromChunk, toChunk uint64 // chunks of ids
}

// extend adds a later amendment; the range of the former is kept as long as something in it can be young.
func (a amended) extend(later amended, longest time.Duration) amended {
	if a.from < a.to && later.at.Before(a.at.Add(longest)) {
		later.from = min(a.from, later.from)
	}
	if a.fromChunk < a.toChunk && later.at.Before(a.at.Add(longest)) {
		later.fromChunk = min(a.fromChunk, later.fromChunk)
	}
	return later
}

// event returns when an event stamped t was taken in.
func (a amended) event(seq uint64, t time.Time) time.Time {
	if seq < a.to && (seq >= a.from || t.After(a.at)) {
		return a.at
	}
	return t
}

// chunk returns when a chunk of ids stamped t was taken in.
func (a amended) chunk(n uint64, t time.Time) time.Time {
	if n < a.toChunk && (n >= a.fromChunk || t.After(a.at)) {
		return a.at
	}
	return t
}

const metaClock = "clock"

func (a amended) record(dated bool) []byte {
	e := newRecord(kindClock, 64)
	e.bool(dated)
	e.time(a.at)
	for _, n := range []uint64{a.from, a.to, a.fromChunk, a.toChunk} {
		e.uint(n)
	}
	return e.seal([]byte(metaClock))
}

// loadClock reads what is known of clocks that were wrong. A record that can't be read says nothing: the clock is asked anew.
func (st *state) loadClock(tx *bolt.Tx) {
	d, err := open(kindClock, []byte(metaClock), tx.Bucket([]byte(bucketMeta)).Get([]byte(metaClock)))
	if err != nil {
		return
	}
	dated := d.bool()
	a := amended{at: d.time(), from: d.uint(), to: d.uint(), fromChunk: d.uint(), toChunk: d.uint()}
	if d.err == nil {
		st.dated, st.amended = dated, a
	}
}

// longest is how long a record can matter by its age.
func (s *Store) longest() time.Duration { return max(s.opt.Remember, s.opt.Keep) + 2*steady }

// tellClock tells when the clock comes into doubt and when it is believed again.
func (s *Store) tellClock() {
	if why := s.clock.trouble(); why != s.clockWhy {
		s.clockWhy = why
		s.opt.Notify(event.ClockDoubted{At: s.clock.now(), Why: why})
	}
}
