// Package poller decides when a source is polled, reads its lists and says what the source's next position is. It knows a
// Fetcher and a Store, not HTTP and not bbolt.
//
// A source has one list or several: its feeds. A poll gives each its turn, on one schedule. How a feed's place is kept is a strategy,
// one for each Kind:
//
//	round(ctx, told) (again, err)       reads the position, fetches pages, commits events together with the place they lead to
//	failed(ctx, err) (restart, err)     forgets what can't be gone on with; restart: a round is taken anew at once
//
// All else is the feed's: asking, counting, validators, the check of the order, what the store is asked and given.
//
// What all of them keep to:
//
//  1. Events are committed oldest first, and no commit moves the position past an event that is not committed with it or before it. A
//     crash repeats fetches, never skips an event.
//  2. What is new is decided by id (never by comparing ids) and, against what was forgotten or came before the start, by time.
//  3. The position's time never runs ahead of the server's clock, so an event dated in the future hides no other. Where
//     that is more than a day from ours, the earlier of both counts.
//  4. A poll that finds nothing new writes nothing, but for a place that moved: at once, and then at most once a minute.
//  5. Memory is bounded: about Memory bytes of bodies and one page, and a few hundred KB of cursors, however long the list.
//
// A list that shows the newest event first is walked from the head back to what is settled, whole pages at a time, before anything of it
// is committed, and only the last commit moves the position.
//
// A Poller never polls twice at once. It starts no goroutine.
package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// Poller polls one source. Set its fields before the first call and leave them alone.
type Poller struct {
	Source string
	Feeds  []Feed // in the order in which they are polled; each has a name where there are several
	Store  Store

	Every  time.Duration  // from the end of one poll to the next; or
	Cron   cron.Schedule  // when to poll, by the wall clock. Not both
	Jitter float64        // each wait is drawn from Every ± that share of it; a cron poll is up to 30 s late by draw. 0: neither
	Random func() float64 // draws from 0 to less than 1; nil: math/rand

	Start    Start
	OnLost   Lost          // what to do when the API no longer knows our place; empty: LostFromTime
	Overlap  time.Duration // each poll looks again that far behind the position, for events that are listed late
	Remember time.Duration // how long the store remembers ids at least: what is older and unknown is forgotten, not new

	// After n failed polls in a row the next one waits Backoff·2ⁿ⁻¹, at most MaxBackoff, ± 20 %; never less than Every nor
	// than what the API asked for. Zero values take the defaults.
	Backoff, MaxBackoff time.Duration

	Memory int                // bytes of bodies that a walk may hold before it keeps cursors only; zero takes the default
	Notify func(event.Notice) // Polled, PollFailed, Hashed, SourceNote; may be nil

	mu       sync.Mutex // held during a poll
	failures int        // polls that failed in a row
	feeds    []*feed    // Feeds, at work
	turn     int        // the feed that the next poll begins with
	rest     time.Time  // the API asked not to be polled before
	calm     bool       // the poll is a scheduled one: what is not urgent waits for the next
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
	p.mu.Lock()
	err := p.open()
	p.mu.Unlock()
	if err != nil {
		return err
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
	p.calm = scheduled
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
		failed := event.PollFailed{Source: p.Source, At: now, Health: health, Err: err, Failures: p.failures,
			Listed: told.Listed, Filtered: told.Filtered, Repeated: told.Repeated}
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

// open makes the feeds ready for work, once.
func (p *Poller) open() error {
	if p.feeds != nil {
		return nil
	}
	if len(p.Feeds) == 0 {
		return fmt.Errorf("source %s has no list to poll", p.Source)
	}
	feeds := make([]*feed, len(p.Feeds))
	names := map[string]bool{}
	for i, set := range p.Feeds {
		f := &feed{Feed: set, poller: p, store: p.Store}
		if names[f.Name] || f.Name == "" && len(p.Feeds) > 1 {
			return fmt.Errorf("source %s has two feeds by the name %q: each needs its own", p.Source, f.Name)
		}
		names[f.Name] = true
		if f.Name != "" {
			f.store = &feedStore{Store: p.Store, name: f.Name}
		}
		var err error
		if f.strategy, err = newStrategy(f); err != nil {
			return err
		}
		feeds[i] = f
	}
	p.feeds = feeds
	return nil
}

// catchUp gives each feed its turn, and another one where that was not enough, when the others have had theirs. One that fails keeps none
// of the others from theirs, unless the store takes nothing in. Where the API wants to be left alone, the poll ends, and the next one
// begins with the feed after the one that heard so: one that uses up all that
// the API allows, or is never allowed anything, doesn't starve the others.
func (p *Poller) catchUp(ctx context.Context, told *event.Polled) error {
	if err := p.open(); err != nil {
		return err
	}
	p.rest = time.Time{}
	var failed failures
	first := p.turn
	p.turn = 0
	var waiting []int
	for i, f := range p.feeds {
		f.beginPoll()
		waiting = append(waiting, (first+i)%len(p.feeds))
	}
	for len(waiting) > 0 {
		at := waiting[0]
		waiting = waiting[1:]
		more, err := p.feeds[at].catchUp(ctx, told)
		if more {
			waiting = append(waiting, at)
		}
		if err != nil {
			failed = append(failed, err)
		}
		if asksToWait(err) {
			p.turn = (at + 1) % len(p.feeds)
			break
		}
		if ctx.Err() != nil || errors.Is(err, event.ErrFull) {
			break
		}
	}
	switch len(failed) {
	case 0:
		return nil
	case 1:
		return failed[0]
	}
	return failed
}

// resting reports whether the API is not to be asked anew in this poll, since it wants to be polled less often.
func (p *Poller) resting() bool { return p.calm && time.Now().Before(p.rest) }

// asksToWait reports whether the API wants to be left alone: its other lists are too, then.
func asksToWait(err error) bool {
	fetch, ok := errors.AsType[*FetchError](err)
	return ok && fetch.Health == event.SourceLimited
}

// failures are the errors of several feeds in one poll.
type failures []error

func (f failures) Error() string {
	var texts []string
	for _, err := range f {
		if text := err.Error(); !slices.Contains(texts, text) { // lists that begin with the same request fail with the same words
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "; ")
}

func (f failures) Unwrap() []error { return f }

// judgeFailure says what a failed poll makes of the source, and how long the API asked to be left alone.
func judgeFailure(err error) (event.SourceHealth, time.Duration) {
	if many, ok := errors.AsType[failures](err); ok {
		health, after := judgeFailure(many[0])
		for _, err := range many[1:] {
			_, more := judgeFailure(err)
			after = max(after, more)
		}
		return health, after
	}
	if isStoreError(err) {
		return event.SourceBlocked, 0
	}
	if fetch, ok := errors.AsType[*FetchError](err); ok && fetch.Health != "" {
		return fetch.Health, fetch.After
	} else if ok {
		return event.SourceFailing, fetch.After
	}
	return event.SourceFailing, 0
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
