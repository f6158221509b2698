package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tidings/dispatch"
	"tidings/event"
	"tidings/store"
)

// The real store and the real workers deliver to sinks that fail in every way, while a person pauses, resumes and sends dead
// letters again, settlements fail and the store is closed and opened again. What comes of it: each event is delivered or dead,
// never both; nothing is delivered twice but across a reopening or a settlement that failed; a pause and a Retry-After are kept.
//
// The draws are the same each time, as far as goroutines let them; TIDINGS_DELIVERY_SEED makes others.
func TestDeliveryLosesAndRepeatsNothing(t *testing.T) {
	seeds := []uint64{1}
	if text := os.Getenv("TIDINGS_DELIVERY_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(memory(t), "store.db")
			synctest.Test(t, func(t *testing.T) { newHouse(t, seed, path).run() })
		})
	}
}

// memory makes a directory in memory where there is one: what is tried here is not the disk, and syncing to it takes time.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "tidings-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// house is a store with its sinks over all its openings.
type house struct {
	t     *testing.T
	path  string
	store *store.Store
	sinks []*moody
	event int // the number of the last one taken in

	steady bool // no settlement is made to fail any more

	mu   sync.Mutex
	draw *rand.Rand
}

// moody is a sink and what it saw.
type moody struct {
	*house
	name    string
	slots   int
	batch   int
	mood    mood
	mended  bool                 // it refuses nothing any more
	paused  time.Time            // since when a person wants no attempts
	asked   time.Time            // when it asked for none
	held    time.Time            // until when
	epoch   int                  // reopenings and settlements that failed
	done    map[string]int       // by id: the epoch in which it was delivered last
	now     map[string]bool      // being attempted
	refused map[string]time.Time // since when, of those that are refused
}

type mood int

const (
	well mood = iota
	flaky
	silent   // answers nothing until its time is up
	failing  // answers 500
	missing  // can't be started
	busy     // answers 429 with Retry-After
	retiring // answers 410
	moods
)

func newHouse(t *testing.T, seed uint64, path string) *house {
	h := &house{t: t, path: path, draw: rand.New(rand.NewPCG(seed, 0))}
	for name, o := range map[string][2]int{"http": {16, 1}, "exec": {1, 1}, "file": {1, 16}} {
		h.sinks = append(h.sinks, &moody{house: h, name: name, slots: o[0], batch: o[1],
			done: map[string]int{}, now: map[string]bool{}, refused: map[string]time.Time{}})
	}
	return h
}

// n draws a number below max.
func (h *house) n(max int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draw.IntN(max)
}

func (h *house) run() {
	for range 4 {
		h.open(func() {
			for range 5 + h.n(20) {
				h.something()
				time.Sleep(time.Duration(h.n(int(2 * time.Minute))))
			}
		})
	}
	h.steady = true
	h.open(func() {
		for _, s := range h.sinks {
			s.resume()
			s.set(missing) // nothing counts, and all is tried again
		}
		h.takeIn(20)
		time.Sleep(2 * time.Minute)
		h.drain(false)
	})
	h.account(false)
	for _, s := range h.sinks {
		s.mu.Lock()
		s.mended = true
		s.mu.Unlock()
	}
	h.open(func() { h.drain(true) })
	h.account(true)
}

// something is one thing that happens.
func (h *house) something() {
	s := h.sinks[h.n(len(h.sinks))]
	switch h.n(10) {
	case 0, 1, 2, 3:
		h.takeIn(1 + h.n(8))
	case 4, 5, 6:
		s.set(mood(h.n(int(moods))))
	case 7:
		s.set(failing + mood(h.n(2))) // what is in flight fails after the pause has begun
		h.takeIn(16)
		time.Sleep(time.Duration(h.n(int(2 * time.Second))))
		s.pause()
	case 8:
		s.resume()
	case 9:
		s.sendAgain(1 + h.n(3))
	}
}

// open opens the store, has the workers deliver while during runs, and closes all.
func (h *house) open(during func()) {
	var err error
	if h.store, err = store.Open(h.path, store.Options{Create: true}); err != nil {
		h.t.Fatal(err)
	}
	topology := event.Topology{Sources: []event.SourceSpec{{Name: "api", Identity: "one", Events: event.Filter{"*"}}}}
	for _, s := range h.sinks {
		topology.Sinks = append(topology.Sinks, event.SinkSpec{Name: s.name, Sources: event.Filter{"*"}, Events: event.Filter{"*"}})
	}
	if err := h.store.Apply(h.t.Context(), topology, false); err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	var workers sync.WaitGroup
	for _, s := range h.sinks {
		s.mu.Lock()
		s.epoch++
		s.held = time.Time{} // is not kept over a reopening
		s.mu.Unlock()
		w := &dispatch.Worker{
			Name: s.name, Sink: s, Queue: unreliable{h.store, s}, Timeout: 15 * time.Second, Concurrency: s.slots, Batch: s.batch,
			Policy: dispatch.Policy{Initial: time.Second, Max: 5 * time.Minute, Multiplier: 2, Jitter: 0.2, GiveUpAfter: 20 * time.Minute},
		}
		workers.Go(func() {
			if err := w.Run(ctx); err != nil {
				h.t.Errorf("sink %s: %v", s.name, err)
			}
		})
	}
	during()
	cancel()
	began := time.Now()
	workers.Wait()
	if took := time.Since(began); took > 10*time.Second {
		h.t.Errorf("it took %v to stop", took)
	}
	if err := h.store.Check(); err != nil {
		h.t.Error(err)
	}
	if err := h.store.Close(); err != nil {
		h.t.Error(err)
	}
}

func (h *house) takeIn(n int) {
	p, err := h.store.Position("api")
	if err != nil {
		h.t.Fatal(err)
	}
	c := event.Commit{Source: "api", Generation: p.Generation, Position: []byte("p")}
	for range n {
		h.event++
		c.Events = append(c.Events, event.Event{ID: fmt.Sprint(h.event), Type: "t", Data: []byte(`{}`)})
	}
	if _, err := h.store.Commit(h.t.Context(), c); err != nil {
		h.t.Fatal(err)
	}
}

// drain waits until nothing is owed. A new event now and then lets a sink show that it is well, without which those that it
// refuses do not age.
func (h *house) drain(again bool) {
	for _, s := range h.sinks {
		s.set(well)
		s.resume()
		if again {
			s.sendAgain(1 << 20)
		}
	}
	for range 12 * 24 {
		time.Sleep(5 * time.Minute)
		stats, err := h.store.Sinks()
		if err != nil {
			h.t.Fatal(err)
		}
		owed := uint64(0)
		for _, s := range stats {
			owed += s.Owed
		}
		if owed == 0 {
			return
		}
		h.takeIn(1)
	}
	stats, _ := h.store.Sinks()
	h.t.Fatalf("after a day with all sinks well something is owed: %+v", stats)
}

// account checks that each event is delivered, or dead where it was refused, at each sink.
func (h *house) account(mended bool) {
	st, err := store.Open(h.path, store.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer st.Close()
	for _, s := range h.sinks {
		letters, err := st.Dead(event.DeadQuery{Sink: s.name})
		if err != nil {
			h.t.Fatal(err)
		}
		dead := map[string]bool{}
		for _, l := range letters {
			dead[l.Event.ID] = true
			if !s.refuses(l.Event.ID) {
				h.t.Errorf("sink %s: event %s is dead and was never refused: %s", s.name, l.Event.ID, l.Reason)
			}
		}
		if mended && len(dead) > 0 {
			h.t.Errorf("sink %s: %d are dead still", s.name, len(dead))
		}
		for n := 1; n <= h.event; n++ {
			id := fmt.Sprint(n)
			if _, done := s.done[id]; done == dead[id] {
				h.t.Errorf("sink %s: event %s is delivered: %v, and dead: %v", s.name, id, done, dead[id])
			}
		}
	}
}

func (s *moody) set(m mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = m
}

func (s *moody) pause() {
	for err := event.ErrStale; err != nil; { // the worker changes it as well
		if !errors.Is(err, event.ErrStale) {
			s.t.Fatal(err)
		}
		var was event.SinkState
		if was, err = s.store.State(s.name); err == nil {
			err = s.store.SetState(s.t.Context(), s.name, was.Health, event.SinkState{Health: event.Paused, Since: time.Now(), Reason: "a person"})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused.IsZero() {
		s.paused = time.Now()
	}
}

func (s *moody) resume() {
	state, err := s.store.State(s.name)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	if state.Health != event.Paused && !s.paused.IsZero() {
		s.t.Errorf("sink %s is %v, and was paused by a person at %v", s.name, state.Health, s.paused)
	}
	s.paused = time.Time{}
	if state.Health == event.Paused {
		s.held = time.Time{}
	}
	s.mu.Unlock()
	if state.Health != event.Paused {
		return
	}
	if err := s.store.SetState(s.t.Context(), s.name, event.Paused, event.SinkState{Since: time.Now()}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *moody) sendAgain(n int) {
	letters, err := s.store.Dead(event.DeadQuery{Sink: s.name, Limit: n})
	if err != nil {
		s.t.Fatal(err)
	}
	var seqs []uint64
	for _, l := range letters {
		seqs = append(seqs, l.Seq)
	}
	if _, err := s.store.RetryDead(s.t.Context(), s.name, seqs); err != nil {
		s.t.Fatal(err)
	}
}

// refuses reports whether an event is refused, whatever the mood.
func (s *moody) refuses(id string) bool {
	n, _ := strconv.Atoi(id)
	return n%17 == 3 || n%29 == 5
}

func (s *moody) Deliver(ctx context.Context, batch []event.Delivery) []dispatch.Result {
	began := time.Now()
	s.mu.Lock()
	if !s.paused.IsZero() && began.Sub(s.paused) > 100*time.Millisecond {
		s.t.Errorf("sink %s is asked at %v and was paused at %v", s.name, began, s.paused)
	}
	if began.Before(s.held) && began.Sub(s.asked) > 100*time.Millisecond {
		s.t.Errorf("sink %s is asked %v before the end of the time that it asked for", s.name, s.held.Sub(began))
	}
	for _, d := range batch {
		if s.now[d.Event.ID] {
			s.t.Errorf("sink %s: event %s is attempted twice at once", s.name, d.Event.ID)
		}
		s.now[d.Event.ID] = true
	}
	m := s.mood
	takes := time.Duration(s.draw.IntN(int(3 * time.Second)))
	s.mu.Unlock()
	if m == silent && s.n(3) == 0 {
		takes = time.Hour
	}
	select {
	case <-ctx.Done():
	case <-time.After(takes):
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]dispatch.Result, len(batch))
	for i, d := range batch {
		results[i] = s.answer(ctx, m, d)
		delete(s.now, d.Event.ID)
	}
	return results
}

// answer is called with the lock held.
func (s *moody) answer(ctx context.Context, m mood, d event.Delivery) dispatch.Result {
	id := d.Event.ID
	n, _ := strconv.Atoi(id)
	switch {
	case ctx.Err() != nil || m == failing || m == flaky && s.draw.IntN(3) == 0:
		return dispatch.Result{Verdict: dispatch.Retry, Reason: "failed"}
	case m == missing:
		return dispatch.Result{Verdict: dispatch.SinkDown, Reason: "can't be started"}
	case m == retiring:
		s.held = time.Time{} // a person's resume ends it
		return dispatch.Result{Verdict: dispatch.SinkPause, Reason: "answered 410"}
	case m == busy && s.draw.IntN(4) == 0:
		wait := time.Duration(s.draw.IntN(int(time.Minute)))
		if until := time.Now().Add(wait); until.After(s.held) {
			s.asked, s.held = time.Now(), until
		}
		return dispatch.Result{Verdict: dispatch.Retry, Reason: "answered 429", RetryAfter: wait}
	case s.refuses(id) && !s.mended && n%29 == 5:
		return dispatch.Result{Verdict: dispatch.Permanent, Reason: "refused for good"}
	case s.refuses(id) && !s.mended:
		return dispatch.Result{Verdict: dispatch.Retry, Reason: "refused"}
	}
	if epoch, again := s.done[id]; again && epoch == s.epoch {
		s.t.Errorf("sink %s: event %s is delivered again", s.name, id)
	}
	s.done[id] = s.epoch
	return dispatch.Result{Verdict: dispatch.Done}
}

// unreliable is the store with settlements that fail now and then.
type unreliable struct {
	*store.Store
	sink *moody
}

func (u unreliable) Settle(ctx context.Context, settled []event.Settlement) error {
	if !u.sink.steady && u.sink.n(50) == 0 {
		settled = append(settled, event.Settlement{Sink: u.sink.name, Seq: 1 << 40, Outcome: event.Delivered}) // is refused, and all with it
	}
	err := u.Store.Settle(ctx, settled)
	if err != nil {
		u.sink.mu.Lock()
		u.sink.epoch++
		u.sink.held = time.Time{} // what was not settled asked for nothing
		u.sink.mu.Unlock()
	}
	return err
}
