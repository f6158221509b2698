package poller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"tidings/event"
)

// lives runs n seeded random lives in fake time, a quarter of them where tests are short. A failing seed is repeated by -run 'TEST/SEED$'.
func lives(t *testing.T, n int, life func(t *testing.T, c *chaos)) {
	if testing.Short() {
		n /= 4
	}
	for seed := range uint64(n) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { life(t, &chaos{rng: rand.New(rand.NewPCG(seed, 1))}) })
		})
	}
}

var errCrash = errors.New("crash")

// chaos makes fetches, commits and look-ups fail at random, and says whether the process has crashed.
type chaos struct {
	rng     *rand.Rand
	calm    bool
	crashed bool
}

func (c *chaos) chance(percent int) bool { return c.rng.IntN(100) < percent }

func (c *chaos) fetch() error {
	if !c.calm && c.chance(4) {
		return &FetchError{Health: event.SourceFailing, Err: errors.New("503")}
	}
	return nil
}

func (c *chaos) rattle(s *fakeStore) {
	s.fault = func(event.Commit) (before, after error) {
		if c.calm {
			return nil, nil
		}
		switch c.rng.IntN(40) {
		case 0:
			c.crashed = true
			return errCrash, nil
		case 1:
			c.crashed = true
			return nil, errCrash
		case 2:
			return event.ErrUnknownOutcome, nil
		case 3:
			return nil, event.ErrUnknownOutcome
		case 4:
			return event.ErrFull, nil
		case 5:
			s.pos.Generation++
		}
		return nil, nil
	}
	s.lookup = func() error {
		if !c.calm && c.chance(1) {
			return errors.New("can't read")
		}
		return nil
	}
}
