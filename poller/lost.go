package poller

import (
	"context"
	"fmt"
	"time"

	"tidings/event"
)

// onLost is what to do about a place that the API no longer knows.
func (f *feed) onLost() Lost {
	if f.poller.OnLost == "" {
		return LostFromTime
	}
	return f.poller.OnLost
}

// stop takes nothing in. It records gap with the position as it was, once, and returns the error that keeps the source failing until
// the API knows the place again or a person decides. c stands in pos, a pointer.
func (f *feed) stop(ctx context.Context, generation uint64, c *common, pos any, gap event.Gap) error {
	if !c.Lost {
		c.Lost = true
		if _, err := f.commit(ctx, event.Commit{Generation: generation, Position: encode(pos), Gap: &gap}, nil); err != nil {
			c.Lost = false
			return err
		}
	}
	if f.onLost() == LostFromTime {
		return fmt.Errorf("%s: %s, so on_lost_position: from_time can't be done; nothing more is taken in until the place is known again or you decide: "+
			"on_lost_position: from_now goes on from now", f.label(), gap.Why)
	}
	return fmt.Errorf("%s: %s; nothing more is taken in until you decide: on_lost_position: from_time takes in what is still listed from %s on, "+
		"from_now goes on from now", f.label(), gap.Why, c.since(f.poller.Overlap))
}

// since names in an error where a lost place is looked for.
func (c *common) since(overlap time.Duration) string {
	if c.Time.IsZero() {
		return "the start"
	}
	return c.Time.Add(-overlap).UTC().Format(time.RFC3339)
}

// lost makes the gap of a lost place: of what came after the newest event that was seen, or after the start where none was.
func (f *feed) lost(c *common, why string) event.Gap {
	gap := event.Gap{Source: f.poller.Source, From: c.Time, Found: time.Now().Round(0), Why: why}
	if gap.From.IsZero() && c.Start != nil {
		gap.From = *c.Start
	}
	return gap
}

// away reports whether the API was last asked so long ago that it may have dropped, by its retention, what came since. A source that
// was quiet while this program was started anew is no different from one that nobody asked. head is the server's clock at an answer.
func (f *feed) away(c *common, head time.Time) bool {
	asked := later(later(c.Seen, f.seen), c.Time) // a position from before the retention was configured has no Seen
	return f.Retain > 0 && c.CaughtUp && !asked.IsZero() && head.Sub(asked) > f.Retain
}

const whyAway = "the API was last asked longer ago than it keeps events; what it has dropped since, if anything, is gone"
