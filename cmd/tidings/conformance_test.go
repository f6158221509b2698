package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/config"
	"tidings/event"
	"tidings/poller"
	"tidings/simulator"
	"tidings/sources"
	"tidings/store"
)

var (
	conformSeeds = flag.Int("conform.seeds", 2, "schedules that TestConformance runs for each preset")
	conformTime  = flag.Duration("conform.time", 0, "how long it runs schedules instead")
	conformSeed  = flag.Uint64("conform.seed", 0, "the one schedule to run")
	conformFrom  = flag.Uint64("conform.from", 1, "the first of the schedules")
)

// Every preset is polled from its simulated API, in fake time, while things happen there, faults strike and the poller is killed and
// started again on a real store, as a seed says. In the end nothing is missing, nothing is doubled, each body is what happened, the
// order is as promised, the API was asked no more often than it wants, and what it has withheld for good was told as a gap.
func TestConformance(t *testing.T) {
	for _, api := range simulator.APIs() {
		t.Run(api.Name, func(t *testing.T) {
			t.Parallel()
			first, n := *conformFrom, *conformSeeds
			if *conformSeed != 0 {
				first, n = *conformSeed, 1
			}
			unchanged, end := 0, time.Now().Add(*conformTime)
			more := func(seed uint64) bool {
				if *conformTime > 0 {
					return time.Now().Before(end)
				}
				return seed < first+uint64(n)
			}
			for seed := first; more(seed) && !t.Failed(); seed++ {
				synctest.Test(t, func(t *testing.T) {
					defer func() {
						if t.Failed() {
							t.Logf("repeat with: go test ./cmd/tidings -run '^TestConformance$/^%s$' -conform.seed %d", api.Name, seed)
						}
					}()
					unchanged += conform(t, api, seed).Unchanged
				})
			}
			if api.Name == "github" && unchanged == 0 && *conformSeed == 0 && !t.Failed() {
				t.Error("no answer was a 304: what has not changed is sent again each time")
			}
		})
	}
}

// conformer is one schedule: a run of an API and a source that polls it.
type conformer struct {
	t      *testing.T
	rnd    *rand.Rand
	waits  *rand.Rand // of the pollers, one after the other
	preset string
	api    simulator.API
	source config.Source
	cfg    *config.Config
	plan   plan

	store   *store.Store
	stop    context.CancelCauseFunc
	stopped chan struct{}
	begun   int // pollers

	started time.Time       // by the vendor's clock
	history map[string]bool // Fact.Key of what happened before
	gone    map[string]bool // and of what was not listed any more by then

	mu       sync.Mutex
	taken    []event.Event // in the order of taking in
	gaps     []event.Gap
	polls    int
	failures []string
	commits  int
	hurdle   hurdle
}

func conform(t *testing.T, api simulator.Simulated, seed uint64) simulator.Stats {
	s := &conformer{
		t: t, preset: api.Name, rnd: rand.New(rand.NewPCG(seed, 7)), waits: rand.New(rand.NewPCG(seed, 8)), history: map[string]bool{}, gone: map[string]bool{},
	}
	time.Sleep(time.Until(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))) // our clock is one that was set
	skew := time.Duration(s.rnd.IntN(600)-300) * time.Second
	s.drawPlan()
	s.api = api.New(simulator.Options{
		Seed: seed, PageSize: s.plan.page, Skew: skew, Retain: s.plan.retain, Interval: s.plan.interval, Plain: s.plan.start == "time",
	})
	s.api.Backfill(s.rnd.IntN(60), 24*time.Hour)
	time.Sleep(3 * time.Second)
	s.started = time.Now().Add(skew).Truncate(time.Second)
	for _, f := range s.api.Facts() {
		s.history[f.Key] = true
	}
	s.configure()
	s.open()
	defer func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	}()
	s.begin()
	defer func() { s.end() }()
	if s.waitFor(time.Hour, func() bool { return s.polls > 0 }); s.polls == 0 {
		t.Fatalf("no poll succeeds: %v", s.failures)
	}
	for _, f := range s.api.Facts() {
		s.gone[f.Key] = f.Gone
	}
	for range s.plan.steps {
		s.step()
	}
	s.settle()
	s.judge()
	if err := s.store.Check(); err != nil {
		t.Errorf("the store: %v", err)
	}
	return s.api.Stats()
}

func (s *conformer) configure() {
	dir := s.t.TempDir()
	start := s.plan.start
	if start == "time" {
		s.plan.since = s.started.Add(-time.Duration(s.rnd.IntN(24*3600)) * time.Second)
		start = s.plan.since.Format(time.RFC3339)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "data_dir: %s\nsources:\n  api:\n    preset: %s\n    every: %s\n    start: %s\n    on_lost_position: %s\n    with:\n",
		dir, s.preset, s.plan.every, start, s.plan.onLost)
	with := s.api.With("http://api.test")
	for _, name := range slices.Sorted(maps.Keys(with)) {
		fmt.Fprintf(&text, "      %s: %q\n", name, with[name])
	}
	fmt.Fprintf(&text, "sinks:\n  app: {file: {path: %s/events.jsonl}}\n", dir)
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	var err error
	if s.cfg, err = config.Load(file); err != nil {
		s.t.Fatal(err)
	}
	s.source = s.cfg.Sources[0]
}

func (s *conformer) open() {
	var err error
	s.store, err = store.Open(storePath(s.cfg.DataDir), store.Options{
		Create: true, Notify: s.notify, Remember: s.cfg.Store.Remember, Keep: s.cfg.Store.Keep,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.Apply(s.t.Context(), topology(s.cfg), false); err != nil {
		s.t.Fatal(err)
	}
}

func (s *conformer) notify(n event.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := n.(type) {
	case event.TakenIn:
		s.taken = append(s.taken, n.Events...)
	case event.GapFound:
		s.gaps = append(s.gaps, n.Gap)
	case event.Polled:
		s.polls++
	case event.PollFailed:
		s.failures = append(s.failures, n.Err.Error())
	}
}

// begin starts a poller, as a new process would.
func (s *conformer) begin() {
	feeds, err := newFeeds(s.source, sources.Options{Transport: simulator.Transport(s.api)})
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range feeds {
		if s.plan.declared {
			feeds[i].Retain = s.plan.retain
		}
	}
	p := &poller.Poller{
		Source: "api", Feeds: feeds, Store: hurdles{s.store, s}, Notify: s.notify, Every: s.source.Every, Jitter: s.source.Jitter,
		Start: firstRun(s.source.Start), OnLost: poller.Lost(s.plan.onLost), Overlap: s.source.Overlap, Remember: s.cfg.Store.Remember,
		Memory: s.plan.memory, Random: s.waits.Float64,
	}
	s.begun++
	ctx, cancel := context.WithCancelCause(s.t.Context())
	s.stop, s.stopped = cancel, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			s.t.Errorf("the poller: %v", err)
		}
	}(s.stopped)
}

var errKilled = errors.New("killed")

// end ends the poller wherever it stands; what it held in memory is gone.
func (s *conformer) end() {
	s.stop(errKilled)
	<-s.stopped
}

// waitFor lets time pass until ok, at most so long.
func (s *conformer) waitFor(most time.Duration, ok func() bool) bool {
	for end := time.Now().Add(most); ; time.Sleep(5 * time.Second) {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done || !time.Now().Before(end) {
			return done
		}
	}
}

// hurdle is what becomes of a commit that is to come.
type hurdle struct {
	in  int // so many commits on; 0: none
	how string
}

var hurdleKinds = []string{"killed before", "killed after", "refused", "unknown", "unknown, and not made"}

// hurdles is the store as a poller finds it that is killed at a commit, or whose commit fails.
type hurdles struct {
	poller.Store
	s *conformer
}

func (h hurdles) Commit(ctx context.Context, c event.Commit) (event.Committed, error) {
	s := h.s
	s.mu.Lock()
	s.commits++
	how := ""
	if s.hurdle.in > 0 {
		if s.hurdle.in--; s.hurdle.in == 0 {
			how = s.hurdle.how
		}
	}
	s.mu.Unlock()
	if how == "killed before" {
		s.stop(errKilled)
	}
	if ctx.Err() != nil { // whoever was killed commits nothing
		return event.Committed{}, context.Cause(ctx)
	}
	switch how {
	case "refused":
		return event.Committed{}, event.ErrFull
	case "unknown, and not made":
		return event.Committed{}, event.ErrUnknownOutcome
	}
	done, err := h.Store.Commit(ctx, c)
	switch how {
	case "killed after":
		s.stop(errKilled)
	case "unknown":
		return event.Committed{}, event.ErrUnknownOutcome
	}
	return done, err
}
