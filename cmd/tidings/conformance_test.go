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
	conformSeeds = flag.Int("conform.seeds", 8, "schedules that TestConformance runs for each preset")
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
			for seed := first; seed < first+uint64(n) && !t.Failed(); seed++ {
				synctest.Test(t, func(t *testing.T) {
					defer func() {
						if t.Failed() {
							t.Logf("repeat with: go test ./cmd/tidings -run '^TestConformance$/^%s$' -conform.seed %d", api.Name, seed)
						}
					}()
					conform(t, api, seed)
				})
			}
		})
	}
}

// conformer is one schedule: a run of an API and a source that polls it.
type conformer struct {
	t      *testing.T
	rnd    *rand.Rand
	preset string
	api    simulator.API
	source config.Source
	cfg    *config.Config

	store   *store.Store
	stop    context.CancelCauseFunc
	stopped chan struct{}

	started time.Time // by the vendor's clock
	history map[string]bool
	begun   int // pollers
	plan    plan

	mu       sync.Mutex
	taken    []event.Event // in the order of taking in
	gaps     []event.Gap
	polls    int
	failures []string
}

// plan is what a seed makes of a schedule.
type plan struct {
	steps  int
	faults []string // of faultsOf; each strikes now and then
	late   bool
	keep   int // the API lists only so many, and much happens while nobody polls
	memory int // of the poller
	page   int // its size
}

func conform(t *testing.T, api simulator.Simulated, seed uint64) {
	s := &conformer{t: t, preset: api.Name, rnd: rand.New(rand.NewPCG(seed, 7)), history: map[string]bool{}}
	skew := time.Duration(s.rnd.IntN(600)-300) * time.Second
	s.drawPlan()
	s.api = api.New(simulator.Options{Seed: seed, PageSize: s.plan.page, Skew: skew})
	s.api.Backfill(s.rnd.IntN(60), 24*time.Hour)
	time.Sleep(3 * time.Second)
	for _, f := range s.api.Facts() {
		s.history[f.Key] = true
	}
	s.started = time.Now().Add(skew).Truncate(time.Second)
	s.configure()
	s.open()
	defer func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	}()
	s.begin()
	defer func() { s.end() }()
	if s.waitFor(func() bool { return s.polls > 0 }, time.Hour); s.polls == 0 {
		t.Fatalf("no poll succeeds: %v", s.failures)
	}
	for range s.plan.steps {
		s.step()
	}
	s.settle()
	s.judge()
	if err := s.store.Check(); err != nil {
		t.Errorf("the store: %v", err)
	}
}

// harmless faults are told as failures and hide nothing; lying ones have lists say what is not so.
var (
	harmless = []string{"429", "429date", "5xx", "html", "html200", "401", "hang", "slow", "cut", "disabled"}
	lying    = []string{"repeat", "twice", "loop", "order", "unknown"}
)

func (s *conformer) drawPlan() {
	s.plan.steps, s.plan.memory = 10+s.rnd.IntN(30), 1<<(10+s.rnd.IntN(14))
	s.plan.page = 2 + s.rnd.IntN(30)
	kinds := slices.Clone(harmless)
	if s.rnd.IntN(2) == 0 {
		kinds = append(kinds, lying...)
	}
	s.rnd.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	s.plan.faults = kinds[:s.rnd.IntN(4)]
	lists := s.preset != "openvolt" && s.preset != "nectar"
	s.plan.late = lists && s.rnd.IntN(2) == 0
	if lists && s.preset != "utilityapi" && s.rnd.IntN(4) == 0 {
		s.plan.keep = 30 + s.rnd.IntN(50)
	}
}

func (s *conformer) configure() {
	dir := s.t.TempDir()
	var text strings.Builder
	fmt.Fprintf(&text, "data_dir: %s\nsources:\n  api:\n    preset: %s\n    every: 1m\n    with:\n", dir, s.preset)
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
	p := &poller.Poller{
		Source: "api", Feeds: feeds, Store: s.store, Notify: s.notify, Every: s.source.Every, Jitter: s.source.Jitter,
		Start: firstRun(s.source.Start), OnLost: poller.Lost(s.source.OnLost), Overlap: s.source.Overlap, Remember: s.cfg.Store.Remember,
		Memory: s.plan.memory,
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
func (s *conformer) waitFor(ok func() bool, most time.Duration) {
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(10 * time.Second) {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return
		}
	}
}

// step lets something happen, and some time pass.
func (s *conformer) step() {
	switch n := s.rnd.IntN(12); {
	case n < 5:
		s.api.Add(1 + s.rnd.IntN(8))
	case n == 5:
		s.api.Add(20 + s.rnd.IntN(80))
	case n == 6 && s.plan.late:
		s.api.AddLate(time.Duration(s.rnd.IntN(240)) * time.Second)
	case n == 7 && len(s.plan.faults) > 0:
		s.setFaults(s.rnd.IntN(3) > 0)
	case n == 8:
		s.end()
		time.Sleep(10 * time.Second) // longer than a Retry-After of these faults: a new process can't know of it
		if s.rnd.IntN(3) == 0 {
			if err := s.store.Close(); err != nil {
				s.t.Fatal(err)
			}
			s.open()
		}
		if s.rnd.IntN(2) == 0 {
			s.api.Add(s.rnd.IntN(30))
			time.Sleep(time.Duration(s.rnd.IntN(3600)) * time.Second)
			s.api.Add(s.rnd.IntN(30))
		}
		s.begin()
	case n == 9 && s.plan.keep > 0:
		s.overrun()
	}
	time.Sleep(time.Duration(s.rnd.IntN(1+s.rnd.IntN(200_000))) * time.Millisecond)
}

func (s *conformer) setFaults(on bool) {
	var f simulator.Faults
	if on {
		var texts []string
		for _, name := range s.plan.faults {
			text := fmt.Sprintf("%s=%.3f", name, 0.01+0.2*s.rnd.Float64())
			if name == "hang" {
				text += fmt.Sprintf(":%ds", 5+s.rnd.IntN(60))
			}
			texts = append(texts, text)
		}
		var err error
		if f, err = simulator.ParseFaults(strings.Join(texts, ",")); err != nil {
			s.t.Fatal(err)
		}
	}
	s.api.SetFaults(f)
}

// overrun lets more happen than the API lists, while nobody polls.
func (s *conformer) overrun() {
	s.end()
	f := s.api.Faults()
	f.Keep = s.plan.keep
	s.api.SetFaults(f)
	s.api.Add(2 * s.plan.keep)
	s.plan.keep = 0 // once
	time.Sleep(time.Minute)
	s.begin()
}

// settle lets the API behave and the source catch up.
func (s *conformer) settle() {
	keep := s.api.Faults().Keep
	s.api.SetFaults(simulator.Faults{Keep: keep})
	time.Sleep(3 * time.Hour) // the longest backoff, and what an API asked to be left alone
	s.api.Add(1)
	time.Sleep(30 * time.Minute) // the overlap reaches no further back than to this one
	s.mu.Lock()
	polls, failures := s.polls, len(s.failures)
	s.mu.Unlock()
	before := s.api.Stats()
	time.Sleep(time.Hour)
	after := s.api.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) > failures {
		s.t.Errorf("the API behaves, and the source fails: %s", s.failures[len(s.failures)-1])
	}
	if n := s.polls - polls; n < 50 || n > 70 {
		s.t.Errorf("%d polls in an hour, at one a minute", n)
	}
	// An event list costs an idle source one request a poll; resources cost their pages, and some for each company or meter.
	perPoll := 1
	if facts := s.api.Facts(); facts[0].Resource != "" {
		perPoll = 60 + len(facts)/s.plan.page
	}
	if n := after.Requests - before.Requests - (after.Logins - before.Logins); n > perPoll*(s.polls-polls) {
		s.t.Errorf("%d requests for %d idle polls", n, s.polls-polls)
	}
}

func (s *conformer) judge() {
	stats := s.api.Stats()
	// A new process polls at once, whatever the one before it was told.
	if stats.Hasty > 0 || stats.Early >= s.begun || stats.Denied > 0 {
		s.t.Errorf("%d requests before a Retry-After had passed, %d before the API's interval had, with %d pollers; %d with bad credentials",
			stats.Hasty, stats.Early, s.begun, stats.Denied)
	}
	facts := s.api.Facts()
	index := map[string]int{}
	seen := map[string]bool{} // resources of which something was taken in, or is from before the start
	for i, f := range facts {
		index[f.Key] = i
		seen[f.Resource] = seen[f.Resource] || s.history[f.Key]
	}
	times := map[string]int{}
	last, ordered := -1, true
	for _, ev := range s.taken {
		key, err := s.api.Key(ev.ID, ev.Data)
		i, known := index[key]
		switch {
		case err != nil || !known:
			s.t.Errorf("event %s (%s) is of nothing that happened: %v, %.300s", ev.ID, ev.Type, err, ev.Data)
			continue
		case s.history[key] || facts[i].Time.Before(s.started.Add(-time.Second)): // a Date has whole seconds
			s.t.Errorf("event %s (%s) is from before the start: %s", ev.ID, key, facts[i].Time)
		case !facts[i].Holds(ev.Data):
			s.t.Errorf("event %s has a body that is not what happened:\n%.300s\n%.300s", ev.ID, ev.Data, facts[i].Body)
		case ev.Type != facts[i].Type && (seen[facts[i].Resource] || !strings.HasSuffix(ev.Type, ".created")):
			s.t.Errorf("event %s is a %q and was a %q", ev.ID, ev.Type, facts[i].Type)
		}
		seen[facts[i].Resource] = true
		if times[key]++; times[key] == 2 {
			s.t.Errorf("event %s (%s) was taken in twice", ev.ID, key)
		}
		ordered = ordered && i > last
		last = i
	}
	missing := 0
	for _, f := range facts {
		unseen := f.Resource != "" && (f.Gone || len(f.Body) == 0 && !seen[f.Resource]) // it came and went between two polls
		if times[f.Key] > 0 || s.history[f.Key] || f.Time.Before(s.started) || unseen || f.Gone && len(s.gaps) > 0 {
			continue
		}
		if missing++; missing <= 3 {
			s.t.Errorf("missing: %s (%s, %s, gone %v)", f.Key, f.Type, f.Time.Format(time.RFC3339), f.Gone)
		}
	}
	if missing > 0 {
		s.t.Errorf("%d of %d are missing; %d gaps were told", missing, len(facts)-len(s.history), len(s.gaps))
	}
	// What is listed newest first and acknowledged is turned round as far as memory goes.
	strict := !s.plan.late && len(s.gaps) == 0 && facts[0].Resource == "" && (s.preset != "utilityapi" || s.plan.memory > 1<<20) &&
		!slices.ContainsFunc(s.plan.faults, func(f string) bool { return slices.Contains(lying, f) })
	if strict && !ordered {
		s.t.Error("the order is not that of the list")
	}
	if s.t.Failed() {
		s.t.Logf("plan %+v, %d facts, %d taken in, %d gaps, %d polls by %d pollers", s.plan, len(facts), len(s.taken), len(s.gaps), s.polls, s.begun)
		for _, f := range s.failures[max(0, len(s.failures)-5):] {
			s.t.Logf("failed: %s", f)
		}
	}
}
