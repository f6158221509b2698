package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"tidings/event"
)

// line is what the working process says: that it is about to do something ("B"), and what came of it ("A").
type line struct {
	Who      string // one thing at a time
	Op       string `json:",omitempty"` // open commit place settle redo drop state compact
	Name     string `json:",omitempty"` // of the source or sink
	From     string `json:",omitempty"` // commit, place: the position before
	To       string `json:",omitempty"` // commit, place: and after; state: the new one
	Items    []item `json:",omitempty"`
	Answer   string `json:",omitempty"` // "": done; "refused": nothing of it was done; "unknown"
	Sentence string `json:",omitempty"`
}

// item is an event of a commit, or a delivery of a sink.
type item struct {
	ID       string // source and id: "api/evt_7"
	Attempts int    `json:",omitempty"`
	Verdict  string `json:",omitempty"` // delivered retry dead
}

// workOrder is what a working process is told to do.
type workOrder struct {
	Path   string
	Seed   uint64
	Rounds int // openings
	Steps  int // of each source and sink in a round
	Body   int // bytes of an event's body at most
}

var workSources, workSinks = []string{"api", "other"}, []string{"all", "some", "few"}

// workTopology has sinks that want everything, much, and little.
func workTopology() event.Topology {
	t := event.Topology{}
	for _, name := range workSources {
		t.Sources = append(t.Sources, event.SourceSpec{Name: name, Identity: "account of " + name, Events: event.Filter{"a*", "b", "broken"}})
	}
	for i, name := range workSinks {
		t.Sinks = append(t.Sinks, event.SinkSpec{Name: name, Sources: event.Filter{"*"}, Events: []event.Filter{{"*"}, {"a*"}, {"aa"}}[i]})
	}
	return t
}

// workEvent is the n-th event of a source: all of it follows from the two.
func workEvent(source string, n, body int) event.Event {
	ev := event.Event{ID: fmt.Sprintf("evt_%d", n), Type: []string{"a", "aa", "b", "c", "broken"}[n%5], Time: time.Unix(int64(n), 0).UTC()}
	size := n * 7919 % max(1, body)
	ev.Data = fmt.Appendf(nil, `{"source":%q,"n":%d,"pad":%q}`, source, n, strings.Repeat(string(rune('a'+n%26)), size))
	if ev.Type == "broken" {
		ev.Broken = "it is broken"
	}
	return ev
}

// wantedBy lists the sinks that want a source's n-th event.
func wantedBy(t event.Topology, ev event.Event) []string {
	var names []string
	for _, k := range t.Sinks {
		if ev.Broken == "" && t.Sources[0].Events.Match(ev.Type) && k.Events.Match(ev.Type) {
			names = append(names, k.Name)
		}
	}
	return names
}

type workman struct {
	*Store
	order workOrder
	who   string
	rnd   *rand.Rand
}

func say(kind string, l line) {
	text, _ := json.Marshal(l)
	if _, err := os.Stdout.Write(fmt.Appendf(nil, "%s %s\n", kind, text)); err != nil {
		os.Exit(1)
	}
}

// try says what it is about to do, does it, and says what came of it.
func (w *workman) try(l line, do func() error) error {
	l.Who = w.who
	say("B", l)
	err := do()
	answer := line{Who: w.who}
	switch {
	case errors.Is(err, event.ErrUnknownOutcome):
		answer.Answer = "unknown"
	case err != nil:
		answer.Answer = "refused"
	}
	if err != nil {
		answer.Sentence = err.Error()
	}
	say("A", answer)
	return err
}

// workOptions are those of a working store: it collects, seals and tidies all the time.
func workOptions() Options {
	return Options{Create: true, Keep: 20 * time.Millisecond, tick: 3 * time.Millisecond, runSize: 80, sealSlice: 20}
}

// work runs sources and sinks at a store, all at once, compacts it meanwhile, and opens it again and again.
func work(args string) error {
	var order workOrder
	if err := json.Unmarshal([]byte(args), &order); err != nil {
		return err
	}
	for round := range order.Rounds {
		main := &workman{order: order, who: "main"}
		err := main.try(line{Op: "open"}, func() (err error) {
			if main.Store, err = Open(order.Path, workOptions()); err != nil {
				return err
			}
			return main.Apply(context.Background(), workTopology(), false)
		})
		if err != nil {
			return err
		}
		var all sync.WaitGroup
		for i, name := range append(append([]string{}, workSources...), workSinks...) {
			w := &workman{Store: main.Store, order: order, who: name, rnd: rand.New(rand.NewPCG(order.Seed, uint64(round*100+i)))}
			all.Go(func() {
				for range order.Steps {
					if i < len(workSources) {
						w.source(name)
					} else {
						w.sink(name)
					}
				}
			})
		}
		if round > 0 {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(order.Seed, uint64(round)))
				time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
				_ = main.try(line{Op: "compact"}, func() error {
					_, err := main.Compact(context.Background())
					return err
				})
			})
		}
		all.Wait()
		select {
		case err := <-main.Failed():
			return err
		default:
		}
		if err := main.Close(); err != nil {
			return err
		}
	}
	return nil
}

// source takes in a page, of which some may be known, or puts the source somewhere else.
func (w *workman) source(name string) {
	sinks, err := w.Sinks()
	if err != nil {
		return
	}
	for _, k := range sinks {
		if k.Owed+uint64(k.Dead) > 40 { // a small store is looked at sooner
			time.Sleep(time.Millisecond)
			return
		}
	}
	p, err := w.Position(name)
	if err != nil {
		return
	}
	from, _ := strconv.Atoi(string(p.Data))
	if w.rnd.IntN(12) == 0 {
		to := strconv.Itoa(from + 1 + w.rnd.IntN(3))
		_ = w.try(line{Op: "place", Name: name, From: string(p.Data), To: to}, func() error {
			return w.SetPosition(context.Background(), name, []byte(to))
		})
		return
	}
	c := event.Commit{Source: name, Generation: p.Generation}
	l := line{Op: "commit", Name: name, From: string(p.Data)}
	add := func(n int) {
		ev := workEvent(name, n, w.order.Body)
		c.Events = append(c.Events, ev)
		l.Items = append(l.Items, item{ID: name + "/" + ev.ID})
	}
	for from > 0 && w.rnd.IntN(3) == 0 {
		add(w.rnd.IntN(from))
	}
	fresh := w.rnd.IntN(14)
	for i := range fresh {
		add(from + i)
	}
	l.To = strconv.Itoa(from + fresh)
	c.Position = []byte(l.To)
	_ = w.try(l, func() error {
		_, err := w.Commit(context.Background(), c)
		return err
	})
}

// sink attempts what is due, and now and then does what a person does.
func (w *workman) sink(name string) {
	switch n := w.rnd.IntN(20); {
	case n < 14:
		due, err := w.Next(name, w.rnd.IntN(9), w.rnd.IntN(6))
		if err != nil {
			return
		}
		w.settleAll(name, due.Deliveries)
	case n < 16:
		if d, ok, err := w.Probe(name); ok && err == nil {
			w.settleAll(name, []event.Delivery{d})
		}
	case n < 18:
		letters, err := w.Dead(event.DeadQuery{Sink: name})
		if err != nil || len(letters) == 0 {
			return
		}
		op, seqs := []string{"redo", "redo", "drop"}[w.rnd.IntN(3)], []uint64{}
		l := line{Op: op, Name: name}
		for _, d := range letters[:w.rnd.IntN(len(letters)+1)] {
			seqs = append(seqs, d.Seq)
			l.Items = append(l.Items, item{ID: d.Event.Source + "/" + d.Event.ID, Attempts: d.Attempts})
		}
		_ = w.try(l, func() (err error) {
			if op == "redo" {
				_, err = w.RetryDead(context.Background(), name, seqs)
			} else {
				_, err = w.DropDead(context.Background(), name, seqs)
			}
			return err
		})
	case n < 19:
		state := event.SinkState{Health: event.Health(w.rnd.IntN(3)), Reason: "who knows", Probes: w.rnd.IntN(5)}
		_ = w.try(line{Op: "state", Name: name, To: stateText(state)}, func() error {
			was, err := w.State(name) // nobody else changes it
			if err != nil {
				return err
			}
			return w.SetState(context.Background(), name, was.Health, state)
		})
	}
}

func stateText(s event.SinkState) string { return fmt.Sprint(int(s.Health), " ", s.Probes) }

func (w *workman) settleAll(name string, deliveries []event.Delivery) {
	l := line{Op: "settle", Name: name}
	var settled []event.Settlement
	for _, d := range deliveries {
		v := event.Settlement{Sink: name, Seq: d.Seq, Attempt: event.Attempt{At: time.Now(), Reason: "it said 500", Answer: "oops"}}
		verdict := "delivered"
		switch w.rnd.IntN(8) {
		case 0:
			w.Release(name, d.Seq)
			continue
		case 1, 2:
			verdict = "retry"
			v.Wait = []time.Duration{0, time.Millisecond, time.Hour}[w.rnd.IntN(3)]
		case 3:
			verdict = "dead"
		}
		v.Outcome = map[string]event.Outcome{"delivered": event.Delivered, "retry": event.Retry, "dead": event.Dead}[verdict]
		settled = append(settled, v)
		l.Items = append(l.Items, item{ID: d.Event.Source + "/" + d.Event.ID, Attempts: d.Attempts, Verdict: verdict})
	}
	if len(settled) > 0 {
		_ = w.try(l, func() error { return w.Settle(context.Background(), settled) })
	}
}

// workDir is a data directory for a working process, and its store.
func workPath(dir string) string { return filepath.Join(dir, "store.db") }
