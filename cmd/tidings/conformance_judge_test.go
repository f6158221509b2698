package main

import (
	"slices"
	"strings"
	"time"

	"tidings/event"
	"tidings/simulator"
)

// judge compares what was taken in with what happened.
func (s *conformer) judge() {
	s.judgeManners()
	facts := s.api.Facts()
	index := map[string]int{}
	seen := map[string]bool{} // resources of which something was taken in, or is from before the start
	for i, f := range facts {
		index[f.Key] = i
		seen[f.Resource] = seen[f.Resource] || s.before(f)
	}
	times := map[string]int{}
	last, ordered := -1, true
	for _, ev := range s.taken {
		if ev.Source == event.Own {
			continue
		}
		key, err := s.api.Key(ev.ID, ev.Data)
		i, known := index[key]
		switch {
		case err != nil || !known:
			s.t.Errorf("event %s (%s) is of nothing that happened: %v, %.300s", ev.ID, ev.Type, err, ev.Data)
			continue
		case s.before(facts[i]) && (s.history[key] || !ev.Time.IsZero()): // without a time, what is new in the list is new
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
	s.judgeMissing(facts, seen, times)
	// What is listed newest first and acknowledged is turned round as far as memory goes, and as it can be had.
	strict := !s.plan.late && len(s.gaps) == 0 && !s.resources() && !s.has(lying...) &&
		(s.preset != "utilityapi" || s.plan.memory > 1<<20 && len(s.failures) == 0)
	if strict && !ordered {
		s.t.Error("the order is not that of the list")
	}
	if s.t.Failed() {
		s.t.Logf("plan %+v, %d facts, %d taken in, %d polls by %d pollers", s.plan, len(facts), len(s.taken), s.polls, s.begun)
		for _, g := range s.gaps[:min(5, len(s.gaps))] {
			s.t.Logf("gap: %s to %s, found %s, certain %v: %s", g.From, g.To, g.Found, g.Certain, g.Why)
		}
		for _, f := range s.failures[max(0, len(s.failures)-5):] {
			s.t.Logf("failed: %s", f)
		}
	}
}

// judgeManners looks at what was asked of the API. A new process polls at once, whatever the one before it was told.
func (s *conformer) judgeManners() {
	stats := s.api.Stats()
	if stats.Hasty > 0 || stats.Early >= s.begun || stats.Denied > 0 {
		s.t.Errorf("%d requests before a Retry-After had passed, %d before the API's interval had, with %d pollers; %d with bad credentials",
			stats.Hasty, stats.Early, s.begun, stats.Denied)
	}
}

// before reports whether something is from before the start. A Date has whole seconds.
func (s *conformer) before(f simulator.Fact) bool {
	switch s.plan.start {
	case "earliest":
		return false
	case "time":
		return f.Time.Before(s.plan.since)
	}
	return s.history[f.Key] || f.Time.Before(s.started.Add(-time.Second))
}

func (s *conformer) judgeMissing(facts []simulator.Fact, seen map[string]bool, times map[string]int) {
	missing, excused := 0, []simulator.Fact{}
	blank := true // nothing was ever listed: what has no place can't lose it
	for _, f := range facts {
		blank = blank && (times[f.Key] == 0 || s.gone[f.Key])
		unseen := f.Resource != "" && (f.Gone || len(f.Body) == 0 && !seen[f.Resource]) // it came and went between two polls
		edge := s.plan.start == "now" && f.Time.Before(s.started)
		if times[f.Key] > 0 || s.before(f) || edge || s.gone[f.Key] || unseen {
			continue
		}
		blank = blank && f.Gone
		if s.withheld(f) && (s.told(f) || blank) {
			excused = append(excused, f)
			continue
		}
		if missing++; missing <= 3 {
			s.t.Errorf("missing: %s (%s, %s, gone %v)", f.Key, f.Type, f.Time.Format(time.RFC3339), f.Gone)
		}
	}
	if missing > 0 {
		s.t.Errorf("%d of %d are missing; %d gaps were told", missing, len(facts)-len(s.history), len(s.gaps))
	}
	stats := s.api.Stats()
	dropped := slices.ContainsFunc(facts, func(f simulator.Fact) bool { return f.Gone && !s.gone[f.Key] })
	if losses := stats.Faults["lost"] + stats.Faults["end"]; !dropped && len(s.gaps) > losses {
		s.t.Errorf("%d gaps were told of %d lost places", len(s.gaps), losses)
	}
	for i, g := range s.gaps {
		if !s.has("lost", "end") && slices.ContainsFunc(s.gaps[:i], func(o event.Gap) bool { return o.From.Equal(g.From) && o.To.Equal(g.To) && o.Why == g.Why }) {
			s.t.Errorf("a gap was told twice: %s to %s, %s", g.From, g.To, g.Why)
		}
		if g.Certain && !s.has("end") && !slices.ContainsFunc(excused, func(f simulator.Fact) bool { return s.covers(g, f) }) {
			s.t.Errorf("a gap is called certain, and nothing is missing in it: %s to %s, %s", g.From, g.To, g.Why)
		}
	}
}

// withheld reports whether the API, or the choice to go on from now, can be the reason why something was not taken in.
func (s *conformer) withheld(f simulator.Fact) bool {
	return f.Gone || s.has("end") || s.plan.onLost == "from_now"
}

func (s *conformer) told(f simulator.Fact) bool {
	return slices.ContainsFunc(s.gaps, func(g event.Gap) bool { return s.covers(g, f) })
}

// covers reports whether a gap is of the time when something happened. What was listed late may be older than what was known.
func (s *conformer) covers(g event.Gap, f simulator.Fact) bool {
	from := g.From.Add(-time.Second)
	if s.plan.late {
		from = from.Add(-5 * time.Minute)
	}
	return !f.Time.Before(from) && (g.To.IsZero() || !f.Time.After(g.To))
}
