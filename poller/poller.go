// Package poller decides when a source is polled, walks its list and says what the source's next position is. It knows a
// Fetcher and a Store, not HTTP and not bbolt.
//
// What it keeps to, for a list that shows the newest event first:
//
//  1. A walk goes from the head back to what is settled, whole pages at a time, before anything of it is committed.
//  2. It is committed oldest first, and only its last commit moves the position. A crash in between repeats fetches, never
//     skips an event: everything older than a committed event is committed.
//  3. What is new is decided by id (never by comparing ids) and, against what was forgotten or came before the start, by time.
//  4. The position's time never runs ahead of the server's clock, so an event dated in the future hides no other.
//  5. A poll that finds nothing new writes nothing.
//  6. Memory is bounded: about Memory bytes of bodies and one page, and a few hundred KB of cursors, however long the list.
//
// A Poller never polls twice at once. It starts no goroutine.
package poller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"tidings/event"
)

// StartKind says where a first run begins.
type StartKind int

const (
	StartNow      StartKind = iota // at the first answer, by the server's clock, or the first try where that was earlier
	StartEarliest                  // with all that is listed
	StartAt                        // at a time
)

// Start is where a first run begins. It is resolved once and kept with the position; later edits change nothing.
type Start struct {
	Kind StartKind
	At   time.Time // StartAt: the floor; an event at that very time is taken in
}

// Defaults of Poller's bounds.
const (
	DefaultBackoff    = time.Second
	DefaultMaxBackoff = 15 * time.Minute
	DefaultMemory     = 8 << 20
)

// Poller polls one source that lists its newest event first. Set its fields before the first call and leave them alone.
type Poller struct {
	Source  string
	Fetcher Fetcher
	Store   Store

	Every  time.Duration // from the end of one poll to the next; or
	Cron   cron.Schedule // when to poll, by the wall clock. Not both
	Jitter float64       // each wait is drawn from Every ± that share of it; a cron poll is up to 30 s late by draw. 0: neither

	Start    Start
	Overlap  time.Duration // each poll looks again that far behind the position, for events that are listed late
	Remember time.Duration // how long the store remembers ids at least: what is older and unknown is forgotten, not new

	// After n failed polls in a row the next one waits Backoff·2ⁿ⁻¹, at most MaxBackoff, ± 20 %; never less than Every nor
	// than what the API asked for. Zero values take the defaults.
	Backoff, MaxBackoff time.Duration

	Memory int                // bytes of bodies that a walk may hold before it keeps cursors only; zero takes the default
	Notify func(event.Notice) // Polled, PollFailed, Hashed; may be nil

	mu       sync.Mutex // held during a poll
	failures int        // polls that failed in a row
	firstTry time.Time  // of this process, with its monotonic clock
	walk     *walk      // one that a failed fetch interrupted
	sought   string     // id of an event that a forgotten walk listed and did not take in; empty once it is listed again
	quiet    time.Time  // when the position was last stored without an event
	hashed   bool       // Hashed was told
	progress event.Progress
}

// Progress is the poller's promise about its next step, for a watchdog.
func (p *Poller) Progress() *event.Progress { return &p.progress }

// Run polls at once and then on schedule until ctx ends; then it returns nil. What goes wrong with a source is told by
// PollFailed and tried again; Run returns an error only where it can't work at all.
func (p *Poller) Run(ctx context.Context) error {
	if (p.Every > 0) == (p.Cron != nil) {
		return fmt.Errorf("source %s needs an interval or a cron schedule, and not both", p.Source)
	}
	if p.Cron != nil && p.Cron.Next(time.Now()).IsZero() {
		return fmt.Errorf("source %s would never be polled: its cron schedule names no day within five years", p.Source)
	}
	defer p.progress.Rest()
	for ctx.Err() == nil {
		next, _ := p.poll(ctx, true)
		if ctx.Err() == nil {
			p.wait(ctx, next)
		}
	}
	return nil
}

// Poll polls once, until the source is caught up. It tells Polled or PollFailed as Run does, and returns the error that
// PollFailed tells. The end of ctx is no failure: it is returned and not told.
func (p *Poller) Poll(ctx context.Context) error {
	defer p.progress.Rest()
	_, err := p.poll(ctx, false)
	return err
}

// poll polls once, tells how it went and returns when to poll next.
func (p *Poller) poll(ctx context.Context, scheduled bool) (next time.Time, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	begun := time.Now()
	told := event.Polled{Source: p.Source}
	err = p.catchUp(ctx, &told)
	if err != nil && ctx.Err() != nil {
		return next, context.Cause(ctx)
	}
	now := time.Now()
	if err != nil {
		p.failures++
		health, after := judgeFailure(err)
		next = p.afterFailure(now, after)
		failed := event.PollFailed{Source: p.Source, At: now, Health: health, Err: err, Failures: p.failures}
		if scheduled {
			failed.Next = next
		}
		p.notify(failed)
		return next, err
	}
	p.failures = 0
	next = p.afterSuccess(now)
	told.At, told.Took = now, now.Sub(begun)
	if scheduled {
		told.Next = next
	}
	p.notify(told)
	return next, nil
}

// maxRestarts is how often one poll starts over at once because the position was changed under it or a cursor was lost.
const maxRestarts = 3

// catchUp walks the list until there is nothing more to take in.
func (p *Poller) catchUp(ctx context.Context, told *event.Polled) error {
	restarts := 0
	for {
		again, err := p.round(ctx, told)
		switch {
		case err == nil && !again:
			return nil
		case err == nil:
			continue
		}
		// A walk that can't go on is forgotten. Where its place was lost, or the position was changed under it, the list is
		// walked again from the head at once.
		lost := isLost(err) || p.stuck(err)
		restart := errors.Is(err, event.ErrStale) || lost && p.walk != nil && p.walk.begun
		if lost && p.walk != nil && p.walk.unseen != "" {
			p.sought = p.walk.unseen
		}
		if lost || errors.Is(err, errRepeats) {
			if err := p.drop(ctx); err != nil && !errors.Is(err, event.ErrStale) {
				return err
			}
		}
		if restarts++; !restart || restarts > maxRestarts {
			return err
		}
	}
}

// storeError marks what the store refused, in distinction to what the API did.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

func isLost(err error) bool {
	fetch, ok := errors.AsType[*FetchError](err)
	return ok && fetch.Lost
}

// maxStuck is how many polls in a row may fail at the same place of a walk: with the default backoff, almost two hours.
const maxStuck = 16

// stuck reports whether a walk is to be given up since its place fails again and again. It may be that place alone: not every API
// says plainly that it does not know a cursor, or it has an item there that can't be listed.
func (p *Poller) stuck(err error) bool {
	health, _ := judgeFailure(err)
	if p.walk == nil || !p.walk.begun || health != event.SourceFailing {
		return false
	}
	p.walk.stuck++
	return p.walk.stuck > maxStuck
}

// judgeFailure says what a failed poll makes of the source, and how long the API asked to be left alone.
func judgeFailure(err error) (event.SourceHealth, time.Duration) {
	if _, ok := errors.AsType[*storeError](err); ok {
		return event.SourceBlocked, 0
	}
	if fetch, ok := errors.AsType[*FetchError](err); ok && fetch.Health != "" {
		return fetch.Health, fetch.After
	} else if ok {
		return event.SourceFailing, fetch.After
	}
	return event.SourceFailing, 0
}

// Longest times of a step, for the watchdog. A Fetch may be a login and several requests of 30 s, each for a smaller page.
const (
	fetchTime  = 6 * time.Minute
	commitTime = 2 * time.Minute
	slack      = time.Minute
)

func (p *Poller) fetch(ctx context.Context, cursor string, told *event.Polled) (event.Page, error) {
	p.progress.Within(fetchTime)
	page, err := p.Fetcher.Fetch(ctx, Request{Cursor: cursor})
	if err != nil {
		return event.Page{}, err
	}
	if p.walk != nil {
		p.walk.stuck = 0
	}
	told.Pages++
	told.Listed += len(page.Events)
	if page.Hashed > 0 && !p.hashed {
		p.hashed = true
		p.notify(event.Hashed{Source: p.Source, At: time.Now()})
	}
	return page, nil
}

func (p *Poller) commit(ctx context.Context, c event.Commit, told *event.Polled) (event.Committed, error) {
	p.progress.Within(commitTime)
	c.Source = p.Source
	done, err := p.Store.Commit(ctx, c)
	if err != nil {
		return done, &storeError{fmt.Errorf("can't keep what source %s listed: %w", p.Source, err)}
	}
	if told != nil {
		told.New += done.New
		told.Repeated += done.Repeated
	}
	return done, nil
}

func (p *Poller) notify(n event.Notice) {
	if p.Notify != nil {
		p.Notify(n)
	}
}

func (p *Poller) memory() int {
	if p.Memory > 0 {
		return p.Memory
	}
	return DefaultMemory
}
