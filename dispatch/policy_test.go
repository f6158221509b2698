package dispatch

import (
	"testing"
	"time"

	"tidings/event"
)

func TestDelayWithoutJitter(t *testing.T) {
	p := Policy{Initial: time.Second, Max: 15 * time.Minute, Multiplier: 2}
	for attempt, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 10: 512 * time.Second, 11: 15 * time.Minute, 12: 15 * time.Minute,
		1 << 40: 15 * time.Minute,
	} {
		if got := p.Delay(attempt); got != want {
			t.Errorf("attempt %d waits %v, want %v", attempt, got, want)
		}
	}
	for _, c := range []struct {
		p    Policy
		want time.Duration
	}{
		{Policy{Initial: time.Hour, Max: time.Minute, Multiplier: 2}, time.Minute},
		{Policy{Initial: time.Second, Max: time.Minute, Multiplier: 1}, time.Second},
		{Policy{Initial: 0, Max: time.Minute, Multiplier: 2}, 0},
		{Policy{Initial: time.Second, Max: 200 * time.Hour, Multiplier: 1e9}, 200 * time.Hour},
	} {
		if got := c.p.Delay(1000); got != c.want {
			t.Errorf("%+v waits %v, want %v", c.p, got, c.want)
		}
	}
}

func TestDelayGrowsByTheMultiplierUpToMax(t *testing.T) {
	for _, multiplier := range []float64{1.1, 1.5, 3, 10} {
		p := Policy{Initial: 100 * time.Millisecond, Max: time.Hour, Multiplier: multiplier}
		want := float64(p.Initial)
		for attempt := 1; attempt < 200; attempt++ {
			if got := float64(p.Delay(attempt)); got < want*0.9999 || got > want*1.0001 {
				t.Fatalf("times %v: attempt %d waits %v, want %v", multiplier, attempt, time.Duration(got), time.Duration(want))
			}
			want = min(want*multiplier, float64(p.Max))
		}
	}
}

func TestDelayJitterStaysInBoundsAndMaxIsBeforeIt(t *testing.T) {
	p := Policy{Initial: time.Second, Max: time.Minute, Multiplier: 2, Jitter: 0.2}
	lowest, highest := time.Hour, time.Duration(0)
	for range 5000 {
		d := p.Delay(20)
		lowest, highest = min(lowest, d), max(highest, d)
	}
	if lowest < 48*time.Second || highest > 72*time.Second+1 {
		t.Errorf("drawn from %v to %v, want within 48s to 72s", lowest, highest)
	}
	if lowest > 49*time.Second || highest < 71*time.Second {
		t.Errorf("drawn from %v to %v only", lowest, highest)
	}
}

func TestSettle(t *testing.T) {
	p := Policy{Initial: time.Second, Max: time.Minute, Multiplier: 2, GiveUpAfter: time.Hour}
	fresh, old := event.Delivery{}, event.Delivery{Attempts: 3, FailingFor: 59*time.Minute + 50*time.Second}
	for _, c := range []struct {
		name    string
		d       event.Delivery
		r       Result
		took    time.Duration
		outcome event.Outcome
		wait    time.Duration
	}{
		{"done", fresh, Result{Verdict: Done}, 0, event.Delivered, 0},
		{"permanent", fresh, Result{Verdict: Permanent}, 0, event.Dead, 0},
		{"first failure, however long it took", fresh, Result{Verdict: Retry}, 2 * time.Hour, event.Retry, time.Second},
		{"young enough", old, Result{Verdict: Retry}, 9 * time.Second, event.Retry, 8 * time.Second},
		{"too old with this attempt", old, Result{Verdict: Retry}, 10 * time.Second, event.Dead, 0},
		{"holds the sink", fresh, Result{Verdict: Retry, RetryAfter: 10 * time.Minute}, 0, event.Retry, 10 * time.Minute},
		{"asks for this event", fresh, Result{Verdict: Retry, Wait: 10 * time.Minute}, 0, event.Retry, 10 * time.Minute},
		{"asks for less than the policy", fresh, Result{Verdict: Retry, Wait: 10 * time.Millisecond}, 0, event.Retry, time.Second},
		{"asks for a week", fresh, Result{Verdict: Retry, Wait: 168 * time.Hour}, 0, event.Retry, 24 * time.Hour},
	} {
		s := p.settle(c.d, c.r, time.Now(), c.took)
		if s.Outcome != c.outcome || s.Wait != c.wait {
			t.Errorf("%s: %v after %v, want %v after %v", c.name, s.Outcome, s.Wait, c.outcome, c.wait)
		}
	}
}
