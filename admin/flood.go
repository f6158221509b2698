package admin

import "time"

const (
	firstAgain = time.Minute // a trouble that goes on is told again after this, then at doubled intervals
	lastAgain  = time.Hour
	calmAfter  = 10 * time.Minute // without trouble: the next one is told like a first one

	burstLines  = 10 // single misfortunes told in a burst; the rest is counted
	burstWithin = time.Minute
)

// trouble decides which failures of one thing are told: the first of each kind at once, then at growing intervals, and its end
// if its beginning was told. A thing that fails and recovers in turn is one trouble until it has been well for calmAfter.
type trouble struct {
	open     bool            // failing now
	shown    bool            // this failing was told, so its end is
	kinds    map[string]bool // told since the trouble began
	interval time.Duration
	again    time.Time // not told before
	since    time.Time // when this failing began
	ended    time.Time // when the last one did
	count    int       // failures since it began
}

// failed counts a failure at now and reports whether to tell it, and whether as one that goes on.
func (t *trouble) failed(now time.Time, kind string) (tell, still bool) {
	if !t.open && now.Sub(t.ended) >= calmAfter {
		*t = trouble{}
	}
	if !t.open {
		t.open, t.shown, t.since, t.count = true, false, now, 0
	}
	t.count++
	first := !t.kinds[kind]
	if !first && now.Before(t.again) {
		return false, false
	}
	if t.kinds == nil {
		t.kinds = map[string]bool{}
	}
	t.kinds[kind] = true
	still, t.shown = t.shown, true
	t.interval = min(max(2*t.interval, firstAgain), lastAgain)
	t.again = now.Add(t.interval)
	return true, still && !first
}

// recovered ends the trouble at now and reports whether to tell it, with what it was.
func (t *trouble) recovered(now time.Time) (tell bool, was trouble) {
	if !t.open {
		return false, trouble{}
	}
	was = *t
	t.open, t.ended = false, now
	return was.shown, was
}

// burst decides which of many single misfortunes are told: the first burstLines within burstWithin; the others are counted.
type burst struct {
	began time.Time
	told  int
	more  int
}

// tell counts one at now and reports whether to tell it. Call over before.
func (b *burst) tell(now time.Time) bool {
	if b.told == 0 {
		b.began = now
	}
	if b.told == burstLines {
		b.more++
		return false
	}
	b.told++
	return true
}

// over ends a burst whose time has passed and returns how many were only counted.
func (b *burst) over(now time.Time) int {
	if b.told == 0 || now.Sub(b.began) < burstWithin {
		return 0
	}
	more := b.more
	*b = burst{}
	return more
}
