package poller

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// cronLate is how late a cron poll is at most, by draw: not every installation asks at the full minute.
const cronLate = 30 * time.Second

// backoffJitter is the share of a wait after a failure by which it may be longer or shorter.
const backoffJitter = 0.2

// afterSuccess returns when to poll after a poll that ended well at now. Intervals run by the monotonic clock, cron by the
// wall clock: such a time carries no monotonic reading. It is no sooner than the API asked for.
func (p *Poller) afterSuccess(now time.Time) time.Time {
	if p.Cron != nil {
		next := p.Cron.Next(later(now, p.rest).Round(0)).Round(0)
		if p.Jitter > 0 {
			next = next.Add(time.Duration(p.draw() * float64(cronLate)))
		}
		return next
	}
	spread := p.Jitter * float64(p.Every) * (2*p.draw() - 1)
	return later(now.Add(p.Every+time.Duration(spread)), p.rest)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// afterFailure returns when to poll after p.failures failures in a row. A cron source is tried again before its next turn.
func (p *Poller) afterFailure(now time.Time, after time.Duration) time.Time {
	return later(now.Add(max(p.backoff(p.failures), p.Every, after)), p.rest)
}

func (p *Poller) backoff(failures int) time.Duration {
	b := backoff.ExponentialBackOff{
		InitialInterval: DefaultBackoff, MaxInterval: DefaultMaxBackoff,
		Multiplier: 2, Clock: backoff.SystemClock,
	}
	if p.Backoff > 0 {
		b.InitialInterval = p.Backoff
	}
	if p.MaxBackoff > 0 {
		b.MaxInterval = p.MaxBackoff
	}
	b.InitialInterval = min(b.InitialInterval, b.MaxInterval)
	b.Reset()
	for range min(failures, 64) - 1 {
		b.NextBackOff()
	}
	return time.Duration(float64(b.NextBackOff()) * (1 + backoffJitter*(2*p.draw()-1)))
}

// draw returns a number from 0 to less than 1, from which a wait is made.
func (p *Poller) draw() float64 {
	if p.Random != nil {
		return p.Random()
	}
	return rand.Float64()
}

// wait sleeps until next or the end of ctx. It looks at the clock once a minute: the wall clock may be set meanwhile, and a
// machine that was suspended is late. Where the clock was set back it returns early, since a poll too many does no harm.
func (p *Poller) wait(ctx context.Context, next time.Time) {
	span := time.Until(next)
	for left := span; left > 0 && left <= span; left = time.Until(next) {
		step := min(left, time.Minute)
		p.progress.Within(step + slack)
		timer := time.NewTimer(step)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
