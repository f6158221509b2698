package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"tidings/config"
	"tidings/event"
	"tidings/simulator"
)

// The whole engine, but in this process, polls an API that misbehaves in every way it knows, in changing combinations, while
// events arrive in time and late and the engine is stopped and started again. Once the API behaves every event is at every sink,
// once; what is missing was no longer listed, and is told as a gap.
//
// The draws are the same each time; TIDINGS_FAULTS_SEED makes others.
func TestFaultsLoseNothing(t *testing.T) {
	seeds := []uint64{1, 2}
	if text := os.Getenv("TIDINGS_FAULTS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			newTrial(t, seed).run()
		})
	}
}

// trial is one run.
type trial struct {
	*site
	random  *rand.Rand
	memory  int  // of a walk; little makes most of them long
	expires bool // events are listed no more after a while
	ends    bool // the list ends early now and then

	engine *engine

	mu      sync.Mutex
	gaps    []event.Gap
	taken   map[string]int
	strange []string // notices that should not be
	cleared time.Time
	calm    bool // a poll that began after the faults were cleared ended well
}

func newTrial(t *testing.T, seed uint64) *trial {
	random := rand.New(rand.NewPCG(seed, 0))
	s := &site{
		t: t, dir: shortDir(t),
		api:      simulator.NewFlatpeak(simulator.Options{Seed: seed, AccountID: simulatedAccount, APIKey: simulatedKey, PageSize: 10 + random.IntN(91)}),
		receiver: simulator.NewReceiver(simulator.ReceiverOptions{Seed: seed, Refuse: 0.05}),
	}
	api, app := httptest.NewServer(s.api), httptest.NewServer(s.receiver)
	t.Cleanup(api.Close)
	t.Cleanup(app.Close)
	s.apiURL, s.appURL = api.URL, app.URL
	s.configure("every: 100ms\nstart: earliest\noverlap: 2m", `
archive:
  file: {path: DIR/events.jsonl}
app:
  http: {url: APP}
  retry: {initial: 5ms, max: 50ms}`)
	return &trial{
		site: s, random: random, memory: []int{1, 20_000, 8 << 20}[random.IntN(3)], expires: random.IntN(3) == 0, ends: random.IntN(2) == 0,
		taken: map[string]int{},
	}
}

func (c *trial) run() {
	c.api.Backfill(100+c.random.IntN(200), 24*time.Hour)
	for i := range 3 {
		stop := c.start()
		if i == 0 { // what is gone before the first poll is nobody's gap
			c.eventually("the first events", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.taken) > 0 })
		}
		for range 4 {
			c.api.SetFaults(c.faults())
			for range 5 {
				c.api.Add(c.random.IntN(6) * c.random.IntN(6))
				if c.random.IntN(3) == 0 {
					c.api.AddLate(time.Duration(c.random.Int64N(int64(100 * time.Second))))
				}
				time.Sleep(time.Duration(c.random.IntN(50)) * time.Millisecond)
			}
		}
		stop()
	}
	stop := c.start()
	c.clear()
	c.eventually("a poll of the API that behaves again", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.calm })
	c.eventually("nothing to be owed", func() bool {
		stats, err := c.engine.store.Sinks()
		if err != nil {
			c.t.Fatal(err)
		}
		return !slices.ContainsFunc(stats, func(s event.SinkStats) bool { return s.Owed > 0 })
	})
	stop()
	c.check()
}

// faults draws a combination.
func (c *trial) faults() (f simulator.Faults) {
	share := func(of float64) simulator.Fault {
		if c.random.IntN(2) == 0 {
			return simulator.Fault{}
		}
		return simulator.Fault{Share: of * c.random.Float64()}
	}
	f.Repeat, f.Twice, f.NoTime, f.Unknown = share(0.5), share(0.5), share(0.3), share(0.2)
	f.ServerError, f.HTML, f.HTML200, f.CutBody, f.Unauthorized, f.Loop = share(0.1), share(0.1), share(0.1), share(0.1), share(0.2), share(0.1)
	f.Slow = share(0.2)
	f.Slow.For = 20 * time.Millisecond
	if c.random.IntN(10) == 0 {
		f.RateLimited = simulator.Fault{Next: 1, For: time.Second}
	}
	if c.ends {
		f.EmptyEnd = share(0.2)
	}
	if c.expires && c.random.IntN(2) == 0 {
		f.Keep = 20 + c.random.IntN(200)
	}
	return f
}

func (c *trial) clear() {
	c.api.SetFaults(simulator.Faults{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cleared = time.Now()
}

// start starts an engine; stop ends it and waits until it has.
func (c *trial) start() (stop func()) {
	c.t.Helper()
	cfg, err := config.Load(c.path("config.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e, err := newEngine(ctx, cfg, slog.New(slog.DiscardHandler), startFlags{}, c.watch)
	if err != nil {
		cancel()
		c.t.Fatal(err)
	}
	c.engine = e
	p := e.pollers[0]
	p.Every, p.Memory, p.Backoff, p.MaxBackoff = 10*time.Millisecond, c.memory, time.Millisecond, 20*time.Millisecond
	ended := make(chan error, 1)
	go func() { ended <- e.run(ctx) }()
	return func() {
		c.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			c.t.Errorf("the engine ended with %v", err)
		}
		if err := e.close(); err != nil {
			c.t.Error(err)
		}
	}
}

func (c *trial) watch(n event.Notice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch n := n.(type) {
	case event.TakenIn:
		for _, e := range n.Events {
			c.taken[e.ID]++
		}
	case event.GapFound:
		c.gaps = append(c.gaps, n.Gap)
	case event.Polled:
		c.calm = c.calm || !c.cleared.IsZero() && n.At.Add(-n.Took).After(c.cleared)
	case event.SetAside, event.StoreTrouble, event.Hashed:
		c.strange = append(c.strange, fmt.Sprintf("%T %+v", n, n))
	case event.Attempted:
		if n.Outcome == event.Dead {
			c.strange = append(c.strange, fmt.Sprintf("%T %+v", n, n))
		}
	}
}

func (c *trial) check() {
	c.t.Helper()
	stats := c.api.Stats()
	c.t.Logf("%d events, %d taken in, memory %d, %d gaps, faults %v", stats.Events, len(c.taken), c.memory, len(c.gaps), stats.Faults)
	for id, n := range c.taken {
		if n != 1 {
			c.t.Errorf("%s was taken in %d times", id, n)
		}
	}
	for _, n := range c.strange {
		c.t.Errorf("told: %s", n)
	}
	if len(c.gaps) > 0 && !c.expires && !c.ends {
		c.t.Errorf("a gap was told of a list that is whole: %+v", c.gaps[0])
	}
	lines, received := c.lines("events.jsonl"), c.received()
	missing := map[string]bool{}
	for _, e := range c.api.Events() {
		if c.taken[e.ID] == 0 {
			missing[e.ID] = true
		}
	}
	if len(missing) > 0 && len(c.gaps) == 0 {
		c.t.Errorf("%d events are missing, and no gap was told", len(missing))
	}
	for id := range c.taken {
		if lines[id] != 1 || received[id] != 1 {
			c.t.Errorf("%s stands in the file %d times and came to the endpoint %d times", id, lines[id], received[id])
		}
	}
	if len(lines) != len(c.taken) || len(received) != len(c.taken) {
		c.t.Errorf("%d were taken in, %d are in the file, %d came to the endpoint", len(c.taken), len(lines), len(received))
	}
}
