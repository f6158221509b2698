package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"

	"tidings/event"
)

// polls runs the poller for d and returns how long after the start each poll asked for the head.
func (r *rig) polls(t *testing.T, d time.Duration) (at []time.Duration) {
	t.Helper()
	begun := time.Now()
	before := r.list.before
	r.list.before = func(n int, cursor string) error {
		if cursor == "" {
			at = append(at, time.Since(begun))
		}
		if before != nil {
			return before(n, cursor)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	r.list.before = before
	return at
}

func parse(t *testing.T, spec string) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryCountsFromTheEndOfThePoll(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.list.before = func(int, string) error { time.Sleep(20 * time.Second); return nil }
		want := []time.Duration{0, 80 * time.Second, 160 * time.Second}
		if at := r.polls(t, 3*time.Minute); !slices.Equal(at, want) {
			t.Errorf("polled at %v, want %v", at, want)
		}
	})
}

func TestJitterSpreadsTheWaits(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.Jitter = 0.1
		at := r.polls(t, 10*time.Hour)
		least, most := time.Hour, time.Duration(0)
		for i := 1; i < len(at); i++ {
			wait := at[i] - at[i-1]
			least, most = min(least, wait), max(most, wait)
		}
		if least < 54*time.Second || least > 56*time.Second || most > 66*time.Second || most < 64*time.Second {
			t.Errorf("waits from %v to %v, want 54 s to 66 s", least, most)
		}
	})
}

func TestCron(t *testing.T) {
	in(t, func(t *testing.T) { // at 00:00:03.4
		r := newRig(Start{Kind: StartNow})
		r.Every, r.Cron = 0, parse(t, "*/5 * * * *")
		off := 3*time.Second + 400*time.Millisecond
		want := []time.Duration{0, 5*time.Minute - off, 10*time.Minute - off}
		if at := r.polls(t, 14*time.Minute); !slices.Equal(at, want) {
			t.Errorf("polled at %v, want %v", at, want)
		}
		if told := last[event.Polled](t, r.told); !told.Next.Equal(time.Date(2000, 1, 1, 0, 15, 0, 0, time.UTC)) {
			t.Errorf("next is told as %v", told.Next)
		}
	})
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.Every, r.Cron, r.Jitter = 0, parse(t, "*/5 * * * *"), 0.1
		begun := time.Now()
		var most time.Duration
		for _, at := range r.polls(t, 10*time.Hour)[1:] {
			late := time.Duration(begun.Add(at).UnixNano()) % (5 * time.Minute)
			most = max(most, late)
		}
		if most > 30*time.Second || most < 20*time.Second {
			t.Errorf("polls are up to %v late, want up to 30 s", most)
		}
	})
}

func TestRunNeedsOneSchedule(t *testing.T) {
	for _, p := range []*Poller{
		{Source: "s"},
		{Source: "s", Every: time.Second, Cron: parse(t, "* * * * *")},
		{Source: "s", Cron: parse(t, "0 0 30 2 *")},
	} {
		if err := p.Run(t.Context()); err == nil {
			t.Errorf("every %v, cron %v: no error", p.Every, p.Cron)
		}
	}
}

func TestBackoff(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.Every = 100 * time.Millisecond
		down := true
		r.list.before = func(int, string) error {
			if down {
				return &FetchError{Health: event.SourceRefused, Err: errors.New("422 account_disabled")}
			}
			return nil
		}
		at := r.polls(t, 3*time.Hour)
		for i := 1; i < len(at); i++ {
			want := min(time.Second<<(i-1), 15*time.Minute)
			if got := at[i] - at[i-1]; got < want*8/10 || got > want*12/10 {
				t.Errorf("wait %d is %v, want %v ± 20%%", i, got, want)
			}
		}
		told := last[event.PollFailed](t, r.told)
		if told.Health != event.SourceRefused || told.Failures != len(at) || told.Next.Before(told.At.Add(12*time.Minute)) {
			t.Errorf("told %+v", told)
		}
		down = false
		r.poll(t)
		down = true
		_ = r.Poll(t.Context())
		if told := last[event.PollFailed](t, r.told); told.Failures != 1 {
			t.Errorf("failures go on counting after a success: %+v", told)
		}
	})
}

func TestAFailingSourceIsNotPolledMoreOftenThanEvery(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.list.before = func(int, string) error { return errors.New("500") }
		at := r.polls(t, 10*time.Minute)
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] < r.Every {
				t.Errorf("polled at %v", at)
			}
		}
	})
}

func TestRetryAfterIsObeyedInFull(t *testing.T) {
	for name, set := range map[string]func(p *Poller){
		"every": func(*Poller) {},
		"cron":  func(p *Poller) { p.Every, p.Cron = 0, parse(t, "* * * * *") },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				r := newRig(Start{Kind: StartNow})
				set(r.Poller)
				r.list.before = func(n int, _ string) error {
					if n == 1 {
						return &FetchError{Health: event.SourceLimited, After: 26 * time.Hour, Err: errors.New("429")}
					}
					return nil
				}
				at := r.polls(t, 27*time.Hour)
				if len(at) < 2 || at[1] != 26*time.Hour {
					t.Errorf("polled again after %v", at[1:2])
				}
				if told := last[event.PollFailed](t, r.told); told.Health != event.SourceLimited {
					t.Errorf("told %+v", told)
				}
			})
		})
	}
}

func TestTheEndOfTheContextIsNoFailure(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		ctx, cancel := context.WithCancel(t.Context())
		r.list.before = func(int, string) error { cancel(); return fmt.Errorf("ask: %w", context.Canceled) }
		if err := r.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := r.Poll(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Poll: %v", err)
		}
		if len(r.told) > 0 {
			t.Errorf("told %+v", r.told)
		}
	})
}

func TestNeverTwoPollsAtOnce(t *testing.T) {
	r := newRig(Start{Kind: StartNow})
	r.Notify = nil
	var asking atomic.Int32
	r.list.before = func(int, string) error {
		if asking.Add(1) > 1 {
			t.Error("two polls at once")
		}
		time.Sleep(5 * time.Millisecond) // gives the others the time to be wrong
		asking.Add(-1)
		return nil
	}
	var polls sync.WaitGroup
	for range 3 {
		polls.Go(func() { _ = r.Poll(t.Context()) })
	}
	polls.Wait()
}

func TestProgressIsPromisedForEachStep(t *testing.T) {
	in(t, func(t *testing.T) {
		r := newRig(Start{Kind: StartNow})
		r.Every = 10 * time.Hour
		hang := make(chan struct{})
		r.list.before = func(n int, _ string) error {
			if n == 3 {
				<-hang
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = r.Run(ctx) })
		overdue := false
		for range 20 * 60 {
			time.Sleep(time.Minute)
			synctest.Wait()
			overdue = overdue || r.Progress().Overdue()
		}
		if overdue {
			t.Error("a wait is taken for a hang")
		}
		time.Sleep(time.Hour)
		if !r.Progress().Overdue() {
			t.Error("a hang is not found")
		}
		close(hang)
		cancel()
		running.Wait()
		if r.Progress().Overdue() {
			t.Error("it is overdue after its end")
		}
	})
}
