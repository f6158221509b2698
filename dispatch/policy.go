package dispatch

import (
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"

	"tidings/event"
)

// longest is what a sink may ask us to wait, for itself or for an event; more is cut.
const longest = 24 * time.Hour

// Policy says when a failed delivery is tried again and when it is given up.
type Policy struct {
	Initial     time.Duration // the wait after the first failed attempt
	Max         time.Duration // no wait is longer, before jitter
	Multiplier  float64       // each wait is the one before times this; at least 1
	Jitter      float64       // each wait is drawn from ± this part of itself; 0 to 1
	GiveUpAfter time.Duration // age from the first failed attempt at which a failure is the last one; 0: the first failure is
}

// Delay draws the wait after failed attempt number attempt, 1 the first. Call it once an attempt: each call draws anew.
func (p Policy) Delay(attempt int) time.Duration {
	b := backoff.ExponentialBackOff{
		InitialInterval:     min(p.Initial, p.Max),
		MaxInterval:         p.Max,
		Multiplier:          p.Multiplier,
		RandomizationFactor: p.Jitter,
		Clock:               backoff.SystemClock,
	}
	b.Reset()
	for range min(attempt, p.steps()) - 1 {
		b.NextBackOff()
	}
	return b.NextBackOff()
}

// steps is the attempt from which on the wait no longer grows.
func (p Policy) steps() int {
	if p.Multiplier <= 1 || p.Initial <= 0 || p.Initial >= p.Max {
		return 1
	}
	return 2 + int(math.Ceil(math.Log(float64(p.Max)/float64(p.Initial))/math.Log(p.Multiplier)))
}

// settle makes the settlement of one attempt that counts: its verdict is Done, Retry or Permanent.
func (p Policy) settle(d event.Delivery, r Result, at time.Time, took time.Duration) event.Settlement {
	s := event.Settlement{
		Sink: d.Sink, Seq: d.Seq, Outcome: event.Dead,
		Attempt: event.Attempt{At: at, Took: took, Reason: r.Reason, Answer: r.Answer},
	}
	switch r.Verdict {
	case Done:
		s.Outcome = event.Delivered
	case Retry:
		age := d.FailingFor
		if age > 0 { // the age begins with the end of the first failed attempt
			age += took
		}
		if age < p.GiveUpAfter {
			s.Outcome = event.Retry
			s.Wait = max(p.Delay(d.Attempts+1), min(max(r.RetryAfter, r.Wait), longest))
		}
	}
	return s
}
