package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"tidings/event"
)

var (
	walkSeed  = flag.Uint64("walk.seed", 0, "repeat the random walk of this seed")
	walkSteps = flag.Int("walk.steps", 600, "steps of the random walk")
)

// walk does random things to a store and to a model of it, which is a few maps, and compares them.
type walk struct {
	*bench
	rnd      *rand.Rand
	sinks    []string
	seen     map[string]time.Time // when an id was taken in last
	nextID   int
	position string
	model    map[string]map[uint64]*fate // by sink and seq
	nextSeq  uint64
	kind     map[uint64]string // event id, by seq
	topology event.Topology
	left     map[string]map[uint64]bool // by sink, what its replay has left; true: it must come, since it was never owed or dead meanwhile
	ended    map[string]bool            // by sink: its replay is cancelled, and is left only what it has in flight
	breaking string                     // what the next transaction comes to: "", "lost" or "kept"
	broke    bool
	halt     *halted // a compaction under way
	clocks   bool    // whether the wall clock goes wrong and comes right
	wall     skewed
	right    time.Time // since when it is right and a server has said so; zero: it isn't
}

// fate is what the model knows of a delivery.
type fate struct {
	state    string // owed, delivered, dead, dropped
	attempts int
	flying   bool
	replay   bool // handed out by a replay
}

func TestRandomWalk(t *testing.T) {
	walk := func(t *testing.T, seed uint64) {
		t.Logf("repeat with: go test ./store -run TestRandomWalk -walk.seed=%d -walk.steps=%d", seed, *walkSteps)
		synctest.Test(t, func(t *testing.T) { walkOn(t, seed) })
	}
	if *walkSeed != 0 {
		walk(t, *walkSeed)
		return
	}
	seeds(t, 15, walk)
}

func walkOn(t *testing.T, seed uint64) {
	w := &walk{rnd: rand.New(rand.NewPCG(seed, 1)), sinks: []string{"all", "some", "few"},
		seen: map[string]time.Time{}, model: map[string]map[uint64]*fate{}, kind: map[uint64]string{}, nextSeq: 1,
		left: map[string]map[uint64]bool{}, ended: map[string]bool{}}
	o := smallRuns
	o.Keep, o.Remember, o.commit = 5*time.Hour, 30*time.Hour, w.commitTx
	o.wall = w.wall.now
	o.DeepCheck = func(ctx context.Context, path string) (CheckReport, error) { return w.halt.check(ctx, path) }
	w.bench = openAt(t, filepath.Join(fastDir(t), "store.db"), o)
	w.topology = topology(w.sinks...)
	w.topology.Sources[0].Events = event.Filter{"a*", "b", "broken"}
	w.topology.Sinks[1].Events = event.Filter{"a*"}
	w.topology.Sinks[2].Events = event.Filter{"aa"}
	for _, sink := range w.sinks {
		w.model[sink] = map[uint64]*fate{}
	}
	w.apply(w.topology)
	if w.clocks = seed%2 == 0; w.clocks {
		w.asked()
	}
	for step := range *walkSteps {
		if w.clocks && w.rnd.IntN(20) == 0 {
			w.mistime()
		}
		w.step()
		if step%50 == 49 {
			w.compare(w.bench)
		}
		if t.Failed() {
			t.Fatalf("at step %d", step)
		}
	}
	w.compare(w.bench)
	w.drain()
}

// commitTx makes a transaction, or an accident of it.
func (w *walk) commitTx(tx *bolt.Tx) error {
	accident := w.breaking
	w.breaking = ""
	switch accident {
	case "lost":
		_ = tx.Rollback()
	case "kept":
		if err := tx.Commit(); err != nil {
			return err
		}
	default:
		return tx.Commit()
	}
	w.broke = true
	return errors.New("input/output error")
}

func (w *walk) step() {
	time.Sleep(time.Millisecond) // attempts are told apart by their times
	sink := w.sinks[w.rnd.IntN(len(w.sinks))]
	switch n := w.rnd.IntN(100); {
	case n < 30:
		w.page()
	case n < 75:
		w.work(sink)
	case n < 80:
		w.probe(sink)
	case n < 84:
		seqs := w.where(sink, "dead", 3)
		w.breakable(func() error {
			_, err := w.RetryDead(context.Background(), sink, seqs)
			return err
		}, func() {
			for _, seq := range seqs {
				w.model[sink][seq].state = "owed"
				w.mayMiss(sink, seq)
				w.mayCome(seq)
			}
		})
	case n < 86:
		seqs := w.where(sink, "dead", 2)
		w.breakable(func() error {
			_, err := w.DropDead(context.Background(), sink, seqs)
			return err
		}, func() {
			for _, seq := range seqs {
				w.model[sink][seq].state = "dropped"
			}
		})
	case n < 89:
		state := event.SinkState{Health: event.Health(w.rnd.IntN(3)), Reason: "who knows", Probes: w.rnd.IntN(5)}
		w.breakable(func() error { return w.SetState(context.Background(), sink, w.sink(sink).State.Health, state) }, func() {})
	case n < 92:
		w.tidied()
	case n < 94:
		w.replayOrCancel(sink)
	case n < 96:
		w.bench = w.again()
		w.apply(w.topology)
		w.landed()
	case n < 97:
		if w.copied(); w.halt == nil {
			w.compacted()
		}
	case n < 99:
		time.Sleep(time.Duration(w.rnd.IntN(12)) * time.Hour)
		synctest.Wait()
	default:
		w.breakable(func() error { return w.SetPosition(context.Background(), "api", []byte("set")) }, func() { w.position = "set" })
	}
}

// breakable does something that may be broken by an accident, and lets the model follow what truly became of it.
func (w *walk) breakable(do func() error, became func()) {
	w.t.Helper()
	accident := []string{"", "", "", "", "lost", "kept"}[w.rnd.IntN(6)]
	w.arm(accident)
	err := do()
	broke := w.disarm()
	if broke != errors.Is(err, event.ErrUnknownOutcome) || !broke && err != nil {
		w.t.Errorf("broke %v, got %v", broke, err)
	}
	if !broke || accident == "kept" {
		became()
	}
	if broke {
		w.landed()
	}
}

// arm lets the next transaction come to an accident; none of sealing comes before it.
func (w *walk) arm(accident string) {
	w.t.Helper()
	if err := w.send(context.Background(), &request{between: func() error {
		w.breaking, w.broke, w.room.strikes, w.sealAfter = accident, false, 0, time.Now().Add(time.Hour)
		return nil
	}}); err != nil {
		w.t.Fatal(err)
	}
}

// disarm reports whether the accident has happened.
func (w *walk) disarm() (broke bool) {
	w.t.Helper()
	if err := w.send(context.Background(), &request{between: func() error {
		w.breaking, broke, w.sealAfter = "", w.broke, time.Time{}
		return nil
	}}); err != nil {
		w.t.Fatal(err)
	}
	return broke
}

// tidied lets the writer tidy, now and then with an accident. Most of it is sealing.
func (w *walk) tidied() {
	w.t.Helper()
	w.arm([]string{"", "", "lost", "kept"}[w.rnd.IntN(4)])
	if err := w.send(context.Background(), &request{between: func() error {
		w.sealAfter = time.Time{}
		w.tidy()
		return nil
	}}); err != nil {
		w.t.Fatal(err)
	}
	if w.disarm() {
		w.landed()
	}
}

func (w *walk) landed() {
	for _, sink := range w.sinks {
		for seq := range w.model[sink] {
			w.back(sink, seq)
		}
	}
}

func (w *walk) page() {
	var evs []event.Event
	for range w.rnd.IntN(30) {
		id := w.nextID
		if w.rnd.IntN(3) == 0 && id > 0 {
			id = w.rnd.IntN(id)
		} else {
			w.nextID++
		}
		ev := events(id, 1)[0]
		ev.Type = []string{"a", "aa", "b", "c", "broken"}[id%5]
		if id%5 == 4 {
			ev.Broken = "broken"
		}
		evs = append(evs, ev)
	}
	p, err := w.Position("api")
	if err != nil || string(p.Data) != w.position {
		w.t.Errorf("position %q %v, not %q", p.Data, err, w.position)
	}
	position := fmt.Sprint(w.rnd.IntN(1000))
	known := w.remembered(w.bench)
	w.breakable(func() error {
		_, err := w.Commit(context.Background(), event.Commit{Source: "api", Generation: p.Generation, Events: evs, Position: []byte(position)})
		return err
	}, func() {
		w.position = position
		for _, ev := range evs {
			if known[ev.ID] {
				continue
			}
			known[ev.ID] = true
			w.seen[ev.ID] = time.Now()
			if ev.Broken != "" || !w.topology.Sources[0].Events.Match(ev.Type) {
				continue
			}
			w.kind[w.nextSeq] = ev.ID
			for i, sink := range w.sinks {
				if w.topology.Sinks[i].Events.Match(ev.Type) {
					w.model[sink][w.nextSeq] = &fate{state: "owed"}
				}
			}
			w.nextSeq++
		}
	})
}

// handed checks a delivery against the model.
func (w *walk) handed(d event.Delivery) {
	f := w.model[d.Sink][d.Seq]
	if f == nil || f.state != "owed" && f.state != "dead" {
		if _, left := w.left[d.Sink][d.Seq]; !left || !d.Replay || d.Attempts != 0 || f != nil && f.flying || w.kind[d.Seq] != d.Event.ID {
			w.t.Errorf("sink %s was given %d again (%s), which is %+v", d.Sink, d.Seq, d.Event.ID, f)
		}
		if f == nil {
			f = &fate{state: "unwanted"}
			w.model[d.Sink][d.Seq] = f
		}
		f.flying, f.replay = true, true
		return
	}
	if f == nil || f.state != "owed" || f.flying || f.attempts != d.Attempts || w.kind[d.Seq] != d.Event.ID {
		w.t.Errorf("sink %s was handed %d (%s, %d attempts), which is %+v", d.Sink, d.Seq, d.Event.ID, d.Attempts, f)
		return
	}
	f.flying = true
}

func (w *walk) work(sink string) {
	due := w.next(sink, w.rnd.IntN(12), w.rnd.IntN(5))
	var settled []event.Settlement
	for _, d := range due.Deliveries {
		w.handed(d)
		v := event.Settlement{Sink: sink, Seq: d.Seq, Attempt: event.Attempt{At: time.Now(), Reason: "no"}}
		switch w.rnd.IntN(10) {
		case 0, 1:
			v.Outcome = event.Retry
		case 2:
			v.Outcome, v.Wait = event.Retry, time.Hour
		case 3:
			v.Outcome = event.Dead
		case 4:
			w.Release(sink, d.Seq)
			w.back(sink, d.Seq)
			continue
		case 5:
			continue // stays in flight
		default:
			v.Outcome = event.Delivered
		}
		settled = append(settled, v)
	}
	w.rnd.Shuffle(len(settled), func(i, j int) { settled[i], settled[j] = settled[j], settled[i] })
	w.breakable(func() error { return w.Settle(context.Background(), settled) }, func() {
		for _, v := range settled {
			f := w.model[sink][v.Seq]
			f.flying = false
			if f.replay {
				f.replay, f.attempts = false, 0
				delete(w.left[sink], v.Seq)
			}
			f.attempts++
			if v.Outcome != event.Delivered {
				w.mayMiss(sink, v.Seq)
			}
			f.state = map[event.Outcome]string{event.Delivered: "delivered", event.Retry: "owed", event.Dead: "dead"}[v.Outcome]
		}
	})
}

func (w *walk) probe(sink string) {
	d, ok, err := w.Probe(sink)
	if err != nil {
		w.t.Error(err)
	}
	if waiting := len(w.where(sink, "owed", 1)) > 0; ok != waiting && len(w.left[sink]) == 0 {
		w.t.Errorf("sink %s: probe %v, something owed waits %v", sink, ok, waiting)
	}
	if ok {
		w.handed(d)
	}
}

// where lists at most n deliveries in a state that are not in flight.
func (w *walk) where(sink, state string, n int) []uint64 {
	var seqs []uint64
	for _, seq := range slices.Sorted(maps.Keys(w.model[sink])) {
		if f := w.model[sink][seq]; f.state == state && !f.flying && len(seqs) < n {
			seqs = append(seqs, seq)
		}
	}
	return seqs
}

func (w *walk) compare(b *bench) {
	w.t.Helper()
	if err := b.Check(); err != nil {
		w.t.Fatal(err)
	}
	for _, sink := range w.sinks {
		count := map[string]int{}
		for _, f := range w.model[sink] {
			count[f.state]++
		}
		if k := b.sink(sink); int(k.Owed-k.Replaying) != count["owed"] || int(k.Replaying) > len(w.left[sink]) || k.Dead != count["dead"] {
			w.t.Fatalf("sink %s: %+v, the model has %v", sink, k, count)
		}
		var dead []uint64
		for _, l := range b.letters(event.DeadQuery{Sink: sink}) {
			dead = append(dead, l.Seq)
		}
		if want := w.where(sink, "dead", 1<<30); !slices.Equal(dead, want) {
			w.t.Fatalf("sink %s: dead %v, the model has %v", sink, dead, want)
		}
	}
	if n, known := b.stats().IDs, w.remembered(b); int(n) != len(known) {
		w.t.Fatalf("%d ids, of which %d are known", n, len(known))
	}
	w.compareHistory(b)
}

// remembered returns which ids the store remembers. The model only knows for how long it must, and for how long it may.
func (w *walk) remembered(b *bench) map[string]bool {
	w.t.Helper()
	must, may := 30*time.Hour, (30+24+3)*time.Hour // a run, and some hourly ticks
	if w.clocks {
		must -= 2 * tolerance
	}
	all := slices.Sorted(maps.Keys(w.seen))
	answer, err := b.Known("api", all)
	if err != nil {
		w.t.Fatal(err)
	}
	known := map[string]bool{}
	for i, id := range all {
		age := time.Since(w.seen[id])
		if answer[i] {
			known[id] = true
		}
		tooLong := age > may && (!w.clocks || !w.right.IsZero() && time.Since(w.right) > may)
		if answer[i] && tooLong || !answer[i] && age <= must {
			w.t.Errorf("id %s was taken in %v ago: remembered %v", id, age, answer[i])
		}
	}
	return known
}

// copied opens the file as it is between two transactions, as after a kill.
func (w *walk) copied() {
	path := filepath.Join(w.t.TempDir(), "copy.db")
	err := w.send(context.Background(), &request{between: func() error {
		in, err := os.Open(w.path)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.Create(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		return errors.Join(err, out.Close())
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	o := w.opt
	o.commit, o.DeepCheck = nil, nil
	b := openAt(w.t, path, o)
	w.compare(b)
	b.end()
}

// drain delivers all that is owed: each is handed out once, and nothing else is.
func (w *walk) drain() {
	w.bench = w.again()
	w.apply(w.topology)
	w.landed()
	for _, sink := range w.sinks {
		for {
			if due := w.next(sink, 100, 0); len(due.Deliveries) > 0 || due.More {
				for _, d := range due.Deliveries {
					w.handed(d)
				}
				continue
			}
			d, ok, err := w.Probe(sink)
			if err != nil {
				w.t.Fatal(err)
			}
			if !ok {
				break
			}
			w.handed(d)
		}
		for seq, must := range w.left[sink] {
			if f := w.model[sink][seq]; must && (f == nil || !f.flying) {
				w.t.Errorf("sink %s was never given %d again", sink, seq)
			}
		}
		if left := w.where(sink, "owed", 9); len(left) > 0 {
			w.t.Errorf("sink %s was never handed %v", sink, left)
		}
	}
}
