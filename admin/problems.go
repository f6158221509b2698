package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tidings/event"
)

// Level grades what is wrong, as monitors do; its number is the exit code that they expect.
type Level int

const (
	LevelOK       Level = iota
	LevelWarning        // a person should look
	LevelCritical       // events are not coming in, or not going out
)

func (l Level) String() string {
	switch l {
	case LevelOK:
		return "ok"
	case LevelWarning:
		return "warning"
	}
	return "critical"
}

// Check is Status in one word and one line, for monitors.
type Check struct {
	Level   Level  `json:"level"`
	Message string `json:"message"`
}

const (
	staleAfter = 15 * time.Minute   // a source that fails for so long is critical, not a hiccup
	gapShown   = 7 * 24 * time.Hour // a gap makes the status not ok for so long; it stays in the count for ever
)

// A problem is one thing that makes the status not ok.
type problem struct {
	level Level
	text  string
}

// whatFills names the sink that is owed the most, which is what a full store holds.
func whatFills(sinks []event.SinkStats) string {
	if len(sinks) == 0 {
		return ""
	}
	most := slices.MaxFunc(sinks, func(a, b event.SinkStats) int { return cmp.Compare(a.Owed, b.Owed) })
	switch {
	case most.Owed == 0:
		return ""
	case most.Frozen:
		return fmt.Sprintf("; sink %s, which is no longer configured, is owed %d events: configure it again, so that it takes them", most.Name, most.Owed)
	}
	return fmt.Sprintf("; sink %s is owed %d events", most.Name, most.Owed)
}

func sourceProblems(st event.SourceStats, entry SourceStatus, now time.Time) []problem {
	var found []problem
	tell := func(level Level, format string, args ...any) {
		found = append(found, problem{level, "source " + st.Name + " " + fmt.Sprintf(format, args...)})
	}
	switch event.SourceHealth(entry.State) {
	case event.SourceFailing:
		level := LevelWarning
		if entry.Lag == nil || *entry.Lag > staleAfter.Seconds() {
			level = LevelCritical
		}
		tell(level, "is failing (%s)", entry.Error)
	case event.SourceRefused:
		tell(LevelCritical, "is refused by its API (%s)", entry.Error)
	case event.SourceBlocked:
		tell(LevelCritical, "is blocked by the store (%s)", entry.Error)
	case event.SourceLimited:
		tell(LevelWarning, "is asked by its API to wait (%s)", entry.Error)
	}
	recent := slices.DeleteFunc(slices.Clone(st.Gaps), func(g event.Gap) bool { return now.Sub(g.Found) > gapShown })
	if len(recent) > 0 {
		newest := slices.MaxFunc(recent, func(a, b event.Gap) int { return a.Found.Compare(b.Found) })
		level, word := LevelWarning, "may have"
		if slices.ContainsFunc(recent, func(g event.Gap) bool { return g.Certain }) {
			level, word = LevelCritical, "has"
		}
		tell(level, "%s a gap (found %s: %s)", word, newest.Found.UTC().Format(time.RFC3339), newest.Why)
	}
	return found
}

func sinkProblems(name string, entry SinkStatus) []problem {
	var found []problem
	switch entry.State {
	case StateRemoved:
		return nil // somebody took it out of the configuration: its state is no news
	case event.Down.String():
		found = append(found, problem{LevelCritical, fmt.Sprintf("sink %s is down (%s)", name, entry.Error)})
	case event.Paused.String():
		found = append(found, problem{LevelWarning, fmt.Sprintf("sink %s is paused (%s); resume it with: tidings resume sink %s", name, entry.Error, name)})
	}
	switch {
	case entry.Dead == 1:
		found = append(found, problem{LevelWarning, fmt.Sprintf("sink %s has 1 dead letter", name)})
	case entry.Dead > 1:
		found = append(found, problem{LevelWarning, fmt.Sprintf("sink %s has %d dead letters", name, entry.Dead)})
	}
	return found
}

// message joins the problems to one line; what is beyond the first five is counted.
func message(problems []problem) string {
	if len(problems) == 0 {
		return "all is well"
	}
	const most = 5
	var texts []string
	for _, p := range problems[:min(most, len(problems))] {
		texts = append(texts, p.text)
	}
	if rest := len(problems) - most; rest > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", rest))
	}
	return strings.Join(strings.Fields(strings.Join(texts, "; ")), " ")
}

// check grades the status by its worst problem.
func (s *Server) check() (Check, error) {
	status, problems, err := s.examine()
	if err != nil {
		return Check{}, err
	}
	c := Check{Message: status.Message}
	for _, p := range problems {
		c.Level = max(c.Level, p.level)
	}
	return c, nil
}
