package admin

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tidings/event"
)

// Log makes log lines from notices: one for each thing worth telling. What goes on failing is told once, then at growing
// intervals; what is single and frequent stands at debug.
//
// error: a person is needed, or events are lost; warn: a person should look; info: it went as it should.
func Log(log *slog.Logger) func(event.Notice) {
	t := &teller{
		log: log, sources: map[string]*trouble{}, sinks: map[string]*trouble{},
		dead: map[string]*burst{}, aside: map[string]*burst{},
	}
	return t.tell
}

// teller remembers what was told. Its maps hold the names of sources and sinks.
type teller struct {
	log     *slog.Logger
	mu      sync.Mutex
	sources map[string]*trouble
	sinks   map[string]*trouble
	store   trouble
	storeAt time.Time         // of the last StoreTrouble
	dead    map[string]*burst // by sink
	aside   map[string]*burst // by source, or sink
}

func (t *teller) tell(n event.Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.endBursts(now)
	switch n := n.(type) {
	case event.Polled:
		t.polled(n, now)
	case event.PollFailed:
		t.pollFailed(n, now)
	case event.TakenIn:
		t.log.Debug("events are stored", "source", n.Source, "events", len(n.Events))
	case event.Attempted:
		t.attempted(n, now)
	case event.SinkChanged:
		t.sinkChanged(n, now)
	case event.SetAside:
		if entry(t.aside, n.Source+n.Sink).tell(now) {
			t.log.Warn("set aside what can't be read", append(where(n.Source, n.Sink), "what", n.What, "why", n.Why)...)
		}
	case event.Hashed:
		t.log.Warn("the API lists events without an id: they are told apart by a hash of their content", "source", n.Source)
	case event.SourceNote:
		t.log.Warn(n.What, "source", n.Source)
	case event.GapFound:
		t.gap(n.Gap)
	case event.StoreNote:
		level := slog.LevelInfo
		if n.Warn {
			level = slog.LevelWarn
		}
		t.log.Log(context.Background(), level, "the store: "+n.What)
	case event.ClockDoubted:
		if n.Why == "" {
			t.log.Info("the clock is believed again")
		} else {
			t.log.Warn("the clock can't be right: nothing expires until a server's clock agrees with it", "why", n.Why)
		}
	case event.StoreTrouble:
		// No notice tells its end: it is over when it has not come for a while.
		if now.Sub(t.storeAt) >= calmAfter {
			t.store = trouble{}
		}
		t.storeAt = now
		if tell, _ := t.store.failed(now, ""); tell {
			t.log.Error("the store failed to write and has reopened its file", "error", oneLine(n.Err), "times", t.store.count)
		}
	}
}

func (t *teller) polled(n event.Polled, now time.Time) {
	if tell, was := entry(t.sources, n.Source).recovered(now); tell {
		t.log.Info("the source works again", "source", n.Source, "failures", was.count, "after", round(now.Sub(was.since)))
	}
	if n.History > 0 {
		t.log.Info("first poll: these listed events are from before the start and are not delivered",
			"source", n.Source, "events", n.History)
	}
	level := slog.LevelDebug
	if n.New > 0 {
		level = slog.LevelInfo
	}
	t.log.Log(context.Background(), level, "polled", "source", n.Source, "new", n.New, "listed", n.Listed, "took", round(n.Took))
}

func (t *teller) pollFailed(n event.PollFailed, now time.Time) {
	level, text := slog.LevelWarn, "a poll failed; it is tried again"
	switch n.Health {
	case event.SourceRefused:
		level, text = slog.LevelError, "the API refuses the account; it is asked again now and then"
	case event.SourceLimited:
		level, text = slog.LevelInfo, "the API asks to wait"
	case event.SourceBlocked:
		level, text = slog.LevelError, "nothing is taken in: the store has no room"
	}
	failing := entry(t.sources, n.Source)
	tell, still := failing.failed(now, string(n.Health))
	switch {
	case !tell || still && n.Health == event.SourceRefused: // one line tells a refusal
		t.log.Debug("a poll failed", "source", n.Source, "failures", n.Failures, "error", oneLine(n.Err))
	case still:
		t.log.Log(context.Background(), level, "polls still fail",
			"source", n.Source, "failures", n.Failures, "for", round(now.Sub(failing.since)), "error", oneLine(n.Err))
	default:
		attrs := []any{"source", n.Source, "error", oneLine(n.Err)}
		if wait := n.Next.Sub(n.At); !n.Next.IsZero() && wait > 0 {
			attrs = append(attrs, "next", "in "+round(wait))
		}
		t.log.Log(context.Background(), level, text, attrs...)
	}
}

func (t *teller) attempted(n event.Attempted, now time.Time) {
	switch n.Outcome {
	case event.Delivered:
		t.log.Debug("delivered", "sink", n.Sink, "source", n.Source, "event", n.ID, "attempt", n.Number, "took", round(n.Took))
	case event.Retry:
		t.log.Debug("an attempt failed",
			"sink", n.Sink, "source", n.Source, "event", n.ID, "attempt", n.Number, "error", n.Reason, "next", "in "+round(n.Wait))
	case event.Dead:
		if entry(t.dead, n.Sink).tell(now) {
			t.log.Warn("gave up on an event: it is a dead letter now",
				"sink", n.Sink, "source", n.Source, "event", n.ID, "attempts", n.Number, "error", n.Reason)
		}
	}
}

func (t *teller) sinkChanged(n event.SinkChanged, now time.Time) {
	failing := entry(t.sinks, n.Sink)
	if n.Health == event.Up {
		if tell, was := failing.recovered(now); tell {
			t.log.Info("the sink is up again", "sink", n.Sink, "after", round(now.Sub(was.since)))
		}
		return
	}
	tell, still := failing.failed(now, n.Health.String())
	switch {
	case !tell:
	case n.Health == event.Paused:
		if !still {
			t.log.Warn("the sink is paused, and nothing that it is owed is lost; resume it with: tidings resume sink "+n.Sink, "sink", n.Sink, "error", n.Reason)
		}
	case still:
		t.log.Warn("the sink is still down", "sink", n.Sink, "for", round(now.Sub(failing.since)), "error", n.Reason)
	default:
		t.log.Warn("the sink is down: one event at a time tries it until it works", "sink", n.Sink, "error", n.Reason)
	}
}

func (t *teller) gap(g event.Gap) {
	level, text := slog.LevelWarn, "events may be missing: the API may not have listed all"
	if g.Certain {
		level, text = slog.LevelError, "events are missing: the API can't give them any more"
	}
	attrs := []any{"source", g.Source}
	if !g.From.IsZero() {
		attrs = append(attrs, "from", g.From.UTC().Format(time.RFC3339))
	}
	if !g.To.IsZero() {
		attrs = append(attrs, "to", g.To.UTC().Format(time.RFC3339))
	}
	t.log.Log(context.Background(), level, text, append(attrs, "why", g.Why)...)
}

// endBursts tells what was counted in bursts that are over. It runs with every notice: an idle daemon has polls to tell of.
func (t *teller) endBursts(now time.Time) {
	for sink, b := range t.dead {
		if more := b.over(now); more > 0 {
			t.log.Warn("gave up on more events: see tidings dead", "sink", sink, "events", more)
		}
	}
	for name, b := range t.aside {
		if more := b.over(now); more > 0 {
			t.log.Warn("set aside more that can't be read", "name", name, "times", more)
		}
	}
}

func where(source, sink string) []any {
	if sink != "" {
		return []any{"sink", sink}
	}
	return []any{"source", source}
}

func entry[T any](m map[string]*T, name string) *T {
	if m[name] == nil {
		m[name] = new(T)
	}
	return m[name]
}

// round makes a duration short enough to read.
func round(d time.Duration) string {
	switch {
	case d > time.Minute:
		return d.Round(time.Second).String()
	case d > time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}
